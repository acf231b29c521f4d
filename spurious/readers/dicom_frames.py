"""Checks a film's elements and pixel data before they are decoded: one whole frame, no more."""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataelem import RawDataElement
from pydicom.encaps import generate_fragments
from pydicom.uid import (
    JPEG2000,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    RLELossless,
)
from pydicom.valuerep import VR

from spurious.errors import DataError
from spurious.readers.jpeg import check_jpeg
from spurious.readers.jpeg2000 import check_jpeg2000

_CHECKS: dict[str, Callable[[bytes], int]] = {
    JPEGBaseline8Bit: check_jpeg,
    JPEGExtended12Bit: check_jpeg,
    JPEG2000Lossless: check_jpeg2000,
    JPEG2000: check_jpeg2000,
}
_PLAIN = (JPEGBaseline8Bit, JPEGExtended12Bit)
_RESTORE = "restore the file from the release"
_BEGINS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  ")
"""JPEG and JPEG-LS, JPEG 2000 bare and in a JP2 file."""


_PIXEL_DATA, _PADDING = 0x7FE00010, 0
_BEHIND = (0xFFFAFFFA, 0xFFFCFFFC, _PADDING)
"""Digital signatures and padding; zeros behind the last element read as the last of the three."""


def check_elements(header: pydicom.Dataset) -> None:
    """Raise DataError where elements do not ascend (PS3.5 7.1), which shifted bytes read as."""
    tags = [int(tag) for tag in header.keys()]  # noqa: SIM118 (in file order; iteration sorts)
    for before, tag in pairwise(tags):
        if (tag < before and tag != _PADDING) or before == _PADDING:
            wrong = f"element {_show(tag)} comes after {_show(before)}"
        elif tag > _PIXEL_DATA and tag not in _BEHIND and not _is_private(header, tag):
            wrong = f"element {_show(tag)} is behind the pixel data, where none of the standard is"
        else:
            continue
        raise DataError(f"{wrong}: bytes of it were moved or added; {_RESTORE}")


def _is_private(header: pydicom.Dataset, tag: int) -> bool:
    """Return whether an element has an odd group, a kind of value and all of its bytes."""
    element: Any = header.get_item(tag)
    if not tag >> 16 & 1 or not isinstance(element, RawDataElement):
        return False
    kind = element.VR is None or element.VR in set(VR)  # None: implicit
    return kind and len(element.value or b"") == element.length


def _show(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def check_pixel_data(header: pydicom.Dataset) -> NDArray[np.uint8] | None:
    """Raise DataError unless PixelData are exactly one whole frame of a compression that is read.

    Of compressions without redundancy (none at all, RLE) only lengths can be checked.

    Returns:
        The (H, W) film where it is a plain JPEG, else None: pydicom decodes the others.
    """
    syntax = header.file_meta.TransferSyntaxUID
    data: bytes = header.PixelData
    if not syntax.is_encapsulated:
        _check_length(header, len(data))
    elif syntax not in (RLELossless, *_CHECKS) or _is_deep_jpeg(header):
        raise DataError(
            f"compressed as {syntax.name}, which is not read; decompress the files first "
            "(gdcmconv --raw, or dcmdjpeg of DCMTK)"
        )
    else:
        fragments = list(generate_fragments(data))[1:]  # the first is a table of offsets
        begins = fragments if syntax == RLELossless else [*filter(_is_begin, fragments)]
        if len(begins) != 1 or begins[0] is not fragments[0]:
            raise DataError(
                f"{len(begins)} frames in the pixel data, expected 1: only single-frame "
                "radiographs are read; restore the file from the release"
            )
        if syntax != RLELossless:
            frame = b"".join(fragments)
            _check_frame(frame, _CHECKS[syntax])
            if syntax in _PLAIN:
                return _decode_plain(frame, header)
    return None


def _decode_plain(frame: bytes, header: pydicom.Dataset) -> NDArray[np.uint8] | None:
    """Decode a grey JPEG as pydicom does, which takes half as long again for its way around."""
    with Image.open(io.BytesIO(frame), formats=["JPEG"]) as picture:
        if picture.mode != "L" or picture.size != (header.Columns, header.Rows):
            return None
        return np.asarray(picture) if header.BitsAllocated == 8 else None


def _is_deep_jpeg(header: pydicom.Dataset) -> bool:
    return bool(header.file_meta.TransferSyntaxUID == JPEGExtended12Bit and header.BitsStored != 8)


def _is_begin(fragment: bytes) -> bool:
    return fragment.startswith(_BEGINS)


def _check_frame(frame: bytes, check: Callable[[bytes], int]) -> None:
    try:
        end = check(frame)
    except DataError as error:
        raise DataError(f"the compressed film is damaged: {error}; {_RESTORE}") from error
    behind = frame[end:]
    if len(behind) > 1 and behind.strip(b"\x00"):
        raise DataError(f"{len(behind)} bytes behind the end of the compressed film; {_RESTORE}")


def _check_length(header: pydicom.Dataset, length: int) -> None:
    bits = int(header.Rows) * int(header.Columns) * int(header.BitsAllocated)
    expected = -(-bits // 8)
    if length in (expected, expected + expected % 2):
        return
    frames = f" ({length // expected} frames)" if length % expected == 0 and length else ""
    raise DataError(
        f"{length} bytes of pixel data{frames}, expected {expected} for {header.Rows} x "
        f"{header.Columns} pixels of {header.BitsAllocated} bits; {_RESTORE}"
    )
