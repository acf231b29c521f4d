"""Staging: a reader's or generator's records into Parquet shards, the manifest committed last."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import ray

from cluster.datasets.keys import shard_key
from cluster.datasets.manifest import Manifest, commit_manifest, find_manifest, list_datasets
from cluster.datasets.manifest_build import build_manifest
from cluster.datasets.shards import StagedShard, write_shards
from cluster.errors import ClusterError, Unavailable
from cluster.stores import open_store
from cluster.stores.base import Store
from spurious.data.records import Record, RecordSource
from spurious.errors import DataError

CHUNK_BYTES = 64 * 2**20
"""Raw bytes per staging task, the lower end of a shard's size."""

_SHOWN = 20
_END_S = 60.0
_log = logging.getLogger("sweeps.staging.stage")

Progress = Callable[[int, int], None]


def stage(
    store: Store,
    source: RecordSource,
    name: str,
    *,
    digest: str | None = None,
    options: Any = None,
    progress: Progress = lambda done, total: None,
) -> Manifest:
    """Stage a source with Ray tasks; nothing is visible before every record is good.

    Args:
        store: Where to.
        source: A reader or generator.
        name: Name of the dataset.
        digest: A generator's digest; None for real data.
        options: A generator's options dataclass; None for real data.
        progress: Told images done and their total.

    Returns:
        The committed manifest.

    Raises:
        DataError: bad records, up to 20 of them named at once.
        ClusterError: the records do not belong together, or the store failed.
    """
    ids = source.index()
    if not ids:
        raise DataError(f"dataset '{name}' has no image: nothing to stage")
    before = _shards_in(store, name)
    chunks = _chunks(source, ids)
    try:
        staged = _run(store.url, source, name, chunks, progress, len(ids))
        manifest = build_manifest(
            name,
            staged,
            declared_directions=source.declared_directions,
            provenance={**source.provenance(), "staged_at": datetime.now(UTC).isoformat()},
            generator=None if options is None else asdict(options),
            digest=digest,
        )
        if not commit_manifest(store, manifest):  # staged before, perhaps in other shards
            _remove_new_shards(store, name, before)
    except BaseException:
        try:
            _remove_new_shards(store, name, before)
        except ClusterError as error:
            _log.warning("shards of dataset '%s' without a manifest may be left: %s", name, error)
        raise
    return find_manifest(store, name, manifest.digest)


def _chunks(source: RecordSource, ids: Sequence[str]) -> list[list[str]]:
    """Contiguous runs of ids of about CHUNK_BYTES, whatever the number of workers."""
    size = _record_bytes(source, ids)
    per_chunk = max(1, CHUNK_BYTES // size)
    return [list(ids[start : start + per_chunk]) for start in range(0, len(ids), per_chunk)]


def _record_bytes(source: RecordSource, ids: Sequence[str]) -> int:
    """Stored size of the first record that can be read; the tasks report those that cannot."""
    for sample_id in ids[:_SHOWN]:
        try:
            first = source.load(sample_id)
        except DataError:
            continue
        return int(first.image.nbytes + first.mask.size // 8)
    return 2**20


class _Checked:
    """A chunk's records; bad ones are counted and left out, so that all are found in one pass."""

    def __init__(self, source: RecordSource, ids: Sequence[str]) -> None:
        self.source, self.ids = source, ids
        self.problems: list[str] = []

    def __iter__(self) -> Iterator[Record]:
        for sample_id in self.ids:
            try:
                yield self.source.load(sample_id)
            except DataError as error:
                self.problems.append(str(error))


@ray.remote(num_cpus=1, max_retries=2)
def _stage_chunk(
    store_url: str, source: RecordSource, name: str, ids: Sequence[str]
) -> tuple[list[StagedShard], list[str], int]:
    records = _Checked(source, ids)
    shards = write_shards(open_store(store_url), name, records, source.attribute_names)
    return shards, records.problems, len(ids)


def _run(
    store_url: str,
    source: RecordSource,
    name: str,
    chunks: Sequence[Sequence[str]],
    progress: Progress,
    total: int,
) -> list[StagedShard]:
    shared = ray.put(source)
    pending = [_stage_chunk.remote(store_url, shared, name, ids) for ids in chunks]
    shards: list[StagedShard] = []
    problems: list[str] = []
    done = 0
    progress(done, total)
    try:
        while pending:
            ready, pending = ray.wait(pending, num_returns=1)
            found, bad, count = _result(ready[0])
            shards += found
            problems += bad
            done += count
            progress(done, total)
    finally:
        _end(pending)
    if problems:
        more = f"\n  ... and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise DataError(
            f"{len(problems)} of {total} images cannot be staged; nothing was staged:\n  "
            + "\n  ".join(sorted(problems)[:_SHOWN])
            + more
        )
    return shards


def _result(task: Any) -> tuple[list[StagedShard], list[str], int]:
    """What a staging task returned, or the error that it raised.

    Raises:
        Unavailable: its worker was lost, also on the last of its retries.
    """
    try:
        result: tuple[list[StagedShard], list[str], int] = ray.get(task)
        return result
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, Exception):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        raise Unavailable(
            f"a worker that staged images was lost ({str(error).splitlines()[0]}): stage again, "
            "and if it is memory that lacks, on a larger machine"
        ) from error


def _end(tasks: Sequence[Any]) -> None:
    """Stop tasks and wait for it: a shard that arrives later would not be taken back."""
    for task in tasks:
        ray.cancel(task, force=True)
    if tasks:
        ray.wait(list(tasks), num_returns=len(tasks), timeout=_END_S)


def _shards_in(store: Store, name: str) -> set[str]:
    return set(store.list(f"datasets/{name}/shards/"))


def _remove_new_shards(store: Store, name: str, before: set[str]) -> None:
    """Take back what a failed staging wrote, unless another staging has named it meanwhile."""
    named = {
        shard_key(name, entry.sha256)
        for digest in list_datasets(store).get(name, ())
        for entry in find_manifest(store, name, digest).shards
    }
    for key in _shards_in(store, name) - before - named:
        store.delete(key)
