"""How a source is cut: parts that become shards, and chunks of a part that are loaded at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cluster.datasets.records import RowSummary
from cluster.datasets.shards import StagedShard, write_shards
from cluster.stores.base import Store
from spurious.data.classes import ImageClass
from spurious.data.records import Record, RecordSource
from spurious.errors import DataError
from sweeps.staging.chunks import LoadedChunk
from sweeps.staging.fingerprint import Files, fingerprint_parts, list_files

PART_BYTES = 64 * 2**20
"""Staged bytes of a part: the lower end of a shard's size, whatever the number of workers."""
CHUNK_BYTES = 8 * 2**20
"""Most bytes of a chunk, of its files as well as staged."""
CHUNK_IMAGES = range(4, 65)
"""Fewest and most images of a chunk: fewer would cost more to hand on than to load."""
CHUNKS_PER_CORE = 8
"""So that the last chunk does not hold the other cores up."""

_TRIED = 20


@dataclass(frozen=True)
class Part:
    """A run of ids that become one shard (as a rule), and the name of its entry in the journal.

    Attributes:
        ids: Ascending.
        key: Stands for all that the records depend on; None where that cannot be known.
        chunks: The same ids, as they are loaded.
    """

    ids: tuple[str, ...]
    key: str | None
    chunks: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class StagedPart:
    """The outcome of a part; what the journal keeps of it.

    Attributes:
        shards: What was written; nothing where images are bad and bad ones are not left out.
        images: How many the part had.
        bad: Why images cannot be staged, by id.
        warnings: What readers logged.
        fingerprints: What near copies are found by, by id.
    """

    shards: tuple[StagedShard, ...]
    images: int
    bad: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    fingerprints: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def rows(self) -> Iterator[RowSummary]:
        """The records of all shards, without their pixels."""
        return (row for shard in self.shards for row in shard.records)


def cut_parts(
    source: RecordSource, ids: Sequence[str], digest: str | None, cores: int
) -> list[Part]:
    """Cut a source's ids; only the chunks depend on the number of cores.

    Args:
        source: A reader or generator.
        ids: All of its ids, ascending.
        digest: A generator's digest.
        cores: That load at once.
    """
    size = _record_bytes(source, ids)
    per_part = max(1, PART_BYTES // size)
    runs = [tuple(ids[start : start + per_part]) for start in range(0, len(ids), per_part)]
    files = list_files(source)
    keys = fingerprint_parts(source, files, runs, digest)
    fewest, most = CHUNK_IMAGES[0], CHUNK_IMAGES[-1]
    images = min(max(len(ids) // (CHUNKS_PER_CORE * cores), fewest), most)
    images = max(1, min(images, CHUNK_BYTES // size))
    return [
        Part(run, key, tuple(_cut_chunks(run, files, images)))
        for run, key in zip(runs, keys, strict=True)
    ]


def _cut_chunks(ids: Sequence[str], files: Files | None, images: int) -> Iterator[tuple[str, ...]]:
    chunk: list[str] = []
    weight = 0
    for sample_id in ids:
        bytes_read = files.size_of(sample_id) if files is not None else 0
        if chunk and (len(chunk) == images or weight + bytes_read > CHUNK_BYTES):
            yield tuple(chunk)
            chunk, weight = [], 0
        chunk.append(sample_id)
        weight += bytes_read
    yield tuple(chunk)


def _record_bytes(source: RecordSource, ids: Sequence[str]) -> int:
    """Stored size of the first record that can be read; loading all reports those that cannot."""
    for sample_id in ids[:_TRIED]:
        try:
            first = source.load(sample_id)
        except DataError:
            continue
        return int(first.image.nbytes + first.image.size // first.image.shape[-1] // 8)
    return 2**20


@dataclass(frozen=True)
class Columns:
    """What a source says of all of its records: attributes, classes, whether some lack a mask."""

    attribute_names: tuple[str, ...]
    partial: bool
    classes: tuple[ImageClass, ...]

    @staticmethod
    def of(source: RecordSource) -> Columns:
        """Return those of a source."""
        return Columns(tuple(source.attribute_names), source.partial, tuple(source.classes))


def write_part(
    store: Store,
    name: str,
    columns: Columns,
    chunks: Sequence[LoadedChunk],
    *,
    skips_bad: bool,
) -> StagedPart:
    """Write a part's shards from its chunks, in order; nothing where an image is bad.

    Args:
        store: Where to.
        name: Name of the dataset.
        columns: The source's.
        chunks: All of the part.
        skips_bad: Write the good images of a part that has bad ones, too.

    Raises:
        ClusterError: the records do not belong together, or the store failed.
    """
    bad = {sample_id: reason for chunk in chunks for sample_id, reason in chunk.bad.items()}
    shards: Sequence[StagedShard] = ()
    if skips_bad or not bad:
        shards = write_shards(
            *(store, name, _all_records(chunks), columns.attribute_names),
            partial=columns.partial,
            classes=columns.classes,
        )
    return StagedPart(
        shards=tuple(shards),
        images=sum(len(chunk.records) + len(chunk.bad) for chunk in chunks),
        bad=bad,
        warnings=tuple(text for chunk in chunks for text in chunk.warnings),
        fingerprints={i: value for chunk in chunks for i, value in chunk.fingerprints.items()},
    )


def _all_records(chunks: Sequence[LoadedChunk]) -> Iterator[Record]:
    for chunk in chunks:
        yield from chunk.records
