"""Staging: a reader's or generator's records into Parquet shards, the manifest committed last."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from cluster.datasets.commit import commit_manifest
from cluster.datasets.image_counts import write_image_counts
from cluster.datasets.image_table import write_image_table
from cluster.datasets.keys import shard_key
from cluster.datasets.manifest import Manifest, find_manifest, list_datasets
from cluster.datasets.manifest_build import build_manifest
from cluster.datasets.shards import StagedShard
from cluster.errors import ClusterError, Corrupt
from cluster.stores.base import Store
from spurious.data.records import RecordSource
from spurious.errors import DataError
from sweeps.staging.chunks import StagedChunk, stage_chunk

CHUNK_BYTES = 64 * 2**20
"""Raw bytes per staging task, the lower end of a shard's size."""

_SHOWN = 20
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
    in_process: bool = False,
) -> Manifest:
    """Stage a source into a store; nothing is visible before every record is good.

    Args:
        store: Where to.
        source: A reader or generator.
        name: Of the dataset.
        digest: A generator's digest; None for real data.
        options: A generator's options dataclass; None for real data.
        progress: Told images done and their total.
        in_process: Load the images here, one chunk after the other, rather than in Ray tasks.

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
    with _take_back_on_failure(store, name, before):
        run = _run_here if in_process else _run_on_ray
        with closing(run(store, source, name, _chunks(source, ids))) as parts:
            staged = _collect(parts, progress, len(ids))
        manifest = build_manifest(
            name,
            staged,
            declared_directions=source.declared_directions,
            provenance={**source.provenance(), "staged_at": datetime.now(UTC).isoformat()},
            generator=None if options is None else asdict(options),
            digest=digest,
            partial=source.partial,
        )
        if not commit_manifest(store, manifest):  # staged before, perhaps in other shards
            _remove_new_shards(store, name, before)
    committed = find_manifest(store, name, manifest.digest)
    _describe_images(store, committed, staged)
    return committed


def _describe_images(store: Store, manifest: Manifest, staged: Sequence[StagedShard]) -> None:
    """Write what is known of each image beside the manifest."""
    rows = [row for shard in staged for row in shard.records]
    write_image_counts(store, manifest, rows)
    write_image_table(store, manifest, rows)


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
        return int(first.image.nbytes + first.image[:, :, 0].size // 8)
    return 2**20


def _run_here(
    store: Store, source: RecordSource, name: str, chunks: Sequence[Sequence[str]]
) -> Generator[StagedChunk, None, None]:
    for ids in chunks:
        yield stage_chunk(store, source, name, ids)


def _run_on_ray(
    store: Store, source: RecordSource, name: str, chunks: Sequence[Sequence[str]]
) -> Generator[StagedChunk, None, None]:
    from sweeps.staging.ray_tasks import run_chunks  # imports Ray, which a debugged trial does not

    return run_chunks(store.url, source, name, chunks)


def _collect(parts: Iterator[StagedChunk], progress: Progress, total: int) -> list[StagedShard]:
    """Gather the shards of all chunks; readers' warnings are logged, the first of them in full.

    Raises:
        DataError: some images are bad; all of them are counted before it is raised.
    """
    shards: list[StagedShard] = []
    problems: list[str] = []
    warned = 0
    done = 0
    progress(done, total)
    for part in parts:
        shards += part.shards
        problems += part.problems
        for text in part.warnings[: max(0, _SHOWN - warned)]:
            _log.warning("%s", text)
        warned += len(part.warnings)
        done += part.images
        progress(done, total)
    if warned > _SHOWN:
        _log.warning("... and %d more warnings of this kind", warned - _SHOWN)
    if problems:
        more = f"\n  ... and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise DataError(
            f"{len(problems)} of {total} images cannot be staged; nothing was staged:\n  "
            + "\n  ".join(sorted(problems)[:_SHOWN])
            + more
        )
    return shards


def _shards_in(store: Store, name: str) -> set[str]:
    return set(store.list(f"datasets/{name}/shards/"))


@contextmanager
def _take_back_on_failure(store: Store, name: str, before: set[str]) -> Iterator[None]:
    """Remove the new shards where staging fails or is interrupted."""
    try:
        yield
    except BaseException:
        try:
            _remove_new_shards(store, name, before)
        except ClusterError as error:
            _log.warning("shards of dataset '%s' without a manifest may be left: %s", name, error)
        raise


def _remove_new_shards(store: Store, name: str, before: set[str]) -> None:
    """Take back what a failed staging wrote, unless another staging has named it meanwhile.

    Where a manifest of the dataset cannot be read, all shards stay: it may name any of them.
    """
    named: set[str] = set()
    for digest in list_datasets(store).get(name, ()):
        try:
            manifest = find_manifest(store, name, digest)
        except Corrupt as error:
            _log.warning("shards that no manifest names may be left: %s", error)
            return
        named |= {shard_key(name, entry.sha256) for entry in manifest.shards}
    for key in _shards_in(store, name) - before - named:
        store.delete(key)
