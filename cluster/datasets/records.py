"""Records as shards hold them: their checks, their bytes and their digests.

Shape legend: H height, W width, C channels.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from cluster.datasets.keys import DTYPES
from cluster.errors import ClusterError
from spurious.data.classes import ImageClass
from spurious.data.drawn import BOXES, MASK, fill_boxes
from spurious.data.records import Covariate, Outline, Overlap, Record
from spurious.data.runs import encode_runs
from spurious.data.splits import SPLITS

DIGEST_VERSION = 1
"""Part of every content digest: raised when the bytes that are hashed are laid out differently."""

_MAX_ID = 200
_MAX_ABNORMALITIES = np.iinfo(np.int16).max


@dataclass(frozen=True, slots=True)
class RowDetails:
    """What a record carries outside its identity, as `Record` has it; features as runs."""

    covariates: Mapping[str, Covariate]
    outline: Outline | None
    overlaps: Mapping[str, Overlap]
    features: Mapping[str, list[int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RowSummary:
    """A record without its pixels, and the digest of all of it.

    `attributes` follow the dataset's sorted attribute names; `digest` is 32 bytes; `drawn` holds
    the bits of `spurious.data.drawn`; `details` are in no digest and in no shard; `class_number` is
    None where the dataset has labels alone.
    """

    sample_id: str
    patient_id: str
    split: str
    label: int
    abnormalities: int
    attributes: tuple[bool | None, ...]
    digest: bytes
    drawn: int = MASK
    details: RowDetails | None = field(default=None, compare=False)
    class_number: int | None = None


@dataclass(frozen=True, slots=True)
class EncodedRecord:
    """A record as a shard stores it: raw little-endian C-order pixels and packed mask bits.

    `image` may be a view of the record's own pixels, which must not change before it is stored;
    `boxes` are (k, 4) little-endian int32 corners; None where no boxes were drawn as such.
    """

    row: RowSummary
    image_shape: tuple[int, int, int]
    dtype: str
    image: bytes | memoryview
    mask: bytes
    boxes: bytes | None = None


def encode_record(
    record: Record,
    attribute_names: Sequence[str],
    *,
    partial: bool = False,
    classes: Sequence[ImageClass] = (),
) -> EncodedRecord:
    """Check a record and turn it into bytes.

    Args:
        record: The record; its mask may be absent, and it may have boxes, only if `partial`.
        attribute_names: Sorted names of the dataset's attributes.
        partial: Whether the dataset's source says so, see `RecordSource.partial`.
        classes: Of the dataset; empty where there are only labels.

    Raises:
        ClusterError: a value has another type, shape or range than `Record` says; names the record.
    """
    _check_identity(record)
    label = int(record.label)
    if problem := find_wrong_class(label, record.class_number, classes):
        raise ClusterError(f"record {record.sample_id!r}: {problem}")
    number = None if record.class_number is None else int(record.class_number)
    height, width, channels = _check_pixels(record)
    attributes = _attribute_values(record, attribute_names)
    pixels = record.image
    ordered = pixels.astype(pixels.dtype.newbyteorder("<"), order="C", copy=False)
    image = ordered.reshape(-1).view(np.uint8).data
    drawn, mask, boxes, filled = _encode_drawing(record, height, width, partial)
    abnormalities = int(record.abnormalities)
    columns = (record.sample_id, record.patient_id, record.split, label, abnormalities, attributes)
    row = summarize_row(*columns, image, mask, drawn, filled, number)
    features = {name: encode_runs(mask) for name, mask in _check_features(record).items()}
    details = RowDetails(dict(record.covariates), record.outline, dict(record.overlaps), features)
    row = replace(row, details=details)
    return EncodedRecord(row, (height, width, channels), pixels.dtype.name, image, mask, boxes)


def _encode_drawing(
    record: Record, height: int, width: int, partial: bool
) -> tuple[int, bytes, bytes | None, bytes]:
    """Return the bits of what was drawn, the packed mask, the boxes' corners and their packed fill.

    A mask that nobody drew is stored as zeros.
    """
    if not partial and (record.mask is None or record.boxes is not None):
        raise ClusterError(
            f"record {record.sample_id!r} has {'no mask' if record.mask is None else 'boxes'}, and "
            "its source is not `partial`: one that may leave masks out, or has boxes, says so"
        )
    drawn = (MASK if record.mask is not None else 0) | (BOXES if record.boxes is not None else 0)
    mask = np.zeros((height, width), bool) if record.mask is None else record.mask
    if record.boxes is None:
        return drawn, np.packbits(mask).tobytes(), None, b""
    corners = _check_boxes(record, record.boxes, height, width)
    filled = np.packbits(fill_boxes(corners, height, width)).tobytes()
    return drawn, np.packbits(mask).tobytes(), corners.astype("<i4").tobytes(), filled


def _check_features(record: Record) -> Mapping[str, NDArray[np.bool_]]:
    for name, mask in record.features.items():
        if mask.dtype != np.bool_ or mask.shape != record.image.shape[:2]:
            raise ClusterError(
                f"record {record.sample_id!r}: the mask of feature {name!r} is {mask.shape} "
                f"{mask.dtype}; expected {record.image.shape[:2]} bool"
            )
    return record.features


def _check_boxes(
    record: Record, boxes: NDArray[np.int32], height: int, width: int
) -> NDArray[np.int32]:
    if boxes.ndim != 2 or boxes.shape[1] != 4 or boxes.dtype != np.int32:
        raise ClusterError(
            f"record {record.sample_id!r}: boxes are {boxes.shape} {boxes.dtype}; expected (k, 4) "
            "int32"
        )
    x0, y0, x1, y1 = boxes.T
    if ((x0 < 0) | (y0 < 0) | (x0 >= x1) | (y0 >= y1) | (x1 > width) | (y1 > height)).any():
        raise ClusterError(
            f"record {record.sample_id!r}: a box is empty or outside the image of {height} x "
            f"{width}: {boxes.tolist()[:5]}; expected 0 <= x0 < x1 <= {width}, "
            f"0 <= y0 < y1 <= {height}"
        )
    return boxes


def summarize_row(
    sample_id: str,
    patient_id: str,
    split: str,
    label: int,
    abnormalities: int,
    attributes: tuple[bool | None, ...],
    image: bytes | memoryview,
    mask: bytes,
    drawn: int = MASK,
    filled_boxes: bytes = b"",
    class_number: int | None = None,
) -> RowSummary:
    """Return a row's summary with the digest over all of it, from the bytes that a shard holds.

    The digest of a row without a class, of which the mask alone is drawn, is that of before there
    was anything else.

    Columns are as in `Record`, attributes in the order of their names; `drawn` holds the bits of
    `spurious.data.drawn`, and `filled_boxes` the packed fill of boxes that were drawn as such.
    """
    columns = (sample_id, patient_id, split, label, abnormalities, attributes)
    optional = {} if drawn == MASK else {"drawn": drawn}
    optional |= {} if class_number is None else {"class": class_number}
    hashed = (*columns, optional) if optional else columns
    header = json.dumps(hashed, separators=(",", ":")).encode()
    sha = hashlib.sha256(len(header).to_bytes(8, "little") + header)
    sha.update(image)
    sha.update(mask)
    sha.update(filled_boxes)
    return RowSummary(*columns, sha.digest(), drawn, class_number=class_number)


def content_digest(
    rows: Iterable[RowSummary],
    image_shape: tuple[int, int, int],
    dtype: str,
    attribute_names: Sequence[str],
    classes: Sequence[ImageClass] = (),
) -> str:
    """SHA-256 (hex) over the records themselves, in the order of their ids.

    It depends on ids, pixels, masks, labels, classes, attributes and splits alone: never on shard
    sizes, compression, library versions or the number and order of staging tasks.
    """
    header = [DIGEST_VERSION, list(image_shape), dtype, list(attribute_names)]
    if classes:
        header.append({"classes": [[each.name, each.positive] for each in classes]})
    sha = hashlib.sha256(json.dumps(header, separators=(",", ":")).encode())
    for row in sorted(rows, key=lambda row: row.sample_id):
        sha.update(row.digest)
    return sha.hexdigest()


def find_wrong_class(
    label: int, class_number: int | None, classes: Sequence[ImageClass]
) -> str | None:
    """Return why a class number does not fit a label and the dataset's classes; None where it does.

    Args:
        label: 0 or 1.
        class_number: Place among the classes; None only where there are none.
        classes: Of the dataset; empty where there are only labels.
    """
    if not classes:
        return (
            None
            if class_number is None
            else f"class number is {class_number!r}, and its source names no classes"
        )
    if class_number is None or class_number not in range(len(classes)):
        return f"class number is {class_number!r}; expected 0 to {len(classes) - 1}"
    of = classes[class_number]
    if label != of.positive:
        return f"label is {label}, and images of class {of.name!r} have {int(of.positive)}"
    return None


def _check_identity(record: Record) -> None:
    for name in ("sample_id", "patient_id"):
        value = getattr(record, name)
        # A trailing NUL would vanish in a numpy string array, a surrogate is no UTF-8.
        if not isinstance(value, str) or not 0 < len(value) <= _MAX_ID or not value.isprintable():
            raise ClusterError(
                f"record {record.sample_id!r}: {name} is {value!r}; "
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
    if mask is not None and (mask.dtype != np.bool_ or mask.shape != image.shape[:2]):
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
