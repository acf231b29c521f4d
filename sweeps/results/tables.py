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
from sweeps.results.keys import CHECKPOINTS, SUFFIX, TRIALS
from sweeps.results.keys import attempt_key as attempt_key
from sweeps.results.keys import checkpoint_key as checkpoint_key
from sweeps.results.keys import trial_key as trial_key
from sweeps.results.packs import PACKED, Fact
from sweeps.results.reader import ResultReader, by_dictionary
from sweeps.results.schemas import arrow_schema

if TYPE_CHECKING:
    import pyarrow as pa

    from cluster.stores.base import Store

T = TypeVar("T")
CHECKPOINT_FORMAT = 1
_BATCH = 1024
_AHEAD = 4
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


def read_trials(source: Store | ResultReader, ids: Collection[str]) -> pa.Table:
    """The committed rows of some trials, ordered by trial id; ids without a result are left out."""
    reader = ResultReader.of(source)
    chosen = sorted(set(ids) & reader.listing.trials.keys())
    return _read(reader, "trials", [trial_key(trial_id) for trial_id in chosen])


def read_attempts(source: Store | ResultReader, table: str, trials: pa.Table) -> pa.Table:
    """`epochs` or `predictions` of the committed attempts in `trials`."""
    return _read(ResultReader.of(source), table, attempt_keys(table, trials))


def iterate_attempts(
    source: Store | ResultReader, table: str, trials: pa.Table
) -> Iterator[pa.Table]:
    """Yield `epochs` or `predictions` of the committed attempts in `trials`, some rows at a time.

    All parts have one schema; text is numbers into a dictionary, as `ResultReader.tables` yields
    it. At least one part comes, without rows where there are none.
    """
    reader, keys = ResultReader.of(source), attempt_keys(table, trials)
    if not keys:
        yield arrow_schema(table).empty_table()
        return
    schema = by_dictionary(reader.schema(keys).empty_table()).schema
    for part in reader.tables(keys):
        yield with_schema(by_dictionary(part), schema)


def attempt_keys(table: str, trials: pa.Table) -> list[str]:
    """Return where the committed attempts in `trials` have a table, in their order."""
    columns = (trials.column(name).to_pylist() for name in ("trial_id", "attempt"))
    return [attempt_key(table, trial, attempt) for trial, attempt in zip(*columns, strict=True)]


def reduce_attempts(
    source: Store | ResultReader,
    table: str,
    trials: pa.Table,
    reduce: Callable[[Mapping[str, Any], pa.Table], T],
) -> list[T]:
    """Return a small result from each committed attempt's table, which is dropped at once.

    Args:
        source: Where from.
        table: `predictions` or another table of an attempt.
        trials: Rows of `trials`.
        reduce: Called with a row of `trials` and its table.

    Returns:
        In the order of `trials`; those whose object is absent are left out.
    """
    reader = ResultReader.of(source)
    having = trials_with(reader, table, trials)
    rows = (row for batch in having.to_batches(_BATCH) for row in batch.to_pylist())
    return [
        reduce(trial, part)
        for trial, part in zip(rows, each_table(reader, table, having), strict=True)
    ]


def trials_with(source: Store | ResultReader, table: str, trials: pa.Table) -> pa.Table:
    """Those of the committed trials that have a table, one of `schemas.OPTIONAL` perhaps."""
    import pyarrow as pa

    reader, keys = ResultReader.of(source), attempt_keys(table, trials)
    reader.listing.prepare(keys)
    having = [reader.listing.get(key) is not None for key in keys]
    return trials.filter(pa.array(having, pa.bool_()))


def each_table(source: Store | ResultReader, table: str, trials: pa.Table) -> Iterator[pa.Table]:
    """A table of trials that all have it, one trial's at a time: each may be large.

    Tables of `schemas.OPTIONAL` are read from their objects, a few ahead.
    """
    reader, keys = ResultReader.of(source), attempt_keys(table, trials)
    if table in PACKED:
        yield from reader.each(keys)
        return
    with ThreadPoolExecutor(_AHEAD) as pool:
        for start in range(0, len(keys), _AHEAD):
            part = keys[start : start + _AHEAD]
            for key, data in zip(part, pool.map(reader.store.get, part), strict=True):
                yield decode(data, key)
                reader.on_rows(1)


def read_failures(source: Store | ResultReader, ids: Iterable[str]) -> pa.Table:
    """Return all recorded failures of some trials, also of those that succeeded later.

    A record that is damaged is left out with a warning: it decides nothing.
    """
    reader = ResultReader.of(source)
    keys = [item.key for item in reader.listing.failures(set(ids))]
    outcomes = reader.look(keys)
    for outcome in outcomes.values():
        if isinstance(outcome, DamagedResult):
            _log.warning("a failure's record is left out: %s", outcome)
    whole = [key for key in keys if isinstance(outcomes.get(key), Fact)]
    return _read(reader, "failures", whole)


def _read(reader: ResultReader, table: str, keys: Sequence[str]) -> pa.Table:
    import pyarrow as pa

    if not keys:
        return arrow_schema(table).empty_table()
    schema = reader.schema(keys)
    parts = [with_schema(part, schema) for part in reader.tables(keys)]
    return pa.concat_tables(parts)


def with_schema(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a table with the columns of a schema, those that it lacks null."""
    import pyarrow as pa

    if table.schema == schema:
        return table
    columns = [
        table.column(field.name).cast(field.type)
        if field.name in table.column_names
        else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)
