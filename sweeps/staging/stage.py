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
from cluster.errors import ClusterError, Corrupt
from cluster.stores.base import Store
from spurious.data.records import RecordSource
from spurious.errors import DataError
from sweeps.staging.bad_images import SHOWN, OnError, check_bad, list_bad, record_bad
from sweeps.staging.chunks import load_chunk
from sweeps.staging.journal import (
    entry_key,
    journal_prefix,
    named_shards,
    read_entry,
    remove_entries,
    write_entry,
)
from sweeps.staging.look_alikes import report_look_alikes
from sweeps.staging.parts import Columns, Part, StagedPart, cut_parts, write_part

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
    on_error: OnError = "stop",
) -> Manifest:
    """Stage a source into a store; nothing is visible before every record is good.

    Finished parts stay in the store when staging fails or is killed, and the next call with the
    same source continues with them.

    Args:
        store: Where to.
        source: A reader or generator.
        name: Name of the dataset.
        digest, options: Of a generator, its digest and options dataclass; None for real data.
        progress: Is called with images done and their total.
        in_process: Load the images here, one part after the other, rather than in Ray tasks.
        on_error: Whether bad images stop the staging, or are left out and recorded.

    Raises:
        BadImages: bad records, up to 20 of them named at once.
        DataError: no records.
        ClusterError: the records do not belong together, or the store failed.
    """
    ids = source.index()
    if not ids:
        raise DataError(f"dataset '{name}' has no image: nothing to stage")
    before = _shards_in(store, name)
    parts = _cut(source, ids, digest, in_process)
    with _take_back_on_failure(store, name, before):
        run = _run_here if in_process else _run_on_ray
        with closing(run(store, source, name, parts, progress, on_error == "skip")) as staged:
            done = _collect(staged)
        manifest = _describe(source, name, done, digest, options, on_error)
        is_new = commit_manifest(store, manifest)  # else staged before, perhaps in other shards
    unused = remove_entries(store, name, [part.key for part in parts if part.key is not None])
    if not is_new:
        unused |= _shards_in(store, name) - before
    _remove_unnamed_shards(store, name, unused)
    committed = find_manifest(store, name, manifest.digest)
    rows = [row for part in done for row in part.rows]
    write_image_counts(store, committed, rows)
    write_image_table(store, committed, rows)
    return committed


def _describe(
    source: RecordSource,
    name: str,
    parts: Sequence[StagedPart],
    digest: str | None,
    options: Any,
    on_error: OnError,
) -> Manifest:
    """Check all parts together and build the manifest; what only informs goes to its provenance."""
    shards = [shard for part in parts for shard in part.shards]
    bad = {sample_id: reason for part in parts for sample_id, reason in part.bad.items()}
    total = sum(part.images for part in parts)
    check_bad(bad, total, shards, on_error)
    fingerprints = {
        i: value for part in parts for i, value in part.fingerprints.items() if digest is None
    }
    splits = {row.sample_id: row.split for part in parts for row in part.rows}
    if bad:
        _log.warning("%d of %d images left out:\n  %s", len(bad), total, list_bad(bad))
    return build_manifest(
        name,
        shards,
        declared_directions=source.declared_directions,
        provenance={
            **source.provenance(),
            "staged_at": datetime.now(UTC).isoformat(),
            **record_bad(bad),
            **report_look_alikes(name, fingerprints, splits),
        },
        generator=None if options is None else asdict(options),
        digest=digest,
        partial=source.partial,
        classes=source.classes,
    )


def _cut(
    source: RecordSource, ids: Sequence[str], digest: str | None, in_process: bool
) -> list[Part]:
    if in_process:
        return cut_parts(source, ids, digest, 1)
    from sweeps.staging.ray_tasks import count_cores  # imports Ray, which a debugged trial does not

    return cut_parts(source, ids, digest, count_cores())


def _run_here(
    store: Store,
    source: RecordSource,
    name: str,
    parts: Sequence[Part],
    progress: Progress,
    skips_bad: bool,
) -> Generator[StagedPart, None, None]:
    total, done = sum(len(part.ids) for part in parts), 0
    progress(0, total)
    for part in parts:
        staged = None if part.key is None else read_entry(store, name, part.key)
        if staged is None or (staged.bad and not skips_bad):
            chunks = [load_chunk(source, ids) for ids in part.chunks]
            staged = write_part(store, name, Columns.of(source), chunks, skips_bad=skips_bad)
            if part.key is not None and (skips_bad or not staged.bad):
                write_entry(store, name, part.key, staged)
        done += staged.images
        progress(done, total)
        yield staged


def _run_on_ray(
    store: Store,
    source: RecordSource,
    name: str,
    parts: Sequence[Part],
    progress: Progress,
    skips_bad: bool,
) -> Generator[StagedPart, None, None]:
    from sweeps.staging.ray_tasks import resume_parts, run_parts

    total, done = sum(len(part.ids) for part in parts), 0
    entries = set(store.list(journal_prefix(name)))
    keys = [p.key for p in parts if p.key is not None and entry_key(name, p.key) in entries]
    finished = resume_parts(store.url, name, keys)
    finished = {key: part for key, part in finished.items() if skips_bad or not part.bad}
    if finished:
        done = sum(part.images for part in finished.values())
        _log.warning("%d of %d images of '%s' were staged before: continuing", done, total, name)
        yield from finished.values()
    progress(done, total)

    def count(images: int) -> None:
        nonlocal done
        done += images
        progress(done, total)

    missing = [part for part in parts if part.key not in finished]
    yield from run_parts(store.url, source, name, missing, skips_bad=skips_bad, on_loaded=count)


def _collect(staged: Iterator[StagedPart]) -> list[StagedPart]:
    """Gather all parts; readers' warnings are logged, the first of them in full."""
    parts: list[StagedPart] = []
    warned = 0
    for part in staged:
        parts.append(part)
        for text in part.warnings[: max(0, SHOWN - warned)]:
            _log.warning("%s", text)
        warned += len(part.warnings)
    if warned > SHOWN:
        _log.warning("... and %d more warnings of this kind", warned - SHOWN)
    return parts


def _shards_in(store: Store, name: str) -> set[str]:
    return set(store.list(f"datasets/{name}/shards/"))


@contextmanager
def _take_back_on_failure(store: Store, name: str, before: set[str]) -> Iterator[None]:
    """Remove new shards that no finished part has, where staging fails or is interrupted."""
    try:
        yield
    except BaseException:
        try:
            new = _shards_in(store, name) - before - named_shards(store, name)
            _remove_unnamed_shards(store, name, new)
        except ClusterError as error:
            _log.warning("shards of dataset '%s' without a manifest may be left: %s", name, error)
        raise


def _remove_unnamed_shards(store: Store, name: str, keys: set[str]) -> None:
    """Remove those of some shards that no manifest of the dataset names.

    Where a manifest cannot be read, all shards stay: it may name any of them.
    """
    named: set[str] = set()
    for digest in list_datasets(store).get(name, ()) if keys else ():
        try:
            manifest = find_manifest(store, name, digest)
        except Corrupt as error:
            _log.warning("shards that no manifest names may be left: %s", error)
            return
        named |= {shard_key(name, entry.sha256) for entry in manifest.shards}
    for key in keys - named:
        store.delete(key)
