"""Checks that a BMP file is whole: its lengths are those that its headers state.

Source: Microsoft, "Bitmap Storage" (BITMAPFILEHEADER, BITMAPINFOHEADER and its extensions).
"""

from __future__ import annotations

from spurious.errors import DataError

_FILE_HEADER = 14
_INFO_HEADERS = (40, 52, 56, 108, 124)
_DEPTHS = (1, 4, 8, 24, 32)
_UNCOMPRESSED, _BIT_FIELDS = 0, 3
_LARGEST_SIDE = 1 << 20


def check_bmp(data: bytes) -> None:
    """Compare a BMP's lengths with its headers.

    A BMP has no checksum, so a flipped bit of a pixel cannot be seen.

    Raises:
        DataError: A header that is damaged or compressed, or bytes that are missing or too many.
    """
    if len(data) < _FILE_HEADER + _INFO_HEADERS[0] or not data.startswith(b"BM"):
        raise DataError("it ends inside its header")
    size, begin = _number(data, 2, 4), _number(data, 10, 4)
    header = _number(data, 14, 4)
    width = int.from_bytes(data[18:22], "little", signed=True)
    height = abs(int.from_bytes(data[22:26], "little", signed=True))  # negative: from the top
    depth, compression = _number(data, 28, 2), _number(data, 30, 4)
    if header not in _INFO_HEADERS or _number(data, 26, 2) != 1 or depth not in _DEPTHS:
        raise DataError("its header is damaged, or of a kind that is not read")
    if not 0 < width <= _LARGEST_SIDE or not 0 < height <= _LARGEST_SIDE:
        raise DataError(f"its header states {width} x {height} pixels")
    if compression not in (_UNCOMPRESSED, _BIT_FIELDS):
        raise DataError(f"it is compressed ({compression}), which is not read: save it as PNG")
    _check_lengths(data, size, begin, header, height * (-(-width * depth // 32) * 4))


def _check_lengths(data: bytes, size: int, begin: int, header: int, pixels: int) -> None:
    if begin < _FILE_HEADER + header:
        raise DataError("its pixels begin inside its header")
    if size not in (0, len(data)):  # old writers leave 0
        raise DataError(f"{len(data)} bytes, but its header states {size}")
    if not 0 <= len(data) - begin - pixels <= 3 and not _has_profile(data, header, begin, pixels):
        raise DataError(
            f"{max(0, len(data) - begin)} bytes of pixels, expected {pixels} for its size"
        )


def _has_profile(data: bytes, header: int, begin: int, pixels: int) -> bool:
    """Return whether a colour profile follows the pixels and ends the file (header of 124)."""
    if header != 124:
        return False
    start, length = _FILE_HEADER + _number(data, 126, 4), _number(data, 130, 4)
    return length > 0 and start >= begin + pixels and start + length == len(data)


def _number(data: bytes, position: int, length: int) -> int:
    return int.from_bytes(data[position : position + length], "little")
