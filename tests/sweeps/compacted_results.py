"""Stores with some results of every kind, and all that commands read of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from committed_results import commit, commit_plainly

from cluster.errors import Unavailable
from cluster.stores.base import Store
from sweeps.results import tables as results
from sweeps.results.checking import CheckedResults, check_results
from sweeps.results.content_hash import content_sha256
from sweeps.results.reader import ResultReader

IDS = [f"{number:016x}" for number in range(8)]
SMALL = ("results/trials/", "results/epochs/", "results/predictions/", "results/failures/")


def fill(store: Store, ids: Sequence[str] = IDS) -> None:
    """Commit a result per id, and a failure of the first one."""
    for number, trial in enumerate(ids):
        (commit if number % 2 else commit_plainly)(store, f"{number:012x}", trial)
    words = {"failure_class": "data", "message": "m", "traceback": "t", "log_tail": "l"}
    results.record_failure(store, {"trial_id": ids[0], "attempt": "ff" * 6, **words})


@dataclass
class Content:
    """Everything that commands read of all results of a store; NaN is equal to itself."""

    checked: CheckedResults
    tables: dict[str, pa.Table]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Content) and self._key() == other._key()

    def _key(self) -> Any:
        return self.checked, {name: content_sha256(table) for name, table in self.tables.items()}

    @property
    def attempts(self) -> list[str]:
        """Attempts of the committed rows, by trial id."""
        attempts: list[str] = self.tables["trials"].column("attempt").to_pylist()
        return attempts


def read(source: Store | ResultReader) -> Content:
    """Read it through one reader."""
    reader = ResultReader.of(source)
    checked = check_results(reader, reader.listing.trials.keys())
    trials = results.read_trials(reader, checked.done)
    names = ("epochs", "predictions")
    tables = {name: results.read_attempts(reader, name, trials) for name in names}
    failures = results.read_failures(reader, checked.done)
    return Content(checked, {"trials": trials, "failures": failures, **tables})


class Watched:
    """A store that counts what is read, and stops answering after some puts."""

    def __init__(self, store: Store, puts: int = 1000) -> None:
        self.store, self.puts = store, puts
        self.keys: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def get(self, key: str) -> bytes:
        """Note the key."""
        self.keys.append(key)
        return self.store.get(key)

    def read(self, key: str) -> Any:
        """Note the key."""
        self.keys.append(key)
        return self.store.read(key)

    def put(self, key: str, data: bytes) -> None:
        """Put until the last put is used up, as a process that is killed then."""
        if not self.puts:
            raise Unavailable("killed")
        self.puts -= 1
        self.store.put(key, data)

    @property
    def small(self) -> list[str]:
        """Small objects that were read."""
        return [key for key in self.keys if key.startswith(SMALL)]


def flip(store: Store, key: str) -> None:
    """Change a byte in the middle of an object."""
    data = bytearray(store.get(key))
    data[len(data) // 2] ^= 1
    store.put(key, bytes(data))
