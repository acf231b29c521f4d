"""Staging tasks on Ray: chunks are loaded side by side, and a task per part writes its shards."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import ray

from cluster.errors import Unavailable
from cluster.stores import open_store
from spurious.data.records import RecordSource
from sweeps.staging.chunks import LoadedChunk, keep_freed_memory, load_chunk
from sweeps.staging.journal import read_entry, write_entry
from sweeps.staging.parts import PART_BYTES, Columns, Part, StagedPart, write_part

_END_S = 60.0
_FILLED = 0.75
"""Ray moves objects to disk from 0.8 of its store on."""


@ray.remote(num_cpus=1, max_retries=2)
def _stage_load(source: RecordSource, ids: Sequence[str]) -> LoadedChunk:
    keep_freed_memory()
    cv2.setNumThreads(1)  # every core has a task
    return load_chunk(source, ids)


@ray.remote(num_cpus=1, max_retries=2)
def _stage_write(
    store_url: str, name: str, key: str | None, columns: Columns, skips_bad: bool, *chunks: Any
) -> StagedPart:
    keep_freed_memory()
    store = open_store(store_url, probe=False)
    part = write_part(store, name, columns, chunks, skips_bad=skips_bad)
    if key is not None and (skips_bad or not part.bad):
        write_entry(store, name, key, part)
    return part


@ray.remote(num_cpus=1, max_retries=2)
def _stage_resume(store_url: str, name: str, key: str) -> StagedPart | None:
    return read_entry(open_store(store_url, probe=False), name, key)


def count_cores() -> int:
    """Return how many staging tasks run at once; needs a Ray session."""
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return max(1, int(resources.get("CPU", 1)))


def _count_open_parts() -> int:
    """Return how many parts fit into Ray's object store, images and masks of a byte a pixel.

    Beyond that Ray moves objects to disk and back, which takes longer than decoding them.
    """
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    held = resources.get("object_store_memory", 0.0) * _FILLED
    return max(1, int(held // (2 * PART_BYTES)))


def resume_parts(store_url: str, name: str, keys: Sequence[str]) -> dict[str, StagedPart]:
    """Read entries of the journal; needs a Ray session.

    Returns:
        Parts that are whole, by key.

    Raises:
        Unavailable, ClusterError: as `run_parts`.
    """
    tasks = [_stage_resume.remote(store_url, name, key) for key in keys]
    try:
        parts = [_result(task) for task in tasks]
    finally:
        _end(tasks)
    return {key: part for key, part in zip(keys, parts, strict=True) if part is not None}


@dataclass
class _Running:
    """Tasks that have not ended: chunks with their number of images, and parts."""

    chunks: dict[Any, int] = field(default_factory=dict)
    parts: list[Any] = field(default_factory=list)


def run_parts(
    store_url: str,
    source: RecordSource,
    name: str,
    parts: Sequence[Part],
    *,
    skips_bad: bool,
    on_loaded: Callable[[int], None],
) -> Generator[StagedPart, None, None]:
    """Yield staged parts as their tasks end, in any order; needs a Ray session.

    So many parts are in memory as keep all cores at work, and as Ray's object store holds.

    Args:
        store_url: Where to.
        source: Is pickled once.
        name: Name of the dataset.
        parts: What to stage.
        skips_bad: Leave bad images out, rather than write no part that has one.
        on_loaded: Is called with a number of images that are loaded.

    Raises:
        Unavailable: a worker was lost, also on the last of its retries.
        ClusterError: the store failed.
    """
    shared, waiting = ray.put(source), list(reversed(parts))
    columns = Columns.of(source)
    most, most_parts, running = 2 * count_cores(), _count_open_parts(), _Running()
    try:
        while waiting or running.parts:
            while waiting and len(running.chunks) < most and len(running.parts) < most_parts:
                part = waiting.pop()
                chunks = {_stage_load.remote(shared, ids): len(ids) for ids in part.chunks}
                write = _stage_write.remote(store_url, name, part.key, columns, skips_bad, *chunks)
                running.chunks.update(chunks)
                running.parts.append(write)
                del chunks  # the last reference keeps the pixels
            ready, _ = ray.wait([*running.chunks, *running.parts], fetch_local=False)
            if ready[0] in running.chunks:
                on_loaded(running.chunks.pop(ready[0]))
            else:
                running.parts.remove(ready[0])
                yield _result(ready[0])
    finally:
        _end([*running.parts, *running.chunks])


def _result(task: Any) -> Any:
    """Return what a staging task returned, or raise the error that it raised.

    Raises:
        Unavailable: its worker was lost, also on the last of its retries.
    """
    try:
        return ray.get(task)
    except ray.exceptions.RayTaskError as error:
        cause: Any = error.cause
        while isinstance(cause, ray.exceptions.RayTaskError):  # of a task that this one waited for
            cause = cause.cause
        if isinstance(cause, Exception) and not isinstance(cause, ray.exceptions.RayError):
            raise cause from None
        if cause is None or not isinstance(cause, ray.exceptions.RayError):
            raise
        raise _lost(cause) from error
    except ray.exceptions.RayError as error:
        raise _lost(error) from error


def _lost(error: Exception) -> Unavailable:
    return Unavailable(
        f"a worker that staged images was lost ({str(error).splitlines()[0]}): run the "
        "command again; if workers run out of memory, use a machine with more"
    )


def _end(tasks: Sequence[Any]) -> None:
    """Stop tasks and wait for it: a shard that arrives later would not be taken back."""
    for task in tasks:
        ray.cancel(task, force=True)
    if tasks:
        ray.wait(list(tasks), num_returns=len(tasks), timeout=_END_S)
