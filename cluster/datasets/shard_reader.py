"""Reading shards back: verified first, then decoded as views, row group by row group."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cluster.common.wording import count_of
from cluster.datasets.keys import shard_key
from cluster.datasets.manifest import Manifest, ShardEntry
from cluster.datasets.shards import ATTRIBUTE_PREFIX, shard_schema
from cluster.errors import Corrupt
from spurious.data.attributes import UNKNOWN
from spurious.data.dataset import Dataset
from spurious.data.drawn import BOXES, MASK, fill_boxes
from spurious.data.masks import PackedMasks, packed_bytes

_BOX_BYTES = 16


class WrongBytes(Corrupt):
    """A shard's bytes are not the manifest's: the object is damaged, or it was on the way."""


def read_shard(
    source: Path | memoryview, manifest: Manifest, entry: ShardEntry
) -> Iterator[Dataset]:
    """Verify a downloaded shard at once, then yield its rows, a small dataset per row group.

    Images and mask bits are views of the decoded Arrow buffers, and of memory where the shard is
    there.

    Raises:
        Corrupt: size, SHA-256, schema, row count or a row's size differs from the manifest; names
            the shard's key, what was expected and what was found.
    """
    key = shard_key(manifest.name, entry.sha256)
    _verify_bytes(source, key, entry)
    try:
        opened = source if isinstance(source, Path) else pa.BufferReader(pa.py_buffer(source))
        file = pq.ParquetFile(opened, memory_map=isinstance(source, Path))
    except (pa.ArrowException, OSError) as error:  # the manifest names another kind of object
        raise Corrupt(f"shard {key} is not Parquet ({error}): stage the dataset again") from error
    schema, expected = file.schema_arrow, _schema(manifest)
    if not schema.equals(expected) or schema.metadata != expected.metadata:
        raise Corrupt(
            f"shard {key} has schema {_one_line(schema)}; expected {_one_line(expected)}: "
            "stage the dataset again with this version"
        )
    if file.metadata.num_rows != entry.rows:
        raise Corrupt(
            f"shard {key} has {count_of(file.metadata.num_rows, 'row')}; its manifest says "
            f"{entry.rows}: stage the dataset again"
        )
    return _row_groups(file, manifest, key)


def _verify_bytes(source: Path | memoryview, key: str, entry: ShardEntry) -> None:
    if isinstance(source, Path):
        with source.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        size = source.stat().st_size
    else:
        sha256, size = hashlib.sha256(source).hexdigest(), len(source)
    if (sha256, size) != (entry.sha256, entry.size_bytes):
        raise WrongBytes(
            f"shard {key} is corrupt: expected sha256 {entry.sha256} ({entry.size_bytes} bytes), "
            f"found {sha256} ({size} bytes); stage the dataset again"
        )


def _row_groups(file: Any, manifest: Manifest, key: str) -> Iterator[Dataset]:
    for number in range(file.num_row_groups):
        table = file.read_row_group(number, use_threads=False)
        for batch in table.to_batches():
            yield _decode(batch, manifest, key)


def _decode(batch: Any, manifest: Manifest, key: str) -> Dataset:
    height, width, channels = manifest.image_shape
    for side, size in zip(("height", "width", "channels"), manifest.image_shape, strict=True):
        if not (batch.column(side).to_numpy() == size).all():
            raise Corrupt(
                f"shard {key}: a {side} differs from the manifest's {size}: stage the dataset again"
            )
    n = batch.num_rows
    dtype = np.dtype(manifest.dtype).newbyteorder("<")
    image_bytes = height * width * channels * dtype.itemsize
    pixels = _fixed_size_rows(batch.column("image"), image_bytes, f"shard {key}: image")
    mask_bytes = packed_bytes(height, width)
    bits = _fixed_size_rows(batch.column("mask"), mask_bytes, f"shard {key}: mask")
    attributes = np.empty((n, len(manifest.attribute_names)), np.int8)
    for column, name in enumerate(manifest.attribute_names):
        values = batch.column(ATTRIBUTE_PREFIX + name).cast(pa.int8()).fill_null(UNKNOWN)
        attributes[:, column] = values.to_numpy()
    drawn, boxes = _drawing(batch, manifest, key)
    return Dataset(
        images=pixels.reshape(-1).view(dtype).reshape(n, height, width, channels),
        masks=PackedMasks(bits, height, width),
        labels=batch.column("label").to_numpy().astype(np.int64),
        attributes=attributes,
        splits=_text(batch.column("split")),
        sample_ids=_text(batch.column("sample_id")),
        patient_ids=_text(batch.column("patient_id")),
        abnormalities=batch.column("abnormalities").to_numpy().astype(np.int64),
        attribute_names=manifest.attribute_names,
        directions=manifest.directions,
        digest=manifest.digest,
        drawn=drawn,
        boxes=boxes,
        mask_of=manifest.mask_of,
        class_numbers=batch.column("class").to_numpy().astype(np.int64)
        if manifest.classes
        else None,
        classes=manifest.classes,
    )


def _schema(manifest: Manifest) -> Any:
    of = (manifest.attribute_names, manifest.dtype, manifest.is_partial, bool(manifest.classes))
    return shard_schema(*of)


def _drawing(
    batch: Any, manifest: Manifest, key: str
) -> tuple[NDArray[np.uint8] | None, PackedMasks | None]:
    """Decode what was drawn and the filled boxes; None for both where every mask is drawn."""
    if not manifest.is_partial:
        return None, None
    height, width, _ = manifest.image_shape
    corners = batch.column("boxes").to_pylist()
    has_boxes = np.array([each is not None for each in corners], bool)
    drawn = batch.column("mask_drawn").to_numpy(zero_copy_only=False) * np.uint8(MASK)
    if any(len(each or b"") % _BOX_BYTES for each in corners):
        raise Corrupt(f"shard {key}: boxes are not four numbers each: stage the dataset again")
    filled = PackedMasks.pack(
        fill_boxes(np.frombuffer(each or b"", "<i4").reshape(-1, 4), height, width)
        for each in corners
    )
    return drawn.astype(np.uint8) | (has_boxes * np.uint8(BOXES)), filled


def _text(column: Any) -> NDArray[np.str_]:
    return np.array(column.to_pylist(), dtype=np.str_)


def _fixed_size_rows(column: Any, row_bytes: int, what: str) -> NDArray[np.uint8]:
    """View a binary column whose values all have one size as (n, row_bytes), without a copy."""
    n = len(column)
    _, offset_buffer, data = column.buffers()
    offsets = np.frombuffer(offset_buffer, np.int32)[column.offset : column.offset + n + 1]
    sizes = np.diff(offsets)
    if not (sizes == row_bytes).all():
        wrong = int(sizes[sizes != row_bytes][0])
        raise Corrupt(f"{what} of {wrong} bytes; expected {row_bytes}: stage the dataset again")
    values = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]]
    return values.reshape(n, row_bytes)


def _one_line(schema: Any) -> str:
    return ", ".join(f"{field.name}:{field.type}" for field in schema) + f" {schema.metadata}"
