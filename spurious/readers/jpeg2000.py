"""Checks that a JPEG 2000 codestream is whole, as far as its own structure shows.

The arithmetic code has no redundancy: single bytes that were changed give another picture and no
error. Found are data that end early, parts that do not add up, stretches of zeros, and markers
inside compressed data, which long stretches of other bytes hold by chance. Source: ITU-T T.800,
annexes A, B.10.1 and C.
"""

from __future__ import annotations

import math
import re

from spurious.errors import DataError

_SOC_SIZ = b"\xff\x4f\xff\x51"
_SIZ, _COD, _SOT, _SOD, _EOC = 0xFF51, 0xFF52, 0xFF90, 0xFF93, 0xFFD9
_LONGEST_CODE = 16
"""Zero bytes in a row that arithmetic codes may hold by chance: one film in 2**100 has them."""
_STRAY = re.compile(rb"\xff[\x90-\xff]")
_STRAY_BESIDE_MARKS = re.compile(rb"\xff[\x90\x93-\xff]")
"""What compressed data never hold: both of its codes put a zero bit behind 0xFF (B.10.1, C.2)."""
_MARKS = 0b110
"""Bits of Scod for marks around packets, 0xFF91 and 0xFF92."""


def check_jpeg2000(data: bytes) -> int:
    """Walk a codestream, in a JP2 file or bare; return the position behind its end mark.

    Raises:
        DataError: It is not whole; says how.
    """
    start = data.find(_SOC_SIZ)
    if start < 0:
        raise DataError("it has no JPEG 2000 codestream")
    try:
        return _walk(data, start)
    except (IndexError, ZeroDivisionError) as error:
        raise DataError("a segment of its header is damaged") from error


def _walk(data: bytes, start: int) -> int:
    position, tiles, components, packets, there = start + 2, 0, 1, 1, set[int]()
    stray = _STRAY
    while True:
        marker, length = _number(data, position, 2), _number(data, position + 2, 2)
        if marker == _EOC:
            if there != set(range(tiles)):
                raise DataError(f"its end mark comes after {len(there)} of {tiles} tiles")
            return position + 2
        if marker < 0xFF00 or position + 4 > len(data):
            raise DataError("it ends without an end mark" if not marker else "a part is damaged")
        body = data[position + 4 : position + 2 + length]
        if marker == _SIZ:
            tiles, components = _count_tiles(body), _number(body, 34, 2)
        elif marker == _COD:
            packets = _count_packets(body, components)
            stray = _STRAY_BESIDE_MARKS if body[0] & _MARKS else _STRAY
        if marker != _SOT:
            position += 2 + length
            continue
        size = _number(body, 2, 4) or _last_size(data, position)
        there.add(_number(body, 0, 2))
        _check_part(data[position : position + size], size, packets, stray)
        position += size


def _check_part(part: bytes, size: int, packets: int, stray: re.Pattern[bytes]) -> None:
    """Raise DataError where a tile-part is short, or holds what its codes never make."""
    if len(part) < size:
        raise DataError(f"its compressed data end early: {len(part)} of {size} bytes of a part")
    begin = part.find(_SOD.to_bytes(2))
    if begin < 0:
        raise DataError("a part of it has no data")
    if re.search(rb"\x00{%d}" % (_LONGEST_CODE + packets), part[begin:]):
        raise DataError("its compressed data are overwritten with zeros")
    if stray.search(part, begin + 2):
        raise DataError("its compressed data hold a marker")


def _last_size(data: bytes, position: int) -> int:
    end = data.rfind(_EOC.to_bytes(2))
    if end < position:
        raise DataError("it ends without an end mark")
    return end - position


def _count_tiles(body: bytes) -> int:
    width, height, _, _, across, down, left, top = (_number(body, 2 + 4 * i, 4) for i in range(8))
    return math.ceil((width - left) / across) * math.ceil((height - top) / down)


def _count_packets(body: bytes, components: int) -> int:
    """Return an upper bound of a tile's packets without precincts; each may be one zero byte."""
    precincts = 4096 if body[0] & 1 else 1
    return _number(body, 2, 2) * (body[5] + 1) * components * precincts


def _number(data: bytes, position: int, size: int) -> int:
    return int.from_bytes(data[position : position + size])
