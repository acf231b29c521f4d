"""Decodes a PNG's unpacked rows, so that pixel data are unpacked once, for check and pixels alike.

Grey or RGB of 8 bits without interlacing; Pillow decodes what is rarer. Source: W3C PNG (third
edition), 9.2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spurious.errors import DataError
from spurious.readers.compile_loop import compile_loop
from spurious.readers.png import PngData

_NONE, _SUB, _UP, _AVERAGE, _PAETH = range(5)
_DEPTH, _COLOUR = slice(8, 9), 9
_PLAIN = b"\0\0\0"
"""Compression, filter and interlacing of a header."""
_CHANNELS = {0: 1, 2: 3}
_SILENT = {b"IHDR", b"IDAT", b"IEND", b"pHYs", b"gAMA", b"sRGB", b"cHRM", b"sBIT", b"tIME", b"bKGD"}
"""Chunks that change neither the pixels nor which side is up."""


def decode_rows(png: PngData) -> NDArray[np.uint8] | None:
    """Undo the filters of a PNG's rows.

    Args:
        png: What `check_png` returns.

    Returns:
        (H, W) or (H, W, 3); None where Pillow has to decode the file.

    Raises:
        DataError: A row has a filter that is not defined.
    """
    header, channels = png.header, _CHANNELS.get(png.header[_COLOUR])
    if channels is None or header[_DEPTH] != b"\x08" or header[10:] != _PLAIN:
        return None
    if not _SILENT.issuperset(png.chunks) or not _in_one_run(png.chunks):
        return None
    width, height = int.from_bytes(header[:4]), int.from_bytes(header[4:8])
    if not width or not height:
        return None
    rows = np.frombuffer(png.rows, np.uint8).reshape(height, 1 + width * channels)
    pixels = np.empty((height, width * channels), np.uint8)
    wrong = _undo_filters(rows, pixels, channels)
    if wrong >= 0:
        raise DataError(f"row {wrong} has filter {rows[wrong, 0]}, expected 0 to 4")
    return pixels.reshape(height, width) if channels == 1 else pixels.reshape(height, width, 3)


def _in_one_run(chunks: tuple[bytes, ...]) -> bool:
    """Return whether there is one header, and pixel data follow on each other."""
    first, data = chunks.index(b"IDAT"), chunks.count(b"IDAT")
    return chunks.count(b"IHDR") == 1 and set(chunks[first : first + data]) == {b"IDAT"}


@compile_loop
def _undo_filters(rows: NDArray[np.uint8], pixels: NDArray[np.uint8], step: int) -> int:
    """Fill (H, n) pixels from (H, 1 + n) rows; return the first row of an unknown filter, or -1."""
    n = pixels.shape[1]
    for y in range(len(rows)):
        kind, row, into = rows[y, 0], rows[y, 1:], pixels[y]
        if kind > _PAETH:
            return y
        if kind == _NONE or (kind == _UP and not y):
            into[:] = row
        elif kind == _UP:
            above = pixels[y - 1]
            for x in range(n):
                into[x] = row[x] + above[x]
        else:
            for x in range(n):
                left = np.int64(into[x - step]) if x >= step else 0
                over = np.int64(pixels[y - 1, x]) if y else 0
                corner = np.int64(pixels[y - 1, x - step]) if y and x >= step else 0
                guess = left
                if kind == _AVERAGE:
                    guess = (left + over) >> 1
                elif kind == _PAETH:
                    from_left = abs(int(over) - int(corner))
                    from_over = abs(int(left) - int(corner))
                    from_corner = abs(int(left + over) - 2 * int(corner))
                    if from_over < from_left or from_corner < from_left:
                        guess = over if from_over <= from_corner else corner
                into[x] = np.uint8((np.int64(row[x]) + guess) & 255)
    return -1
