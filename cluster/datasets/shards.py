"""Shards: immutable Parquet files of raw images, named by the SHA-256 of their bytes.

Images are one plain `binary` column (nested lists and tensor types store every byte as an
INT32 and read about thirty times slower), masks are bit-packed, everything else is flat.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cluster.datasets.keys import check_name, shard_key
from cluster.datasets.records import EncodedRecord, RowSummary, encode_record
from cluster.errors import ClusterError, Corrupt, NotFound
from cluster.stores.base import Store
from spurious.data.classes import ImageClass
from spurious.data.drawn import MASK
from spurious.data.records import Record

SHARD_FORMAT: Final = 1
SHARD_BYTES: Final = 128 * 2**20
ROW_GROUP_BYTES: Final = 24 * 2**20
ATTRIBUTE_PREFIX: Final = "spurious_"
FORMAT_KEY: Final = b"shard_format"
DTYPE_KEY: Final = b"image_dtype"

_log = logging.getLogger(__name__)

Compression = Literal["none", "lz4"]


@dataclass(frozen=True)
class StagedShard:
    """A shard that lies in the store, and what a manifest needs to know of its records.

    Attributes:
        sha256: Hash of the file, and its name.
        size_bytes: Size of the file.
        image_shape: (H, W, C) of every image.
        dtype: Pixel type of every image.
        attribute_names: Sorted names, the order of every row's attributes.
        records: One summary with digest per row, in row order; not stored in the manifest.
    """

    sha256: str
    size_bytes: int
    image_shape: tuple[int, int, int]
    dtype: str
    attribute_names: tuple[str, ...]
    records: tuple[RowSummary, ...]


def shard_schema(
    attribute_names: Sequence[str], dtype: str, partial: bool = False, classed: bool = False
) -> Any:
    """Return the Arrow schema of a shard, its metadata (format version, pixel type) included.

    Shards of a `partial` dataset say of each row whether its mask was drawn, and hold boxes; those
    of one with classes (`classed`) hold their numbers.
    """
    fields = [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("patient_id", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("label", pa.int8(), nullable=False),
        pa.field("abnormalities", pa.int16(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("channels", pa.int32(), nullable=False),
        pa.field("image", pa.binary(), nullable=False),
        pa.field("mask", pa.binary(), nullable=False),
        *(pa.field(ATTRIBUTE_PREFIX + name, pa.bool_()) for name in attribute_names),
        *((pa.field("mask_drawn", pa.bool_(), nullable=False),) if partial else ()),
        *((pa.field("boxes", pa.binary()),) if partial else ()),
        *((pa.field("class", pa.int16(), nullable=False),) if classed else ()),
    ]
    metadata = {FORMAT_KEY: str(SHARD_FORMAT).encode(), DTYPE_KEY: dtype.encode()}
    return pa.schema(fields, metadata=metadata)


def write_shards(
    store: Store,
    name: str,
    records: Iterable[Record],
    attribute_names: Sequence[str],
    *,
    partial: bool = False,
    classes: Sequence[ImageClass] = (),
    shard_bytes: int = SHARD_BYTES,
    row_group_bytes: int = ROW_GROUP_BYTES,
    compression: Compression = "none",
    scratch: Path | None = None,
) -> list[StagedShard]:
    """Stream records into shards of dataset `name`; one staging task calls this once.

    Holds one row group in memory and two shards in `scratch`. Stored shards are read back, damaged
    ones replaced. Nothing reads shards until a manifest names them.

    Args:
        store: Where the shards go.
        name: Dataset name.
        records: Records of one image shape, dtype and attribute set.
        attribute_names: The spurious attributes, in any order.
        partial: Whether records may come without a mask, or with boxes.
        classes: What the records' class numbers stand for; empty where there are only labels.
        shard_bytes, row_group_bytes: When a file is closed; raw image bytes per row group.
        compression: `lz4` trades decoding speed for bytes on the wire.
        scratch: Existing folder for the files; default: the system's temporary folder.

    Raises:
        ClusterError: a record is malformed, repeats an id, or has another shape or dtype.
        Denied, Unavailable: from the store.
    """
    names = _check_names(name, attribute_names)
    staged: list[StagedShard] = []
    first, shard = None, None
    with tempfile.TemporaryDirectory(prefix="shards-", dir=scratch) as folder:
        path = Path(folder) / "shard.parquet"
        for encoded in _encode(name, records, names, partial, classes):
            first = first or encoded
            if shard is None:
                schema = shard_schema(names, encoded.dtype, partial, bool(classes))
                shard = _ShardFile(path, schema, min(row_group_bytes, shard_bytes), compression)
            shard.add(encoded)
            if shard.size_bytes >= shard_bytes:
                staged.append(_publish(store, name, shard, names, first))
                shard = None
        if shard is not None and first is not None:
            staged.append(_publish(store, name, shard, names, first))
    return staged


def _encode(
    name: str,
    records: Iterable[Record],
    names: Sequence[str],
    partial: bool,
    classes: Sequence[ImageClass],
) -> Iterator[EncodedRecord]:
    """Encode records one by one; raises ClusterError where two do not belong together."""
    seen: set[str] = set()
    first: EncodedRecord | None = None
    for record in records:
        encoded = encode_record(record, names, partial=partial, classes=classes)
        first = first or encoded
        _check_alike(encoded, first)
        if encoded.row.sample_id in seen:
            raise ClusterError(f"dataset {name!r}: two records have id {record.sample_id!r}")
        seen.add(encoded.row.sample_id)
        yield encoded


class _ShardFile:
    """One Parquet file being written, row group by row group."""

    def __init__(self, path: Path, schema: Any, row_group_bytes: int, compression: str) -> None:
        self.path = path
        self.rows: list[RowSummary] = []
        self._schema = schema
        self._row_group_bytes = row_group_bytes
        self._pending: list[EncodedRecord] = []
        self._pending_bytes = 0
        self._sink = pa.OSFile(str(path), "wb")
        self._writer = pq.ParquetWriter(
            self._sink,
            schema,
            compression=compression,
            use_dictionary=["patient_id", "split"],
            write_statistics=[c for c in schema.names if c not in ("image", "mask")],
            # One page per column and row group: a page is the unit that decoding copies.
            data_page_size=2 * row_group_bytes,
        )

    @property
    def size_bytes(self) -> int:
        """Bytes on disk so far: whole row groups."""
        return int(self._sink.tell())

    def add(self, record: EncodedRecord) -> None:
        self._pending.append(record)
        self._pending_bytes += len(record.image)
        if self._pending_bytes >= self._row_group_bytes:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()
        self._sink.close()

    def _flush(self) -> None:
        if not self._pending:
            return
        rows = [record.row for record in self._pending]
        n = len(rows)
        height, width, channels = self._pending[0].image_shape
        columns: list[Sequence[Any]] = [
            [row.sample_id for row in rows],
            [row.patient_id for row in rows],
            [row.split for row in rows],
            [row.label for row in rows],
            [row.abnormalities for row in rows],
            [height] * n,
            [width] * n,
            [channels] * n,
            [record.image for record in self._pending],
            [record.mask for record in self._pending],
            *zip(*(row.attributes for row in rows), strict=True),
        ]
        if "boxes" in self._schema.names:
            columns.append([bool(row.drawn & MASK) for row in rows])
            columns.append([record.boxes for record in self._pending])
        if "class" in self._schema.names:
            columns.append([row.class_number for row in rows])
        arrays = [
            _join_blobs(column) if field.name == "image" else pa.array(column, field.type)
            for column, field in zip(columns, self._schema, strict=True)
        ]
        self._writer.write_table(pa.table(arrays, schema=self._schema), row_group_size=n)
        self.rows += rows
        self._pending, self._pending_bytes = [], 0


def _join_blobs(blobs: Sequence[bytes | memoryview]) -> Any:
    """Return a binary array with a copy of each.

    `pa.array` copies, too, but never lets go of a memoryview: every image would stay in memory.
    """
    ends = np.zeros(len(blobs) + 1, np.int32)
    np.cumsum([len(blob) for blob in blobs], out=ends[1:])
    joined = np.empty(ends[-1], np.uint8)
    for blob, start, end in zip(blobs, ends, ends[1:], strict=False):
        joined[start:end] = np.frombuffer(blob, np.uint8)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(joined)]
    return pa.Array.from_buffers(pa.binary(), len(blobs), buffers, null_count=0)


def _publish(
    store: Store, name: str, shard: _ShardFile, names: tuple[str, ...], first: EncodedRecord
) -> StagedShard:
    shard.close()
    with shard.path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    key = shard_key(name, sha256)
    if not _is_stored_whole(store, key, sha256, shard.path.with_name("stored.parquet")):
        store.upload(shard.path, key)
    return StagedShard(
        sha256=sha256,
        size_bytes=shard.path.stat().st_size,
        image_shape=first.image_shape,
        dtype=first.dtype,
        attribute_names=names,
        records=tuple(shard.rows),
    )


def _is_stored_whole(store: Store, key: str, sha256: str, copy: Path) -> bool:
    """Return whether the store holds a shard with the bytes of its name.

    It is read, since nothing cheaper tells: a server records size and ETag when it takes an object,
    so both stay right where the bytes rot afterwards. That is the cost of a download, which whoever
    stages has just exceeded by decoding the images; a first staging, with nothing there, pays none.
    """
    try:
        store.download(key, copy)
        with copy.open("rb") as file:
            is_whole = hashlib.file_digest(file, "sha256").hexdigest() == sha256
        copy.unlink()
    except NotFound:
        return False
    except Corrupt:
        is_whole = False
    if not is_whole:
        _log.warning("shard %s in %s is damaged: it is replaced", key, store.url)
    return is_whole


def _check_names(dataset: str, names: Sequence[str]) -> tuple[str, ...]:
    """Check the names of a dataset and its attributes; return the latter, sorted."""
    check_name(dataset, "dataset")
    for name in names:
        check_name(name, "attribute")
    if len(set(names)) != len(names):
        raise ClusterError(f"attribute names repeat: {', '.join(sorted(names))}")
    return tuple(sorted(names))


def _check_alike(record: EncodedRecord, first: EncodedRecord) -> None:
    if (record.image_shape, record.dtype) != (first.image_shape, first.dtype):
        raise ClusterError(
            f"record {record.row.sample_id!r} has an image of {record.image_shape} {record.dtype}, "
            f"but {first.row.sample_id!r} has {first.image_shape} {first.dtype}: all images of a "
            "dataset have one shape and dtype; resize them while staging"
        )
