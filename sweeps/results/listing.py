"""What a store lists of its results: which objects are there, and what tells their bytes apart."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from sweeps.results.keys import FAILURES, READERS, SUFFIX, TRIALS, table_of, trial_key, trial_of
from sweeps.results.schemas import SISTERS

if TYPE_CHECKING:
    from cluster.stores.base import Store, StoredObject

_FEW: Final = 200
"""A list of one trial's objects costs a request, as a page of a whole list does for hundreds."""


class ResultListing:
    """The results of a store as they were first listed; each table is listed when it is needed.

    What is committed is decided here: an object that is not listed is not there, whatever is kept
    of its rows elsewhere.
    """

    def __init__(self, store: Store) -> None:
        """List nothing yet."""
        self._store = store
        self._objects: dict[str, StoredObject] = {}
        self._trials: dict[str, StoredObject] | None = None
        self._whole: set[str] = set()
        self._of_trials: set[tuple[str, str]] = set()

    @property
    def trials(self) -> dict[str, StoredObject]:
        """The commit object of every trial with a result, by trial id."""
        if self._trials is None:
            self._list_whole(["trials"])
            committed = [item for key, item in self._objects.items() if key.startswith(TRIALS)]
            self._trials = {trial_of(item.key): item for item in committed}
        return self._trials

    def failures(self, ids: Collection[str] | None = None) -> list[StoredObject]:
        """Records of failed attempts of some trials, or of all, by key."""
        self._list_whole(["failures"])
        chosen = None if ids is None else set(ids)
        return [
            self._objects[key]
            for key in sorted(self._objects)
            if key.startswith(FAILURES) and (chosen is None or trial_of(key) in chosen)
        ]

    def get(self, key: str) -> StoredObject | None:
        """Return an object that was listed; None where it is not there."""
        return self._objects.get(key)

    def update(self, item: StoredObject) -> None:
        """Take note of an object that was read just now: it may be newer than the list."""
        listed = self._objects.get(item.key)
        if listed is None or (listed.size_bytes, listed.tag) != (item.size_bytes, item.tag):
            self._objects[item.key] = item

    def forget(self, key: str) -> None:
        """Take note of an object that is gone."""
        self._objects.pop(key, None)

    def list_again(self, trial_id: str) -> None:
        """List the result of one trial again."""
        for prefix in (trial_key(trial_id), *(f"results/{name}/{trial_id}/" for name in SISTERS)):
            for key in [key for key in self._objects if key.startswith(prefix)]:
                del self._objects[key]
            self._objects.update((item.key, item) for item in self._store.scan(prefix))
        self._trials = None

    def prepare(self, keys: Iterable[str]) -> None:
        """List what is needed to know whether these objects are there."""
        trials: dict[str, set[str]] = {}
        whole = []
        for key in keys:
            trials.setdefault(table_of(key), set()).add(trial_of(key))
        for table, ids in trials.items():
            if table in self._whole:
                continue
            new = [each for each in sorted(ids) if (table, each) not in self._of_trials]
            n_listed = sum(of == table for of, _ in self._of_trials) + len(new)
            if table == "trials" or n_listed * _FEW > len(self.trials):
                whole.append(table)
            else:
                self._list_trials(table, new)
        self._list_whole(whole)

    def _list_whole(self, tables: Sequence[str]) -> None:
        """List some tables, at once: a server makes a page while another one is read here."""
        new = [table for table in tables if table not in self._whole]
        if not new:
            return
        with ThreadPoolExecutor(len(new)) as pool:
            prefixes = [f"results/{table}/" for table in new]
            for items in pool.map(lambda prefix: list(self._store.scan(prefix)), prefixes):
                self._objects.update((i.key, i) for i in items if i.key.endswith(SUFFIX))
        self._whole.update(new)

    def _list_trials(self, table: str, new: Collection[str]) -> None:
        prefixes = [f"results/{table}/{trial_id}/" for trial_id in new]
        with ThreadPoolExecutor(READERS) as pool:
            for items in pool.map(lambda prefix: list(self._store.scan(prefix)), prefixes):
                self._objects.update((item.key, item) for item in items)
        self._of_trials.update((table, trial_id) for trial_id in new)
