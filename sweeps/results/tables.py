"""Result tables in the store: written once per trial, believed only when committed.

A trial's other tables are written under its attempt's id first; the commit is one conditional put
of `results/trials/<id>.parquet`, whose row names the attempt.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from sweeps.errors import ResultError
from sweeps.results.schemas import SCHEMA_VERSION, arrow_schema, migrate

if TYPE_CHECKING:
    import pyarrow as pa

    from cluster.stores.base import Store

T = TypeVar("T")
CHECKPOINT_FORMAT = 1
_TRIALS = "results/trials/"
_CHECKPOINTS = "checkpoints/"
_SUFFIX = ".parquet"
_LARGE = 100
"""Rows from which on compressing a column saves more than setting up its encoder costs."""

_READERS = 16
"""Concurrent reads: result objects are small, so latency decides."""


def trial_key(trial_id: str) -> str:
    """Return the commit object of a trial."""
    return f"{_TRIALS}{trial_id}{_SUFFIX}"


def attempt_key(table: str, trial_id: str, attempt: str) -> str:
    """Return an attempt's object of `epochs`, `predictions`, `embeddings` or `failures`."""
    return f"results/{table}/{trial_id}/{attempt}{_SUFFIX}"


def checkpoint_key(trial_id: str) -> str:
    """Return a trial's training state."""
    return f"{_CHECKPOINTS}{trial_id}/state.pt"


def committed_ids(store: Store) -> set[str]:
    """Return the ids of all trials with a result, from one listing."""
    return {
        key.removeprefix(_TRIALS).removesuffix(_SUFFIX)
        for key in store.list(_TRIALS)
        if key.endswith(_SUFFIX)
    }


def encode(
    table: str, rows: Sequence[Mapping[str, Any]], attributes: tuple[str, ...] = ()
) -> bytes:
    """Return rows as one Parquet object of the table's schema; `schema_version` is filled in."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    full = [{"schema_version": SCHEMA_VERSION, **row} for row in rows]
    buffer = io.BytesIO()
    large = len(full) >= _LARGE
    pq.write_table(
        pa.Table.from_pylist(full, schema=arrow_schema(table, attributes)),
        buffer,
        compression="zstd" if large else "none",
        use_dictionary=large,
    )
    return buffer.getvalue()


def decode(data: bytes, key: str) -> pa.Table:
    """Read one result object.

    Raises:
        ResultError: not a result table, or of a newer schema than this version knows.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(io.BytesIO(data))
        versions = set(table.column("schema_version").to_pylist())
    except (pa.ArrowException, OSError, KeyError) as error:
        raise ResultError(
            f"{key} is not a readable result table ({error}); delete {_TRIALS}ID{_SUFFIX} of that "
            "trial, and run the sweep again"
        ) from None
    if versions == {1}:
        return migrate(table)
    if not versions <= {SCHEMA_VERSION}:
        raise ResultError(
            f"{key} has schema version {sorted(versions)}, this program knows {SCHEMA_VERSION}: "
            "use a program at least as new as the one that wrote it"
        )
    return table


def commit(
    store: Store,
    trial: Mapping[str, Any],
    epochs: Sequence[Mapping[str, Any]],
    predictions: Sequence[Mapping[str, Any]],
    attributes: tuple[str, ...],
    lost: type[Exception],
    embeddings: Sequence[Mapping[str, Any]] = (),
) -> bool:
    """Write an attempt's tables, then commit it; the second of two attempts loses cleanly.

    Args:
        store: Where to.
        trial: The row of `trials`, with `trial_id` and `attempt`.
        epochs: Rows of `epochs`.
        predictions: Rows of `predictions`.
        attributes: Spurious attribute names.
        lost: The store's exception for a lost conditional put.
        embeddings: Rows of `embeddings`; the table is left out without any.

    Returns:
        Whether this attempt is the trial's result. A lost attempt's tables are removed.
    """
    trial_id, attempt = trial["trial_id"], trial["attempt"]
    written = {
        attempt_key("epochs", trial_id, attempt): encode("epochs", epochs),
        attempt_key("predictions", trial_id, attempt): encode(
            "predictions", predictions, attributes
        ),
    }
    if embeddings:
        key = attempt_key("embeddings", trial_id, attempt)
        written[key] = encode("embeddings", embeddings, attributes)
    with ThreadPoolExecutor(len(written)) as pool:  # a distant store's latency is paid once
        list(pool.map(store.put, *zip(*written.items(), strict=True)))
    try:
        store.create(trial_key(trial_id), encode("trials", [trial]))
        return True
    except lost:  # perhaps against an own put whose answer was lost on the way
        winner = decode(store.get(trial_key(trial_id)), trial_key(trial_id))
        if winner.column("attempt").to_pylist() == [attempt]:
            return True
    for key in written:
        store.delete(key)
    return False


def pack_checkpoint(state: bytes, seconds: float) -> bytes:
    """Return a checkpoint object: a line of JSON with what the trial adds, then the training state.

    Args:
        state: The training state, which vouches for itself.
        seconds: Wall time that the trial has taken so far.
    """
    return json.dumps({"format": CHECKPOINT_FORMAT, "seconds": seconds}).encode() + b"\n" + state


def unpack_checkpoint(data: bytes) -> tuple[bytes, float]:
    """Training state and seconds so far, as `pack_checkpoint` took them.

    Raises:
        ResultError: the first line is none of this format.
    """
    line, _, state = data.partition(b"\n")
    try:
        head = json.loads(line)
        if head["format"] == CHECKPOINT_FORMAT:
            return state, float(head["seconds"])
    except (ValueError, KeyError, TypeError):
        pass
    raise ResultError(f"the checkpoint does not begin with a line of format {CHECKPOINT_FORMAT}")


def checkpointed_ids(store: Store) -> set[str]:
    """Return the ids of all trials with a checkpoint, from one listing."""
    return {key.split("/")[1] for key in store.list(_CHECKPOINTS)}


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
    with ThreadPoolExecutor(_READERS) as pool:
        for start in range(0, len(having), _READERS):  # no more objects than these in memory
            part = having[start : start + _READERS]
            objects = pool.map(store.get, [key for _, key in part])
            for (trial, key), data in zip(part, objects, strict=True):
                reduced.append(reduce(trial, decode(data, key)))
    return reduced


def with_embeddings(store: Store, trials: pa.Table) -> pa.Table:
    """Those of the committed trials that have `embeddings`."""
    import pyarrow as pa

    there = set(store.list("results/embeddings/"))
    having = [key in there for key in attempt_keys("embeddings", trials)]
    return trials.filter(pa.array(having, pa.bool_()))


def each_embeddings(store: Store, trials: pa.Table) -> Iterator[pa.Table]:
    """`embeddings` of trials that all have them, one table at a time: each may be large."""
    for key in attempt_keys("embeddings", trials):
        yield decode(store.get(key), key)


def read_failures(store: Store, ids: Iterable[str]) -> pa.Table:
    """Return all recorded failures of some trials, also of those that succeeded later."""
    trial_ids = set(ids)
    keys = [key for key in store.list("results/failures/") if key.split("/")[2] in trial_ids]
    return _read(store, "failures", keys)


def _read(store: Store, table: str, keys: Sequence[str]) -> pa.Table:
    import pyarrow as pa

    read: Callable[[str], pa.Table] = lambda key: decode(store.get(key), key)  # noqa: E731
    with ThreadPoolExecutor(_READERS) as pool:
        tables = list(pool.map(read, keys))
    if not tables:
        return arrow_schema(table).empty_table()
    return pa.concat_tables(tables, promote_options="default")
