"""Walks the Huffman codes of JPEG scans, so that damage shows which decoders pass over.

Only lengths, counts and places of coefficients are followed; no pixel is computed. Source: ITU-T
T.81, F.2.2 (sequential) and G.1.2, G.2 (progressive).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from spurious.errors import DataError

_END_OF_BLOCK = 1000
_NO_CODE = 100_000
"""Added to the coefficient count in place of a run, so that one comparison per block finds both."""
_BEYOND = 1 << 60
_PADDING = 8192
"""Zero bytes behind the data, more than any unit can read, so that no read needs a bound."""
_ZEROS = re.compile(rb"\x00{20,}")
"""Flat areas compress to zero bytes as well, but not to coefficients made of nothing else.

Intact textures reach 8 bytes (21 coefficients of -1 on end): 4 of 1,520 pictures of the dermoscopy
phantom do, none has more.
"""


class HuffmanTable:
    """One table, as lookups by the next 16 bits."""

    def __init__(self, counts: bytes, symbols: bytes) -> None:
        """Build the lookups from the 16 counts of code lengths and the symbols of a DHT segment.

        Raises:
            DataError: The counts are not those of a prefix code.
        """
        codes = [length for length in range(1, 17) for _ in range(counts[length - 1])]
        spans = [1 << (16 - length) for length in codes]
        if not symbols or sum(spans) > 65536 or len(symbols) != len(codes):
            raise DataError("a Huffman table is damaged")
        self._repeats = np.array([*spans, 65536 - sum(spans)])
        self._symbols = np.array([*symbols, -1], np.int64)  # -1: a code that the table lacks
        self._lengths = np.array([*codes, 0], np.int64)
        self._sizes = np.where(self._symbols < 0, 0, self._symbols & 15)

    def _by_bits(self, by_code: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return (65536,) int64: a value of each code, by the 16 bits that begin with it."""
        return np.repeat(by_code, self._repeats)

    @cached_property
    def symbol(self) -> NDArray[np.int64]:
        """(65536,) int64: the symbol, or -1 for a code that the table lacks."""
        return self._by_bits(self._symbols)

    @cached_property
    def length(self) -> NDArray[np.int64]:
        """(65536,) int64: bits of the code."""
        return self._by_bits(self._lengths)

    @cached_property
    def step(self) -> NDArray[np.int64]:
        """(65536,) int64: bits of the code and of the value behind it."""
        return self._by_bits(self._lengths + self._sizes)

    @cached_property
    def differences(self) -> memoryview:
        """Bits of every DC code with its value; beyond any file where the table lacks the code."""
        bits = self._lengths + self._sizes
        return self._by_bits(np.where(self._symbols < 0, _BEYOND, bits)).data

    @cached_property
    def coefficients(self) -> memoryview:
        """`step | advance << 5` of every AC code of a sequential scan.

        `advance` is the coefficients passed, or `_END_OF_BLOCK` or `_NO_CODE`.
        """
        run = self._symbols >> 4
        advance = np.where(self._sizes > 0, run + 1, np.where(run == 15, 16, _NO_CODE))
        advance = np.where(self._symbols == 0, _END_OF_BLOCK, advance)
        advance = np.where(self._symbols < 0, _NO_CODE, advance)
        return self._by_bits(self._lengths + self._sizes | advance << 5).data

    @property
    def zeros_are_coefficients(self) -> bool:
        """Whether zero bits alone spell coefficients."""
        return bool(self.symbol[0] & 15)


@dataclass(frozen=True)
class Part:
    """One component of a scan.

    Attributes:
        across, down: Its blocks in a unit (MCU).
        row_length: Blocks in a row of `seen`.
        dc, ac: Its tables; None where the scan needs none.
        step: The quantiser of DC.
        seen: Bit k of a block is set where its coefficient k is not zero; progressive only.
    """

    across: int
    down: int
    row_length: int
    dc: HuffmanTable | None
    ac: HuffmanTable | None
    step: int
    seen: list[int]


@dataclass(frozen=True)
class Scan:
    """One scan: its parts, band, bits of precision, and units.

    Attributes:
        parts: The components, in order.
        first, last: The band of coefficients (Ss, Se).
        refines: Whether earlier bits of the band came in other scans (Ah).
        shift: Bits left for later scans (Al).
        units_across: Units in a row.
        progressive: How blocks end and what is refined.
        brightest: The largest magnitude that a DC coefficient can have, times 1.25.
        deepest: Bits of the largest DC difference.
    """

    parts: Sequence[Part]
    first: int
    last: int
    refines: bool
    shift: int
    units_across: int
    progressive: bool
    brightest: int
    deepest: int


class _Bits:
    """The 16 bits from every bit position on, of data between markers."""

    def __init__(self, data: bytes) -> None:
        padded = np.frombuffer(data + bytes(_PADDING + 2), np.uint8).astype(np.uint32)
        triples = padded[:-2] << 16 | padded[1:-1] << 8 | padded[2:]
        ahead = np.empty((len(triples), 8), np.uint16)
        for offset in range(8):
            ahead[:, offset] = (triples >> (8 - offset)).astype(np.uint16)
        self.ahead: NDArray[np.uint16] = ahead.ravel()
        self.view = self.ahead.data


@dataclass(frozen=True)
class _Interval:
    """Units between two markers, and where their bits begin and end."""

    units: range
    start: int
    end: int


def walk_scan(scan: Scan, stuffed: Sequence[bytes], units: Sequence[range]) -> None:
    """Follow the compressed data of a scan; one entry of both sequences per restart interval.

    Raises:
        DataError: The data are not exactly those of the units; says how.
    """
    pieces = [piece.replace(b"\xff\x00", b"\xff") for piece in stuffed]
    data = b"".join(pieces)
    if not scan.refines and _ZEROS.search(data):
        tables = [part.ac for part in scan.parts if scan.last]
        if any(table is not None and table.zeros_are_coefficients for table in tables):
            raise DataError("its compressed data are overwritten with zeros")
    ends = np.cumsum([8 * len(piece) for piece in pieces]).tolist()
    intervals = [_Interval(*held) for held in zip(units, [0, *ends[:-1]], ends, strict=True)]
    bits = _Bits(data)
    if scan.first == 0:
        _walk_from_dc(scan, bits, intervals)
    else:
        for interval in intervals:
            walk = _walk_refining if scan.refines else _walk_band
            _check_end(interval, walk(scan, bits, interval))


def _check_end(interval: _Interval, position: int) -> None:
    left = interval.end - position
    if left < 0:
        raise _early(interval, interval.units.stop)
    if left >= 8:
        raise DataError(f"its compressed data have {left // 8} bytes more than its blocks")


def _early(interval: _Interval, unit: int) -> DataError:
    units = interval.units
    return DataError(
        f"its compressed data end early, after {max(0, unit - units.start - 1)} of {len(units)} "
        "units"
    )


def _walk_from_dc(scan: Scan, bits: _Bits, intervals: Sequence[_Interval]) -> None:
    """Follow a sequential scan, or one of DC alone."""
    starts: list[list[int]] = [[] for _ in scan.parts]
    blocks = [part.across * part.down for part in scan.parts]
    for interval in intervals:
        if scan.refines:  # one bit a block
            position = interval.start + sum(blocks) * len(interval.units)
        elif scan.last:
            position = _walk_sequential(scan, bits, interval, starts)
        else:
            position = _walk_dc(scan, bits, interval, starts)
        _check_end(interval, position)
    if not scan.refines:
        for part, count, begins in zip(scan.parts, blocks, starts, strict=True):
            per_interval = count * len(intervals[0].units)
            _check_brightness(scan, part, bits, np.array(begins), per_interval)


def _walk_sequential(scan: Scan, bits: _Bits, interval: _Interval, starts: list[list[int]]) -> int:
    """Return the bit position behind the last block; `starts` gets those of all blocks."""
    pattern = []
    for begins, part in zip(starts, scan.parts, strict=True):
        assert part.dc is not None
        assert part.ac is not None
        entry = (begins, part.dc.differences, part.ac.coefficients)
        pattern += [entry] * (part.across * part.down)
    ahead, position, end = bits.view, interval.start, interval.end
    for unit in interval.units:
        for begins, dc, ac in pattern:
            begins.append(position)
            position += dc[ahead[position]]
            if position > end:
                raise _no_code() if position >= _BEYOND else _early(interval, unit + 1)
            count = 1
            while count < 64:
                code = ac[ahead[position]]
                position += code & 31
                count += code >> 5
            if count != 64 and not _END_OF_BLOCK <= count < _NO_CODE:
                if position > end:  # codes are read from behind the end
                    raise _early(interval, unit + 1)
                raise _no_code() if count >= _NO_CODE else _past_block()
        if position > end:
            raise _early(interval, unit + 1)
    return position


def _walk_dc(scan: Scan, bits: _Bits, interval: _Interval, starts: list[list[int]]) -> int:
    """Return the bit position behind the last block; `starts` gets those of all blocks."""
    pattern = []
    for begins, part in zip(starts, scan.parts, strict=True):
        assert part.dc is not None
        pattern += [(begins, part.dc.differences)] * (part.across * part.down)
    ahead, position, end = bits.view, interval.start, interval.end
    for unit in interval.units:
        for begins, dc in pattern:
            begins.append(position)
            position += dc[ahead[position]]
            if position > end:
                raise _no_code() if position >= _BEYOND else _early(interval, unit + 1)
    return position


def _check_brightness(
    scan: Scan, part: Part, bits: _Bits, begins: NDArray[np.int64], per_interval: int
) -> None:
    """Raise DataError where DC coefficients, which are sums of differences, leave their range."""
    assert part.dc is not None
    codes = bits.ahead[begins]
    sizes = part.dc.symbol[codes]
    values = bits.ahead[begins + part.dc.length[codes]].astype(np.int64) >> (16 - sizes)
    negative = (sizes > 0) & (values < 1 << np.maximum(sizes - 1, 0))
    differences = np.where(negative, values - (1 << sizes) + 1, values)
    sums = np.cumsum(differences)
    before = (sums - differences)[::per_interval]  # a restart mark begins again at 0
    levels = sums - np.repeat(before, per_interval)[: len(sums)]
    brightness = (np.abs(levels << scan.shift) - 1) * part.step
    if sizes.max() > scan.deepest or brightness.max() > scan.brightest:
        raise DataError("its compressed data give a brightness that no picture has")


def _blocks(scan: Scan, units: range) -> Iterator[tuple[int, int]]:
    """Yield the units of a scan of one component with their places in `seen`."""
    for unit in units:
        row, column = divmod(unit, scan.units_across)
        yield unit, row * scan.parts[0].row_length + column


def _walk_band(scan: Scan, bits: _Bits, interval: _Interval) -> int:
    """Follow the first scan of a band of AC coefficients (T.81 G.1.2.2)."""
    part = scan.parts[0]
    assert part.ac is not None
    symbols, steps = part.ac.symbol.data, part.ac.step.data
    ahead, seen = bits.view, part.seen
    position, skip = interval.start, 0
    for unit, block in _blocks(scan, interval.units):
        if skip:
            skip -= 1
            continue
        k = scan.first
        while k <= scan.last:
            code = ahead[position]
            symbol = symbols[code]
            run, size = symbol >> 4, symbol & 15
            position += steps[code]
            if position > interval.end:
                raise _early(interval, unit + 1)
            if symbol < 0:
                raise _no_code()
            if size:
                k += run
                if k > scan.last:
                    raise _past_block()
                seen[block] |= 1 << k
                k += 1
            elif run == 15:
                k += 16
            else:
                skip = (1 << run) + (ahead[position] >> (16 - run)) - 1
                position += run
                break
    _check_skip(skip)
    return position


def _walk_refining(scan: Scan, bits: _Bits, interval: _Interval) -> int:
    """Follow a scan that adds a bit to a band of AC coefficients (T.81 G.1.2.3)."""
    part = scan.parts[0]
    assert part.ac is not None
    symbols, steps = part.ac.symbol.data, part.ac.step.data
    ahead, seen, last = bits.view, part.seen, scan.last
    position, skip, band = interval.start, 0, (2 << last) - 1
    for unit, block in _blocks(scan, interval.units):
        known, k = seen[block], scan.first
        while not skip and k <= last:
            code = ahead[position]
            symbol = symbols[code]
            run, size = symbol >> 4, symbol & 15
            position += steps[code]
            if position > interval.end:
                raise _early(interval, unit + 1)
            if symbol < 0 or size > 1:
                raise _no_code()
            if not size and run != 15:
                skip = (1 << run) + (ahead[position] >> (16 - run))
                position += run
                break
            while k <= last and (run or known >> k & 1):
                if known >> k & 1:
                    position += 1
                else:
                    run -= 1
                k += 1
            if size:
                if k > last:
                    raise _past_block()
                seen[block] |= 1 << k
            k += 1
        if skip:
            position += (known & band & -(1 << k)).bit_count()
            skip -= 1
        if position > interval.end:
            raise _early(interval, unit + 1)
    _check_skip(skip)
    return position


def _check_skip(skip: int) -> None:
    if skip:
        raise DataError(f"its compressed data skip {skip} blocks more than the scan has")


def _no_code() -> DataError:
    return DataError("its compressed data hold a code that its Huffman table lacks")


def _past_block() -> DataError:
    return DataError("its compressed data hold more than 64 coefficients of a block")
