"""Walks the Huffman codes of JPEG scans, so that damage shows which decoders pass over.

Only lengths, counts and places of coefficients are followed; no pixel is computed. Source: ITU-T
T.81, F.2.2 (sequential) and G.1.2, G.2 (progressive). The loops are in `jpeg_kernels`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spurious.errors import DataError
from spurious.readers import jpeg_kernels as kernels

PADDING = 8192
"""Zero bytes behind the data, more than any unit can read, so that no read needs a bound."""
_ZEROS = bytes(20)
"""Flat areas compress to zero bytes as well, but not to coefficients made of nothing else.

Intact textures reach 8 bytes (21 coefficients of -1 on end): 4 of 1,520 pictures of the dermoscopy
phantom do, none has more.
"""

_BEYOND = 1 << 60
"""More than any sum of coefficients; a damaged header can state a precision of 136 bits."""


class HuffmanTable:
    """One table, as lookups by the next 16 bits; see `huffman_table`."""

    def __init__(self, counts: bytes, symbols: bytes) -> None:
        codes = [length for length in range(1, 17) for _ in range(counts[length - 1])]
        spans = [1 << (16 - length) for length in codes]
        if not symbols or sum(spans) > 65536 or len(symbols) != len(codes):
            raise DataError("a Huffman table is damaged")
        self._repeats = np.array([*spans, 65536 - sum(spans)])
        self._symbols = np.array([*symbols, -1], np.int64)  # -1: a code that the table lacks
        self._lengths = np.array([*codes, 0], np.int64)
        self._sizes = np.where(self._symbols < 0, 0, self._symbols & 15)

    def _by_bits(self, by_code: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return (65536,) int32: a value of each code, by the 16 bits that begin with it."""
        return np.repeat(by_code.astype(np.int32), self._repeats)

    @cached_property
    def symbols_and_bits(self) -> NDArray[np.int32]:
        """(65536,) int32: `bits of the code | symbol << 5`, or -1 for a code that it lacks."""
        values = self._lengths | self._symbols << 5
        return self._by_bits(np.where(self._symbols < 0, -1, values))

    @cached_property
    def coefficients(self) -> NDArray[np.int32]:
        """(65536,) int32: `step | advance << 5` of every AC code of a sequential scan.

        `step` is the bits of the code and the value behind it; `advance` is the coefficients
        passed, `END_OF_BLOCK` or `MISSING_CODE`.
        """
        run = self._symbols >> 4
        missing = kernels.MISSING_CODE
        advance = np.where(self._sizes > 0, run + 1, np.where(run == 15, 16, missing))
        advance = np.where(self._symbols == 0, kernels.END_OF_BLOCK, advance)
        advance = np.where(self._symbols < 0, missing, advance)
        return self._by_bits(self._lengths + self._sizes | advance << 5)

    @cached_property
    def several(self) -> NDArray[np.uint16]:
        """The same for several codes at once, see `jpeg_kernels.look_up_several`."""
        return kernels.look_up_several(self.coefficients)

    @cached_property
    def short(self) -> NDArray[np.int16]:
        """(2**SHORT_BITS,) int16: `symbols_and_bits` of the codes that fit, -1 for others."""
        codes = self.symbols_and_bits[:: 1 << (16 - kernels.SHORT_BITS)]
        return np.where((codes & 31) <= kernels.SHORT_BITS, codes, -1).astype(np.int16)

    @property
    def zeros_are_coefficients(self) -> bool:
        """Whether zero bits alone spell coefficients."""
        return bool(self._symbols[0] & 15)


@lru_cache(maxsize=64)
def huffman_table(counts: bytes, symbols: bytes) -> HuffmanTable:
    """Build the lookups from the 16 counts of code lengths and the symbols of a DHT segment.

    Most files have the tables of the standard, which are kept.

    Raises:
        DataError: The counts are not those of a prefix code.
    """
    return HuffmanTable(counts, symbols)


@dataclass(frozen=True)
class Part:
    """One component of a scan.

    Attributes:
        across, down: Its blocks in a unit (MCU).
        row_length: Blocks in a row of `seen`.
        dc, ac: Its tables; None where the scan needs none.
        step: The quantiser of DC.
        seen: (blocks,) uint64; bit k of a block is set where its coefficient k is not zero; empty
            where the file is not progressive.
    """

    across: int
    down: int
    row_length: int
    dc: HuffmanTable | None
    ac: HuffmanTable | None
    step: int
    seen: NDArray[np.uint64]


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


@dataclass(frozen=True)
class _Interval:
    """Units between two markers, and where their bits begin and end."""

    units: range
    start: int
    end: int


def walk_scan(
    scan: Scan, bits: NDArray[np.uint8], ends: Sequence[int], units: Sequence[range]
) -> None:
    """Follow the compressed data of a scan.

    Args:
        scan: What its header says.
        bits: (n,) uint8, the data of all restart intervals without stuffed zeros, then `PADDING`
            zeros.
        ends: The byte behind each interval's data.
        units: Each interval's units.

    Raises:
        DataError: The data are not exactly those of the units; says how.
    """
    if not scan.refines and bits[: ends[-1]].tobytes().find(_ZEROS) >= 0:
        tables = [part.ac for part in scan.parts if scan.last]
        if any(table is not None and table.zeros_are_coefficients for table in tables):
            raise DataError("its compressed data are overwritten with zeros")
    bounds = [8 * end for end in (0, *ends)]
    intervals = [_Interval(*held) for held in zip(units, bounds[:-1], bounds[1:], strict=True)]
    if scan.first:
        _walk_band(scan, bits, intervals)
    elif scan.refines:  # one bit a block
        blocks = sum(part.across * part.down for part in scan.parts)
        for interval in intervals:
            _check_end(interval, interval.start + blocks * len(interval.units))
    else:
        _walk_from_dc(scan, bits, intervals)


def _check_end(interval: _Interval, position: int) -> None:
    left = interval.end - position
    if left < 0:
        raise _early(interval, max(0, len(interval.units) - 1))
    if left >= 8:
        raise DataError(f"its compressed data have {left // 8} bytes more than its blocks")


def _walk_from_dc(scan: Scan, bits: NDArray[np.uint8], intervals: Sequence[_Interval]) -> None:
    """Follow a sequential scan, or the first of DC alone.

    DC coefficients are sums of differences, which damage soon leads out of their range.
    """
    blocks = [part.across * part.down for part in scan.parts]
    pattern = np.repeat(np.arange(len(blocks)), blocks)
    tables = _stack_tables(
        tuple(part.dc for part in scan.parts),
        tuple(part.ac for part in scan.parts) if scan.last else (),
    )
    # the largest level with ((level << shift) - 1) * step <= brightest
    limits = [(scan.brightest // part.step + 1) >> scan.shift for part in scan.parts]
    brightest = np.array([min(limit, _BEYOND) for limit in limits], np.int64)
    is_too_bright = False
    for interval in intervals:
        status, unit, position, beyond = kernels.walk_sequential(
            bits, (interval.start, interval.end, len(interval.units)), pattern, tables,
            (brightest, min(scan.deepest, 16)),
        )  # fmt: skip
        _check_status(interval, status, unit)
        _check_end(interval, position)
        is_too_bright |= beyond
    if is_too_bright:
        raise DataError("its compressed data give a brightness that no picture has")


@lru_cache(maxsize=16)
def _stack_tables(
    dc: tuple[HuffmanTable | None, ...], ac: tuple[HuffmanTable | None, ...]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return the lookups of a scan's components, one row each, as the loops take them."""
    of_dc = [table for table in dc if table is not None]
    of_ac = [table for table in ac if table is not None]
    return (
        np.stack([table.symbols_and_bits for table in of_dc]),
        np.stack([table.short for table in of_dc]),
        _stack([table.coefficients for table in of_ac], np.int32),
        _stack([table.several for table in of_ac], np.uint16),
    )


def _stack(lookups: Sequence[NDArray[Any]], dtype: type[np.integer[Any]]) -> NDArray[Any]:
    return np.stack(lookups) if lookups else np.empty((0, 0), dtype)


def _walk_band(scan: Scan, bits: NDArray[np.uint8], intervals: Sequence[_Interval]) -> None:
    """Follow a scan of AC coefficients of one component, the first or one that refines."""
    part = scan.parts[0]
    assert part.ac is not None
    walk = kernels.walk_refining if scan.refines else kernels.walk_band
    for interval in intervals:
        status, unit, position, skip = walk(
            bits, (interval.start, interval.end), (interval.units.start, interval.units.stop),
            (scan.units_across, part.row_length), (scan.first, scan.last),
            part.ac.symbols_and_bits, part.seen,
        )  # fmt: skip
        _check_status(interval, status, unit)
        if skip:
            raise DataError(f"its compressed data skip {skip} blocks more than the scan has")
        _check_end(interval, position)


def _check_status(interval: _Interval, status: int, unit: int) -> None:
    """Raise DataError for what a loop met at a unit of an interval."""
    if status == kernels.EARLY:
        raise _early(interval, unit)
    if status == kernels.NO_CODE:
        raise DataError("its compressed data hold a code that its Huffman table lacks")
    if status == kernels.PAST_BLOCK:
        raise DataError("its compressed data hold more than 64 coefficients of a block")


def _early(interval: _Interval, whole: int) -> DataError:
    return DataError(f"its compressed data end early, after {whole} of {len(interval.units)} units")
