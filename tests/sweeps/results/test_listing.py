"""What a store lists of its results, in as few requests as that takes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from compacted_results import IDS, fill

from cluster.stores.base import Store, StoredObject
from cluster.stores.folder import FolderStore
from sweeps.results import listing
from sweeps.results.keys import attempt_key
from sweeps.results.listing import ResultListing


class Counted:
    """A store that notes which prefixes are listed."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.prefixes: list[str] = []

    def scan(self, prefix: str) -> Iterator[StoredObject]:
        """List, and note it."""
        self.prefixes.append(prefix)
        return self.store.scan(prefix)


def test_trials_asked_for_a_few_at_a_time_are_soon_listed_together(
    folder_store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One by one as long as that costs no more than the whole list, which comes once then."""
    monkeypatch.setattr(listing, "_FEW", 3)
    fill(folder_store)
    store = Counted(folder_store)
    listed = ResultListing(store)  # type: ignore[arg-type]
    keys = [attempt_key("epochs", trial, f"{n:012x}") for n, trial in enumerate(IDS)]
    for number, key in enumerate([*keys, *keys]):
        listed.prepare([key])
        found = listed.get(key)
        assert found is not None
        assert found.key == key, number
    alone = [f"results/epochs/{trial}/" for trial in IDS[: len(IDS) // 3]]
    assert store.prefixes == ["results/trials/", *alone, "results/epochs/"]
