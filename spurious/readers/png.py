"""Checks that a PNG file is whole: every chunk's CRC, and the length of the pixel data.

Pillow checks neither the CRC of ancillary chunks nor that the data end where the image does.
Source: W3C PNG (third edition), 5.3 and 10.1.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from spurious.errors import DataError

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PASSES = (
    *((0, 8, 0, 8), (4, 8, 0, 8), (0, 4, 4, 8), (2, 4, 0, 4)),
    *((0, 2, 2, 4), (1, 2, 0, 2), (0, 1, 1, 2)),
)
"""Adam7: first column, step, first row, step."""


@dataclass(frozen=True)
class PngData:
    """What a PNG file holds.

    Attributes:
        header: The 13 bytes of IHDR.
        chunks: Names of all chunks, in order.
        rows: The unpacked pixel data, each row behind its filter byte.
    """

    header: bytes
    chunks: tuple[bytes, ...]
    rows: bytes


def check_png(data: bytes) -> PngData:
    """Walk a PNG up to its end chunk; bytes behind it are not looked at.

    Raises:
        DataError: A chunk that is cut or whose CRC differs, or pixel data that do not unpack to
            exactly the image's bytes.
    """
    if not data.startswith(_SIGNATURE):
        raise DataError("it does not begin with the mark of a PNG file")
    position, header, packed, names = len(_SIGNATURE), b"", [], []
    while True:
        length = int.from_bytes(data[position : position + 4])
        name = data[position + 4 : position + 8]
        body = data[position + 8 : position + 8 + length]
        crc = data[position + 8 + length : position + 12 + length]
        shown = name.decode("latin-1")
        if len(crc) < 4:
            raise DataError(f"it ends inside chunk {shown!r}" if name else "it has no end chunk")
        if zlib.crc32(name + body) != int.from_bytes(crc):
            raise DataError(f"chunk {shown!r} at byte {position} is damaged (its CRC differs)")
        position += 12 + length
        names.append(name)
        if name == b"IHDR":
            header = body
        elif name == b"IDAT":
            packed.append(body)
        elif name == b"IEND":
            break
    return PngData(header, tuple(names), _unpack(b"".join(packed), _unpacked_size(header)))


def _unpack(packed: bytes, expected: int) -> bytes:
    unpack = zlib.decompressobj()
    try:
        rows = unpack.decompress(packed, expected + 1)
    except zlib.error as error:
        raise DataError(f"its pixel data are damaged ({error})") from error
    size = len(rows)
    if not unpack.eof and size <= expected:
        size += len(unpack.decompress(unpack.unconsumed_tail, 1))
    if size != expected or not unpack.eof:
        raise DataError(f"its pixel data end early or go on: {size} of {expected} bytes")
    return rows


def _unpacked_size(header: bytes) -> int:
    """Return the bytes of all rows, each with its filter byte."""
    if len(header) != 13 or header[9] not in _CHANNELS:
        raise DataError("its header is damaged")
    width, height = int.from_bytes(header[:4]), int.from_bytes(header[4:8])
    bits = header[8] * _CHANNELS[header[9]]
    passes = _PASSES if header[12] else ((0, 1, 0, 1),)
    size = 0
    for left, across, top, down in passes:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            size += rows * (1 + (columns * bits + 7) // 8)
    return size
