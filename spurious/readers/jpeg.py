"""Checks that a JPEG file is whole, which decoders pass over.

libjpeg fills what is missing with grey and reports it on a channel that neither Pillow nor pydicom
reads. So the file is walked here, after it was decoded: markers, tables, and every code of every
scan up to the end mark. Source: ITU-T T.81, annexes B, F and G.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from spurious.errors import DataError
from spurious.readers.jpeg_kernels import unstuff
from spurious.readers.jpeg_scan import PADDING, HuffmanTable, Part, Scan, huffman_table, walk_scan

_SOI, _EOI, _SOS, _DQT, _DHT, _DRI, _DNL = 0xD8, 0xD9, 0xDA, 0xDB, 0xC4, 0xDD, 0xDC
_RESTARTS = range(0xD0, 0xD8)
_SEQUENTIAL, _PROGRESSIVE = (0xC0, 0xC1), 0xC2
_FRAMES = {*range(0xC0, 0xD0)} - {_DHT, 0xC8, 0xCC}
_MARKER = re.compile(rb"\xff+[^\x00\xff]", re.DOTALL)


@dataclass
class _Component:
    """One component of the frame; `missing` has the bits that each coefficient still lacks."""

    across: int
    down: int
    quantiser: int
    blocks: tuple[int, int] = (0, 0)
    row_length: int = 0
    seen: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))
    missing: list[int | None] = field(default_factory=lambda: [None] * 64)


@dataclass
class _Frame:
    """What SOF says; `units` are those of a scan of all components, down and across."""

    progressive: bool
    precision: int
    units: tuple[int, int]
    components: dict[int, _Component]


def check_jpeg(data: bytes) -> int:
    """Walk a baseline, extended or progressive JPEG; return the position behind its end mark.

    Bytes behind the end mark are not looked at.

    Raises:
        DataError: Anything that is not as the standard has it: a segment, a table or a code that
            is damaged, data that end early or go on, a missing component or end mark.
    """
    try:
        return _Walk(data).run()
    except (IndexError, ValueError, ZeroDivisionError) as error:
        raise DataError("a segment of its header is damaged") from error


class _Walk:
    """One walk through a file; what segments define stays until the next defines it again."""

    def __init__(self, data: bytes) -> None:
        self.data, self.bytes = data, np.frombuffer(data, np.uint8)
        self.frame: _Frame | None = None
        self.quantisers: dict[int, int] = {}
        self.tables: dict[int, HuffmanTable] = {}
        self.restart = 0

    def run(self) -> int:
        """Follow every segment; see `check_jpeg`."""
        if self.data[:2] != b"\xff\xd8":
            raise DataError("it does not begin with the mark of a JPEG file")
        position = 2
        while True:
            marker, position = self._marker(position)
            if marker == _EOI:
                self._check_complete()
                return position
            if marker == 0x01:
                continue
            if marker == _SOI or marker in _RESTARTS:
                raise DataError(f"a marker 0xFF{marker:02X} stands between its segments")
            length = int.from_bytes(self.data[position : position + 2])
            body = self.data[position + 2 : position + length]
            if length < 2 or len(body) != length - 2:
                raise DataError("it ends inside a segment of its header")
            position += length
            if marker == _SOS:
                position = self._scan(body, position)
            else:
                self._segment(marker, body)

    def _marker(self, position: int) -> tuple[int, int]:
        match = _MARKER.match(self.data, position)
        if match is None:
            if position >= len(self.data):
                raise DataError("it ends without an end mark")
            raise DataError(f"byte {position} is not a marker")
        return self.data[match.end() - 1], match.end()

    def _segment(self, marker: int, body: bytes) -> None:
        if marker == _DQT:
            self._read_quantisers(body)
        elif marker == _DHT:
            self._read_tables(body)
        elif marker == _DRI:
            self.restart = int.from_bytes(body[:2])
        elif marker in (*_SEQUENTIAL, _PROGRESSIVE):
            self._read_frame(marker, body)
        elif marker in _FRAMES or marker == _DNL:
            raise DataError(f"it is coded in a way that is not read (marker 0xFF{marker:02X})")

    def _read_quantisers(self, body: bytes) -> None:
        while body:
            size = 1 + (body[0] >> 4)
            table = body[1 : 1 + 64 * size]
            steps = [int.from_bytes(table[i : i + size]) for i in range(0, len(table), size)]
            if len(table) != 64 * size or 0 in steps:
                raise DataError("a quantisation table is damaged")
            self.quantisers[body[0] & 15] = steps[0]
            body = body[1 + 64 * size :]

    def _read_tables(self, body: bytes) -> None:
        while body:
            counts = body[1:17]
            end = 17 + sum(counts)
            self.tables[body[0]] = huffman_table(counts, body[17:end])
            body = body[end:]

    def _read_frame(self, marker: int, body: bytes) -> None:
        height, width = int.from_bytes(body[1:3]), int.from_bytes(body[3:5])
        if self.frame is not None or not height or not width or len(body) != 6 + 3 * body[5]:
            raise DataError("its frame header is damaged")
        components = {
            body[i]: _Component(body[i + 1] >> 4, body[i + 1] & 15, body[i + 2])
            for i in range(6, len(body), 3)
        }
        most_across = max(part.across for part in components.values())
        most_down = max(part.down for part in components.values())
        units = (math.ceil(height / (8 * most_down)), math.ceil(width / (8 * most_across)))
        progressive = marker == _PROGRESSIVE
        for part in components.values():
            part.blocks = (
                math.ceil(math.ceil(height * part.down / most_down) / 8),
                math.ceil(math.ceil(width * part.across / most_across) / 8),
            )
            part.row_length = units[1] * part.across
            blocks = units[0] * part.down * part.row_length if progressive else 0
            part.seen = np.zeros(blocks, np.uint64)
        self.frame = _Frame(progressive, body[0], units, components)

    def _scan(self, body: bytes, position: int) -> int:
        """Follow one scan; return the position of the marker behind it."""
        if self.frame is None or len(body) != 4 + 2 * body[0]:
            raise DataError("its scan header is damaged")
        scan, units = self._prepare(body, self.frame)
        step = self.restart or units
        intervals = [range(units)[first : first + step] for first in range(0, units, step)]
        bits, ends = np.empty(len(self.data) - position + PADDING, np.uint8), [0]
        for number in range(len(intervals)):
            if number:
                marker, position = self._marker(position)
                if marker != _RESTARTS[(number - 1) % 8]:
                    raise DataError(f"restart mark {number} of a scan is missing")
            position, filled = unstuff(self.bytes, position, bits, ends[-1])
            ends.append(filled)
        bits[ends[-1] : ends[-1] + PADDING] = 0
        walk_scan(scan, bits[: ends[-1] + PADDING], ends[1:], intervals)
        return position

    def _prepare(self, body: bytes, frame: _Frame) -> tuple[Scan, int]:
        """Return the scan of a header, and how many units it has."""
        first, last, high, low = body[-3], body[-2], body[-1] >> 4, body[-1] & 15
        if not frame.progressive:
            first, last, high, low = 0, 63, 0, 0
        chosen = [(frame.components.get(body[i]), body[i + 1]) for i in range(1, len(body) - 3, 2)]
        held = [(component, tables) for component, tables in chosen if component is not None]
        alone = len(chosen) == 1
        if len(held) != len(chosen) or not first <= last <= 63 or (first and not alone):
            raise DataError("its scan header is damaged")
        if frame.progressive and not first and last:
            raise DataError("its scan header is damaged")
        parts = []
        for component, tables in held:
            self._count_bits(component, range(first, last + 1), high, low)
            dc = None if first or high else self._table(tables >> 4)
            ac = self._table(0x10 | tables & 15) if last else None
            parts.append(
                Part(
                    across=1 if alone else component.across,
                    down=1 if alone else component.down,
                    row_length=component.row_length,
                    dc=dc,
                    ac=ac,
                    step=self.quantisers.get(component.quantiser, 1),
                    seen=component.seen,
                )
            )
        down, across = held[0][0].blocks if alone else frame.units
        scan = Scan(
            parts, first, last, bool(high), low, across, frame.progressive,
            brightest=5 << frame.precision, deepest=frame.precision + 3,
        )  # fmt: skip
        return scan, down * across

    def _table(self, name: int) -> HuffmanTable:
        if name not in self.tables:
            raise DataError("a scan uses a Huffman table that the file does not define")
        return self.tables[name]

    def _count_bits(self, component: _Component, band: range, high: int, low: int) -> None:
        for k in band:
            if component.missing[k] != (high or None) or (high and low != high - 1):
                raise DataError("its scans do not follow on each other")
            component.missing[k] = low

    def _check_complete(self) -> None:
        components = self.frame.components.values() if self.frame else ()
        lacking = [part for part in components if any(part.missing)]
        absent = [part for part in components if None in part.missing]
        if not components or lacking or absent:
            raise DataError("its end mark comes before all of its scans")
