"""Observations of trials from a store's result tables."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from cluster.errors import Corrupt, NotFound
from sweeps.errors import DamagedResult
from sweeps.results.codec import decode
from sweeps.results.keys import READERS, attempt_key, stopped_key, trial_key
from sweeps.search.observation import Observation, epoch_of_failure

if TYPE_CHECKING:
    from cluster.stores.base import Store

FINAL = frozenset({"numerical", "timeout"})
"""Failure classes that no further attempt cures: the configuration counts as tried."""


class StoredObservations:
    """Reads what a store has of trials; results are read once, since they never change.

    Implements `sweeps.search.observation.Observe`.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._finished: dict[str, Observation] = {}

    def __call__(self, ids: Collection[str]) -> Mapping[str, Observation]:
        """Return what is known of each trial."""
        unread = [trial_id for trial_id in ids if trial_id not in self._finished]
        with ThreadPoolExecutor(READERS) as pool:
            read = dict(zip(unread, pool.map(self._read, unread), strict=True))
        self._finished |= {key: each for key, each in read.items() if each.kept_epoch is not None}
        return {trial_id: read.get(trial_id) or self._finished[trial_id] for trial_id in ids}

    def _read(self, trial_id: str) -> Observation:
        if rows := self._get(trial_key(trial_id)):
            [row] = rows
            epochs = self._get(attempt_key("epochs", trial_id, row["attempt"]))
            of_validation = [
                each for each in epochs if each["split"] == "val" and each["attribute"] is None
            ]
            if of_validation:
                return Observation(_history(of_validation), row["epochs"], row["kept_epoch"])
        rows = self._get(stopped_key(trial_id))
        reached = max((row["reached"] for row in rows), default=0)
        return Observation(_history(rows), reached, failed_at=self._read_failure(trial_id))

    def _read_failure(self, trial_id: str) -> int | None:
        """Return the epoch of a failure that is final; None where there is none."""
        epochs = [
            epoch_of_failure(row["message"])
            for key in self.store.list(f"results/failures/{trial_id}/")
            for row in self._get(key)
            if row["failure_class"] in FINAL
        ]
        return min(epochs, default=None)

    def _get(self, key: str) -> list[dict[str, Any]]:
        """Return the rows of an object; none where it is absent or damaged."""
        try:
            rows: list[dict[str, Any]] = decode(self.store.get(key), key).to_pylist()
        except (NotFound, Corrupt, DamagedResult):
            return []
        return rows


def _history(rows: Collection[Mapping[str, Any]]) -> dict[int, dict[str, float]]:
    history: dict[int, dict[str, float]] = {}
    for row in rows:
        history.setdefault(row["epoch"], {})[f"val.{row['metric']}"] = row["value"]
    return history
