"""Checks that a TIFF file is whole: one page, whose strips or tiles lie in the file and unpack.

Decoders fill what a cut file lacks, or warn where nobody reads it. Deflate has a checksum; the
other compressions are compared by length alone.

Source: Adobe, TIFF revision 6.0 (1992), and Technical Note 2 of 2002 for deflate.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from spurious.errors import DataError

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_READ = {1: "B", 3: "H", 4: "I"}
_NONE, _LZW, _DEFLATE, _OLD_DEFLATE, _PACKBITS = 1, 5, 8, 32946, 32773
_NAMES = {2: "CCITT", 3: "CCITT", 4: "CCITT", 6: "JPEG", 7: "JPEG", 34712: "JPEG 2000"}
_WIDTH, _HEIGHT, _BITS, _COMPRESSION = 256, 257, 258, 259
_SAMPLES, _ROWS_PER_STRIP, _PLANAR = 277, 278, 284
_STRIPS, _TILES = (273, 279), (324, 325)
_TILE_SIZE = (322, 323)
_MOST_ENTRIES = 4096
_LZW_CLEAR, _LZW_END, _LZW_MOST = 256, 257, 4095


def check_tiff(data: bytes) -> None:
    """Walk a TIFF's directory and compare its strips or tiles with the picture's size.

    Raises:
        DataError: Several pages, a directory, strips or tiles that leave the file, overlap or are
            too few, lengths that do not fit, or a compression that is not read.
    """
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(data[:4])
    if order is None:
        raise DataError("it does not begin with the mark of a TIFF file of up to 4 GiB")
    if len(data) < 8:
        raise DataError("it ends inside its header")
    begin = struct.unpack_from(f"{order}I", data, 4)[0]
    tags, following = _read_directory(data, order, begin)
    if following:
        raise DataError("it has several pages, expected one: save the page that is meant alone")
    _check_parts(data, tags)


def _read_directory(
    data: bytes, order: str, begin: int
) -> tuple[Mapping[int, tuple[int, ...]], int]:
    """Return the whole numbers of a directory by tag, and where the next directory is."""
    if not 8 <= begin <= len(data) - 6:
        raise DataError("its directory is outside the file")
    count = struct.unpack_from(f"{order}H", data, begin)[0]
    end = begin + 2 + 12 * count
    if not 0 < count <= _MOST_ENTRIES or end + 4 > len(data):
        raise DataError("it ends inside its directory")
    tags: dict[int, tuple[int, ...]] = {}
    for entry in range(begin + 2, end, 12):
        tag, kind, number = struct.unpack_from(f"{order}HHI", data, entry)
        size = _SIZES.get(kind, 1) * number
        place = entry + 8
        if size > 4:
            place = struct.unpack_from(f"{order}I", data, entry + 8)[0]
        if place + size > len(data):
            raise DataError(f"the values of its tag {tag} are outside the file")
        if kind in _READ:
            tags[tag] = struct.unpack_from(f"{order}{number}{_READ[kind]}", data, place)
    return tags, struct.unpack_from(f"{order}I", data, end)[0]


@dataclass(frozen=True)
class _Layout:
    """How a page's pixels are cut: strips are tiles as wide as the page."""

    width: int
    height: int
    tile_width: int
    tile_height: int
    bits: int
    planes: int
    compression: int

    def part_bytes(self, number: int) -> int:
        """Return the bytes of a part when unpacked; the last strip may be shorter, no tile is."""
        rows = self.tile_height
        if self.tile_width == self.width:
            strips = -(-self.height // self.tile_height)
            rows = min(rows, self.height - number % strips * self.tile_height)
        return rows * -(-self.tile_width * self.bits // 8)

    @property
    def parts(self) -> int:
        across, down = -(-self.width // self.tile_width), -(-self.height // self.tile_height)
        return across * down * self.planes


def _check_parts(data: bytes, tags: Mapping[int, tuple[int, ...]]) -> None:
    tiled = _TILES[0] in tags
    layout = _read_layout(tags, tiled)
    place_tag, length_tag = _TILES if tiled else _STRIPS
    places, lengths = tags.get(place_tag, ()), tags.get(length_tag, ())
    kind = "tiles" if tiled else "strips"
    if not len(places) == len(lengths) == layout.parts:
        raise DataError(
            f"{len(places)} {kind} with {len(lengths)} lengths, expected {layout.parts} for its "
            "size"
        )
    ends = sorted((place, place + length) for place, length in zip(places, lengths, strict=True))
    if ends[-1][1] > len(data) or ends[0][0] < 8:
        raise DataError(f"{kind} of its pixels are outside the file: it is cut off")
    if any(begin < end for (_, end), (begin, _) in pairwise(ends)):
        raise DataError(f"{kind} of its pixels overlap")
    for number, (place, length) in enumerate(zip(places, lengths, strict=True)):
        _check_part(data[place : place + length], layout.part_bytes(number), layout.compression)


def _read_layout(tags: Mapping[int, tuple[int, ...]], tiled: bool) -> _Layout:
    def first(tag: int, default: int | None = None) -> int:
        values = tags.get(tag) or (() if default is None else (default,))
        if not values:
            raise DataError(f"tag {tag} of its directory is missing")
        return values[0]

    width, height, samples = first(_WIDTH), first(_HEIGHT), first(_SAMPLES, 1)
    bits = tags.get(_BITS) or (1,)
    compression = first(_COMPRESSION, _NONE)
    tile_width = first(_TILE_SIZE[0]) if tiled else width
    tile_height = first(_TILE_SIZE[1]) if tiled else min(first(_ROWS_PER_STRIP, height), height)
    if min(width, height, tile_width, tile_height, samples) < 1:
        raise DataError("its directory states a size of 0")
    if len(bits) != samples or len(set(bits)) > 1:
        raise DataError(f"{samples} samples with bits {bits}")
    if compression not in (_NONE, _LZW, _DEFLATE, _OLD_DEFLATE, _PACKBITS):
        name = _NAMES.get(compression, compression)
        raise DataError(
            f"it is compressed ({name}), which is not read: save it without compression, or by "
            "LZW or deflate"
        )
    apart = first(_PLANAR, 1) == 2
    return _Layout(
        width,
        height,
        tile_width,
        tile_height,
        bits[0] if apart else bits[0] * samples,
        samples if apart else 1,
        compression,
    )


def _check_part(part: bytes, expected: int, compression: int) -> None:
    """Raise DataError unless a strip or tile unpacks to as many bytes as its pixels take."""
    size = len(part)
    if compression == _PACKBITS:
        size = _packbits_size(part)
    elif compression in (_DEFLATE, _OLD_DEFLATE):
        unpack = zlib.decompressobj()
        try:
            size = len(unpack.decompress(part, expected + 1))
        except zlib.error as error:
            raise DataError(f"its pixel data are damaged ({error})") from error
        if not unpack.eof and size == expected:
            unpack.decompress(unpack.unconsumed_tail, 1)
        if not unpack.eof:
            raise DataError("its pixel data end early or go on")
    elif compression == _LZW:
        size = _lzw_size(part, expected)
    if size != expected:
        raise DataError(f"a strip or tile has {size} bytes of pixels, expected {expected}")


def _packbits_size(part: bytes) -> int:
    """Return how many bytes PackBits codes unpack to, without those behind the end."""
    size = position = 0
    while position < len(part):
        code = part[position]
        if code < 128:
            position += 2 + code
            size += code + 1
        else:
            position += 1 if code == 128 else 2  # 128: nothing
            size += 0 if code == 128 else 257 - code
    if position > len(part):
        raise DataError("its pixel data end inside a run")
    return size


def _lzw_size(part: bytes, expected: int) -> int:
    """Return how many bytes LZW codes unpack to; each code adds the length of its string.

    Codes begin with 9 bits and grow to 12, one code early (section 13 of the specification).
    """
    lengths = [1] * 256 + [0, 0]
    previous, size, width, buffer, held = 0, 0, 9, 0, 0
    for byte in part:
        buffer, held = (buffer << 8 | byte) & 0xFFFFFF, held + 8
        if held < width:
            continue
        held -= width
        code = buffer >> held & (1 << width) - 1
        if code == _LZW_END:
            return size
        if code == _LZW_CLEAR:
            del lengths[258:]
            previous, width = 0, 9
            continue
        if previous:
            if len(lengths) > _LZW_MOST:
                raise DataError("its pixel data are damaged (an LZW table without end)")
            lengths.append(previous + 1)
        if code >= len(lengths) or (not previous and code > 255):
            raise DataError("its pixel data are damaged (an LZW code that is not defined)")
        previous = lengths[code]
        size += previous
        if size > expected:
            raise DataError(f"a strip or tile has more than {expected} bytes of pixels")
        # the next string gets number len(lengths)
        width = 9 + (len(lengths) >= 511) + (len(lengths) >= 1023) + (len(lengths) >= 2047)
    if size == expected:  # some writers leave the end mark out
        return size
    raise DataError(f"its pixel data end early: {size} of {expected} bytes")
