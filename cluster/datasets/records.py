"""Records as shards hold them: their checks, their bytes and their digests.

Shape legend: H height, W width, C channels.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from cluster.datasets.keys import DTYPES
from cluster.errors import ClusterError
from spurious.data.records import Record
from spurious.data.splits import SPLITS

DIGEST_VERSION = 1
"""Part of every content digest: raised when the bytes that are hashed are laid out differently."""

_MAX_ID = 200
_MAX_ABNORMALITIES = np.iinfo(np.int16).max


@dataclass(frozen=True, slots=True)
class RowSummary:
    """A record without its pixels, and the digest of all of it.

    `attributes` follow the dataset's sorted attribute names; `digest` is 32 bytes.
    """

    sample_id: str
    patient_id: str
    split: str
    label: int
    abnormalities: int
    attributes: tuple[bool | None, ...]
    digest: bytes


@dataclass(frozen=True, slots=True)
class EncodedRecord:
    """A record as a shard stores it: raw little-endian C-order pixels and packed mask bits."""

    row: RowSummary
    image_shape: tuple[int, int, int]
    dtype: str
    image: bytes
    mask: bytes


def encode_record(record: Record, attribute_names: Sequence[str]) -> EncodedRecord:
    """Check a record and turn it into bytes.

    Raises:
        ClusterError: a value has another type, shape or range than `Record` says; names the record.
    """
    _check_identity(record)
    height, width, channels = _check_pixels(record)
    attributes = _attribute_values(record, attribute_names)
    pixels = record.image
    image = pixels.astype(pixels.dtype.newbyteorder("<"), copy=False).tobytes()
    mask = np.packbits(record.mask).tobytes()
    label, abnormalities = int(record.label), int(record.abnormalities)
    columns = (record.sample_id, record.patient_id, record.split, label, abnormalities, attributes)
    row = summarize_row(*columns, image, mask)
    return EncodedRecord(row, (height, width, channels), pixels.dtype.name, image, mask)


def summarize_row(
    sample_id: str,
    patient_id: str,
    split: str,
    label: int,
    abnormalities: int,
    attributes: tuple[bool | None, ...],
    image: bytes,
    mask: bytes,
) -> RowSummary:
    """Return a row's summary with the digest over all of it, from the bytes that a shard holds."""
    columns = (sample_id, patient_id, split, label, abnormalities, attributes)
    header = json.dumps(columns, separators=(",", ":")).encode()
    sha = hashlib.sha256(len(header).to_bytes(8, "little") + header)
    sha.update(image)
    sha.update(mask)
    return RowSummary(*columns, digest=sha.digest())


def content_digest(
    rows: Iterable[RowSummary],
    image_shape: tuple[int, int, int],
    dtype: str,
    attribute_names: Sequence[str],
) -> str:
    """SHA-256 (hex) over the records themselves, in the order of their ids.

    It depends on ids, pixels, masks, labels, attributes and splits alone: never on shard sizes,
    compression, library versions or the number and order of staging tasks.
    """
    header = [DIGEST_VERSION, list(image_shape), dtype, list(attribute_names)]
    sha = hashlib.sha256(json.dumps(header, separators=(",", ":")).encode())
    for row in sorted(rows, key=lambda row: row.sample_id):
        sha.update(row.digest)
    return sha.hexdigest()


def _check_identity(record: Record) -> None:
    for field in ("sample_id", "patient_id"):
        value = getattr(record, field)
        # A trailing NUL would vanish in a numpy string array, a surrogate is no UTF-8.
        if not isinstance(value, str) or not 0 < len(value) <= _MAX_ID or not value.isprintable():
            raise ClusterError(
                f"record {record.sample_id!r}: {field} is {value!r}; "
                f"expected 1 to {_MAX_ID} printable characters"
            )
    if record.split not in SPLITS:
        raise ClusterError(
            f"record {record.sample_id!r}: split is {record.split!r}; "
            f"expected one of {', '.join(SPLITS)}"
        )
    if record.label not in (0, 1):
        raise ClusterError(f"record {record.sample_id!r}: label is {record.label!r}; expected 0, 1")
    if not 0 <= record.abnormalities <= _MAX_ABNORMALITIES:
        raise ClusterError(
            f"record {record.sample_id!r}: abnormalities is {record.abnormalities!r}; "
            f"expected 0 to {_MAX_ABNORMALITIES}"
        )


def _check_pixels(record: Record) -> tuple[int, int, int]:
    image, mask = record.image, record.mask
    if image.ndim != 3 or image.size == 0 or image.dtype.name not in DTYPES:
        raise ClusterError(
            f"record {record.sample_id!r}: image is {image.shape} {image.dtype}; "
            f"expected a non-empty (H, W, C) of {', '.join(DTYPES)}"
        )
    if mask.dtype != np.bool_ or mask.shape != image.shape[:2]:
        raise ClusterError(
            f"record {record.sample_id!r}: mask is {mask.shape} {mask.dtype}; "
            f"expected {image.shape[:2]} bool"
        )
    height, width, channels = image.shape
    return height, width, channels


def _attribute_values(record: Record, names: Sequence[str]) -> tuple[bool | None, ...]:
    if sorted(record.attributes) != list(names):
        raise ClusterError(
            f"record {record.sample_id!r}: attributes are {sorted(record.attributes)}; "
            f"expected {list(names)}, with None where one is not annotated"
        )
    values: list[bool | None] = []
    for name in names:
        value = record.attributes[name]
        # Not bool(value): a NaN out of a table would count as True.
        if value is not None and not isinstance(value, bool | np.bool_):
            raise ClusterError(
                f"record {record.sample_id!r}: attribute {name!r} is {value!r}; "
                "expected True, False or None"
            )
        values.append(None if value is None else bool(value))
    return tuple(values)
