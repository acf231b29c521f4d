"""What one staging task does: load a chunk's records and write them as shards."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from cluster.datasets.shards import StagedShard, write_shards
from cluster.stores.base import Store
from spurious.data.records import Record, RecordSource
from spurious.errors import DataError


@dataclass(frozen=True)
class StagedChunk:
    """The outcome of a chunk.

    Attributes:
        shards: What was written.
        problems: A message for each bad image.
        images: How many the chunk had.
        warnings: What readers logged, which a worker's own log would hide.
    """

    shards: list[StagedShard]
    problems: list[str]
    images: int
    warnings: list[str]


def stage_chunk(store: Store, source: RecordSource, name: str, ids: Sequence[str]) -> StagedChunk:
    """Write a chunk's records; bad ones are named and left out, so that one pass names them all.

    Raises:
        ClusterError: the store failed.
    """
    problems: list[str] = []
    with collect_warnings() as warnings:
        records = _good(source, ids, problems)
        shards = write_shards(store, name, records, source.attribute_names, partial=source.partial)
    return StagedChunk(shards, problems, len(ids), warnings)


@contextmanager
def collect_warnings() -> Iterator[list[str]]:
    """Take the readers' warnings out of this process's log, into a list."""
    texts: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: texts.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("spurious.readers")
    propagates, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield texts
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagates


def _good(source: RecordSource, ids: Sequence[str], problems: list[str]) -> Iterator[Record]:
    for sample_id in ids:
        try:
            record = source.load(sample_id)
        except DataError as error:
            problems.append(str(error))
            continue
        yield record
