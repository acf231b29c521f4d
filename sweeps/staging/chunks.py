"""What one staging task does: load a chunk's records and write them as shards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cluster.datasets.shards import StagedShard, write_shards
from cluster.stores.base import Store
from spurious.data.records import Record, RecordSource
from spurious.errors import DataError


@dataclass(frozen=True)
class StagedChunk:
    """The outcome of a chunk: its shards, a message for each bad image, and how many it had."""

    shards: list[StagedShard]
    problems: list[str]
    images: int


def stage_chunk(store: Store, source: RecordSource, name: str, ids: Sequence[str]) -> StagedChunk:
    """Write a chunk's records; bad ones are named and left out, so that one pass names them all.

    Raises:
        ClusterError: the store failed.
    """
    problems: list[str] = []
    shards = write_shards(store, name, _good(source, ids, problems), source.attribute_names)
    return StagedChunk(shards, problems, len(ids))


def _good(source: RecordSource, ids: Sequence[str], problems: list[str]) -> Iterator[Record]:
    for sample_id in ids:
        try:
            record = source.load(sample_id)
        except DataError as error:
            problems.append(str(error))
            continue
        yield record
