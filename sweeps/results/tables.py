"""Result tables in the store: written once per trial, believed only when committed.

A trial's other tables are written under its attempt's id first; the commit is one conditional put
of `results/trials/<id>.parquet`, whose row names the attempt and the SHA-256 of its tables.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from sweeps.errors import DamagedResult, ResultError
from sweeps.results.checking import check_result
from sweeps.results.codec import decode as decode
from sweeps.results.codec import encode as encode
from sweeps.results.keys import CHECKPOINTS, READERS, SUFFIX, TRIALS
from sweeps.results.keys import attempt_key as attempt_key
from sweeps.results.keys import checkpoint_key as checkpoint_key
from sweeps.results.keys import trial_key as trial_key
from sweeps.results.schemas import arrow_schema

if TYPE_CHECKING:
    import pyarrow as pa

    from cluster.stores.base import Store

T = TypeVar("T")
CHECKPOINT_FORMAT = 1
_log = logging.getLogger(__name__)


def committed_ids(store: Store) -> set[str]:
    """Return the ids of all trials with a result, from one listing."""
    return {
        key.removeprefix(TRIALS).removesuffix(SUFFIX)
        for key in store.list(TRIALS)
        if key.endswith(SUFFIX)
    }


def commit(
    store: Store,
    trial: Mapping[str, Any],
    epochs: Sequence[Mapping[str, Any]],
    predictions: Sequence[Mapping[str, Any]],
    attributes: tuple[str, ...],
    lost: type[Exception],
    optional: Mapping[str, Sequence[Mapping[str, Any]]] = MappingProxyType({}),
    classes: Sequence[str] = (),
) -> bool:
    """Write an attempt's tables, then commit it; the second of two attempts loses cleanly.

    Args:
        store: Where to.
        trial: The row of `trials`, with `trial_id` and `attempt`.
        epochs: Rows of `epochs`.
        predictions: Rows of `predictions`.
        attributes: Spurious attribute names.
        lost: The store's exception for a lost conditional put.
        optional: Rows of tables of `schemas.OPTIONAL`, by name: none of one that was asked for and
            has nothing to say.
        classes: Names of the classes that predictions have probabilities of.

    Returns:
        Whether this attempt is the trial's result. A lost attempt's tables are removed.
    """
    trial_id, attempt = trial["trial_id"], trial["attempt"]
    written = {
        "epochs": encode("epochs", epochs),
        "predictions": encode("predictions", predictions, attributes, classes),
    }
    written |= {name: encode(name, rows, attributes) for name, rows in optional.items()}
    keys = [attempt_key(table, trial_id, attempt) for table in written]
    with ThreadPoolExecutor(len(written)) as pool:  # a distant store's latency is paid once
        list(pool.map(store.put, keys, written.values()))
    hashes = {f"{name}_sha256": hashlib.sha256(data).hexdigest() for name, data in written.items()}
    if _claim(store, trial_id, attempt, encode("trials", [{**trial, **hashes}]), lost):
        return True
    for key in keys:
        store.delete(key)
    return False


def _claim(store: Store, trial_id: str, attempt: str, row: bytes, lost: type[Exception]) -> bool:
    """Write the row that commits an attempt; return whether it is the trial's result.

    A result that is missing objects or damaged is replaced: nobody counts it as done.
    """
    key = trial_key(trial_id)
    try:
        store.create(key, row)
        return True
    except lost:  # perhaps against an own put whose answer was lost on the way
        try:
            check_result(store, trial_id)
            winner = decode(store.get(key), key)
        except DamagedResult as error:
            _log.warning("the damaged result of trial %s is replaced: %s", trial_id, error)
            store.put(key, row)
            return True
    return bool(winner.column("attempt").to_pylist() == [attempt])


def checkpoint_head(seconds: float) -> bytes:
    """Return how a checkpoint object begins: a line of JSON with what the trial adds.

    The training state follows, which vouches for itself.

    Args:
        seconds: Wall time that the trial has taken so far.
    """
    return json.dumps({"format": CHECKPOINT_FORMAT, "seconds": seconds}).encode() + b"\n"


def unpack_checkpoint(data: bytes) -> tuple[memoryview, float]:
    """Training state, which is not copied, and the seconds that `checkpoint_head` took.

    Raises:
        ResultError: the first line is none of this format.
    """
    end = data.find(b"\n") + 1
    try:
        head = json.loads(data[:end])
        if head["format"] == CHECKPOINT_FORMAT:
            return memoryview(data)[end:], float(head["seconds"])
    except (ValueError, KeyError, TypeError):
        pass
    raise ResultError(f"the checkpoint does not begin with a line of format {CHECKPOINT_FORMAT}")


def checkpointed_ids(store: Store) -> set[str]:
    """Return the ids of all trials with a checkpoint, from one listing."""
    return {key.split("/")[1] for key in store.list(CHECKPOINTS)}


def drop_checkpoints(store: Store, ids: Collection[str]) -> None:
    """Remove training state that trials with a result have left, as a killed driver does."""
    for trial_id in checkpointed_ids(store) & set(ids):
        store.delete(checkpoint_key(trial_id))


def record_failure(store: Store, failure: Mapping[str, Any]) -> None:
    """Write one row of `failures`."""
    key = attempt_key("failures", failure["trial_id"], failure["attempt"])
    store.put(key, encode("failures", [failure]))


def read_trials(store: Store, ids: Collection[str]) -> pa.Table:
    """The committed rows of some trials, ordered by trial id; ids without a result are left out."""
    keys = [trial_key(trial_id) for trial_id in sorted(set(ids) & committed_ids(store))]
    return _read(store, "trials", keys)


def read_attempts(store: Store, table: str, trials: pa.Table) -> pa.Table:
    """`epochs` or `predictions` of the committed attempts in `trials`."""
    return _read(store, table, attempt_keys(table, trials))


def attempt_keys(table: str, trials: pa.Table) -> list[str]:
    """Return where the committed attempts in `trials` have a table, in their order."""
    columns = (trials.column(name).to_pylist() for name in ("trial_id", "attempt"))
    return [attempt_key(table, trial, attempt) for trial, attempt in zip(*columns, strict=True)]


def reduce_attempts(
    store: Store, table: str, trials: pa.Table, reduce: Callable[[Mapping[str, Any], pa.Table], T]
) -> list[T]:
    """Return a small result from each committed attempt's table, which is dropped at once.

    Args:
        store: Where from.
        table: `predictions` or another table of an attempt.
        trials: Rows of `trials`.
        reduce: Called with a row of `trials` and its table.

    Returns:
        In the order of `trials`; those whose object is absent are left out.
    """
    there = set(store.list(f"results/{table}/"))
    pairs = zip(trials.to_pylist(), attempt_keys(table, trials), strict=True)
    having = [(trial, key) for trial, key in pairs if key in there]
    reduced: list[T] = []
    with ThreadPoolExecutor(READERS) as pool:
        for start in range(0, len(having), READERS):  # no more objects than these in memory
            part = having[start : start + READERS]
            objects = pool.map(store.get, [key for _, key in part])
            for (trial, key), data in zip(part, objects, strict=True):
                reduced.append(reduce(trial, decode(data, key)))
    return reduced


def trials_with(store: Store, table: str, trials: pa.Table) -> pa.Table:
    """Those of the committed trials that have a table of `schemas.OPTIONAL`."""
    import pyarrow as pa

    there = set(store.list(f"results/{table}/"))
    having = [key in there for key in attempt_keys(table, trials)]
    return trials.filter(pa.array(having, pa.bool_()))


def each_table(store: Store, table: str, trials: pa.Table) -> Iterator[pa.Table]:
    """A table of trials that all have it, one trial's at a time: each may be large."""
    for key in attempt_keys(table, trials):
        yield decode(store.get(key), key)


def read_failures(store: Store, ids: Iterable[str]) -> pa.Table:
    """Return all recorded failures of some trials, also of those that succeeded later.

    A record that is damaged is left out with a warning: it decides nothing.
    """
    trial_ids = set(ids)
    keys = [key for key in store.list("results/failures/") if key.split("/")[2] in trial_ids]

    def read(key: str) -> pa.Table | None:
        try:
            return decode(store.get(key), key)
        except DamagedResult as error:
            _log.warning("a failure's record is left out: %s", error)
            return None

    with ThreadPoolExecutor(READERS) as pool:
        tables = [table for table in pool.map(read, keys) if table is not None]
    return _concatenate("failures", tables)


def _read(store: Store, table: str, keys: Sequence[str]) -> pa.Table:
    read: Callable[[str], pa.Table] = lambda key: decode(store.get(key), key)  # noqa: E731
    with ThreadPoolExecutor(READERS) as pool:
        return _concatenate(table, list(pool.map(read, keys)))


def _concatenate(name: str, tables: Sequence[pa.Table]) -> pa.Table:
    import pyarrow as pa

    if not tables:
        return arrow_schema(name).empty_table()
    return pa.concat_tables(tables, promote_options="default")
