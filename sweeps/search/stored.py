"""Observations of trials from a store's result tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from cluster.errors import Corrupt, NotFound
from sweeps.errors import DamagedResult
from sweeps.results.codec import decode
from sweeps.results.keys import READERS, STOPPED, attempt_key, stopped_key, trial_key
from sweeps.results.packs import Fact
from sweeps.results.reader import ResultReader
from sweeps.results.tables import read_failures
from sweeps.search.observation import Observation, epoch_of_failure

if TYPE_CHECKING:
    from cluster.stores.base import Store

FINAL = frozenset({"numerical", "timeout"})
"""Failure classes that no further attempt cures: the configuration counts as tried."""
_UNKNOWN: Final = Observation()
_ROW: Final = ("trial_id", "attempt", "epochs", "kept_epoch")
_EPOCH: Final = ("trial_id", "epoch", "split", "metric", "attribute", "value")
Row = Mapping[str, Any]


class StoredObservations:
    """Reads what a store has of trials, object by object, as it is when it is asked.

    For a run, whose results come while it goes on. They are read once, since they never change.
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
        if rows := _get(self.store, trial_key(trial_id)):
            [row] = rows
            epochs = _get(self.store, attempt_key("epochs", trial_id, row["attempt"]))
            if finished := _finished(row, epochs):
                return finished
        failures = [
            row
            for key in self.store.list(f"results/failures/{trial_id}/")
            for row in _get(self.store, key)
        ]
        return _unfinished(_get(self.store, stopped_key(trial_id)), failures)


class ListedObservations:
    """Reads what a store has of many trials at once, as its results were listed.

    For a plan, whose searches follow results that are there. Of a trial that was not read yet
    nothing is known until the next `read`, as if it had never run: so the searches of all cells go
    on side by side, a batch at a time, and each pack is decoded once for all of them.
    Implements `sweeps.search.observation.Observe`.
    """

    def __init__(self, reader: ResultReader) -> None:
        self.reader = reader
        self._seen: dict[str, Observation] = {}
        self._unread: set[str] = set()

    def __call__(self, ids: Collection[str]) -> Mapping[str, Observation]:
        """Return what is known of each trial, and remember those that were not read yet."""
        self._unread |= {trial_id for trial_id in ids if trial_id not in self._seen}
        return {trial_id: self._seen.get(trial_id, _UNKNOWN) for trial_id in ids}

    def read(self) -> bool:
        """Read what was asked for since the last time; return whether there was any."""
        unread, self._unread = sorted(self._unread), set()
        if not unread:
            return False
        observed = self._read_finished(unread)
        left = [trial_id for trial_id in unread if trial_id not in observed]
        stopped = self._read_stopped(left)
        failures = _by_trial(read_failures(self.reader, left).to_pylist())
        observed |= {each: _unfinished(stopped[each], failures[each]) for each in left}
        self._seen |= observed
        return True

    def _read_finished(self, ids: Sequence[str]) -> dict[str, Observation]:
        """Return the trials whose result is there and readable."""
        committed = self.reader.listing.trials
        rows = self._rows([trial_key(each) for each in ids if each in committed], _ROW)
        keys = [attempt_key("epochs", row["trial_id"], row["attempt"]) for row in rows]
        epochs = _by_trial(self._rows(keys, _EPOCH))
        seen = {row["trial_id"]: _finished(row, epochs[row["trial_id"]]) for row in rows}
        return {trial_id: each for trial_id, each in seen.items() if each is not None}

    def _rows(self, keys: Sequence[str], columns: Sequence[str]) -> list[Row]:
        """Return the rows of some objects of a table; none of one that is absent or damaged."""
        outcomes = self.reader.look(keys)
        whole = [key for key in keys if isinstance(outcomes.get(key), Fact)]
        parts = self.reader.tables(whole, columns)
        return [row for part in parts for row in _of_validation(part).to_pylist()]

    def _read_stopped(self, ids: Sequence[str]) -> Mapping[str, Sequence[Row]]:
        having = [trial_id for trial_id in ids if stopped_key(trial_id) in self._stopped]
        with ThreadPoolExecutor(READERS) as pool:
            tables = pool.map(lambda each: _get(self.reader.store, stopped_key(each)), having)
            return defaultdict(list, zip(having, tables, strict=True))

    @cached_property
    def _stopped(self) -> frozenset[str]:
        """Keys of all trials that were compared before their end."""
        return frozenset(self.reader.store.list(STOPPED))


def _finished(row: Row, epochs: Iterable[Row]) -> Observation | None:
    """Return what a result says; None where its epochs say nothing of validation."""
    validation = [each for each in epochs if each["split"] == "val" and each["attribute"] is None]
    if not validation:
        return None
    return Observation(_history(validation), row["epochs"], row["kept_epoch"])


def _unfinished(stopped: Collection[Row], failures: Iterable[Row]) -> Observation:
    """Return what is known of a trial without a result: how far it came, and whether it failed."""
    reached = max((row["reached"] for row in stopped), default=0)
    failed = [epoch_of_failure(r["message"]) for r in failures if r["failure_class"] in FINAL]
    return Observation(_history(stopped), reached, failed_at=min(failed, default=None))


def _history(rows: Iterable[Row]) -> dict[int, dict[str, float]]:
    history: dict[int, dict[str, float]] = {}
    for row in rows:
        history.setdefault(row["epoch"], {})[f"val.{row['metric']}"] = row["value"]
    return history


def _of_validation(table: Any) -> Any:
    """Return a part's rows without those of epochs that are of training or test."""
    import pyarrow.compute as pc

    if "split" not in table.column_names:
        return table
    return table.filter(pc.equal(table.column("split").cast("string"), "val"))


def _by_trial(rows: Iterable[Row]) -> defaultdict[str, list[Row]]:
    by_trial: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_trial[row["trial_id"]].append(row)
    return by_trial


def _get(store: Store, key: str) -> list[Row]:
    """Return the rows of an object; none where it is absent or damaged."""
    try:
        rows: list[Row] = decode(store.get(key), key).to_pylist()
    except (NotFound, Corrupt, DamagedResult):
        return []
    return rows
