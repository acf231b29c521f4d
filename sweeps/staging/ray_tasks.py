"""Staging tasks on Ray: one a chunk, stopped and waited for when one of them fails."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import ray

from cluster.errors import Unavailable
from cluster.stores import open_store
from spurious.data.records import RecordSource
from sweeps.staging.chunks import StagedChunk, stage_chunk

_END_S = 60.0


@ray.remote(num_cpus=1, max_retries=2)
def _stage_chunk(
    store_url: str, source: RecordSource, name: str, ids: Sequence[str]
) -> StagedChunk:
    return stage_chunk(open_store(store_url, probe=False), source, name, ids)


def run_chunks(
    store_url: str, source: RecordSource, name: str, chunks: Sequence[Sequence[str]]
) -> Generator[StagedChunk, None, None]:
    """Yield staged chunks as their tasks end, in any order; needs a Ray session.

    Raises:
        Unavailable: a worker was lost, also on the last of its retries.
        ClusterError: the store failed.
    """
    shared = ray.put(source)
    pending = [_stage_chunk.remote(store_url, shared, name, ids) for ids in chunks]
    try:
        while pending:
            ready, pending = ray.wait(pending, num_returns=1)
            yield _result(ready[0])
    finally:
        _end(pending)


def _result(task: Any) -> StagedChunk:
    """Return what a staging task returned, or the error that it raised.

    Raises:
        Unavailable: its worker was lost, also on the last of its retries.
    """
    try:
        result: StagedChunk = ray.get(task)
        return result
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, Exception):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        raise Unavailable(
            f"a worker that staged images was lost ({str(error).splitlines()[0]}): run the "
            "command again; if workers run out of memory, use a machine with more"
        ) from error


def _end(tasks: Sequence[Any]) -> None:
    """Stop tasks and wait for it: a shard that arrives later would not be taken back."""
    for task in tasks:
        ray.cancel(task, force=True)
    if tasks:
        ray.wait(list(tasks), num_returns=len(tasks), timeout=_END_S)
