"""The loops over Huffman codes of `jpeg_scan`, compiled: in Python they cost ten decodings.

A loop returns what it met first: a status, a unit (of an interval, from 0) and a bit position, or
how many blocks are left to skip. Bits are read from bytes with padding behind them, so that no read
needs a bound. Source: ITU-T T.81, F.2.2 (sequential) and G.1.2, G.2 (progressive).
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from spurious.readers.compile_loop import compile_loop

WHOLE, EARLY, NO_CODE, PAST_BLOCK = range(4)
"""Statuses: all units are there; data end early; a code is in no table; a block overflows."""

END_OF_BLOCK = 1000
MISSING_CODE = 100_000
"""Added to the coefficient count in place of a run, so that one comparison per block finds both."""
SEVERAL_BITS, SHORT_BITS = 13, 9
"""Bits by which several AC codes at once, and short DC codes, are looked up.

Their tables stay in the first cache of a core: that is twice as fast as looking up 16 bits.
"""

Tables = tuple[NDArray[np.int32], NDArray[np.int16], NDArray[np.int32], NDArray[np.uint16]]
"""A row for each component of `HuffmanTable.symbols_and_bits` and `short`, for DC; and of
`coefficients` and `several`, for AC, which have no row for DC alone."""


class Walk(Protocol):
    """What `walk_sequential` takes and returns.

    It holds the next bits from the top of 64 on, how many of them there are, and the byte behind
    them: one code with its value has 31 at most. Calls that return several numbers would slow it.
    """

    def __call__(
        self,
        data: NDArray[np.uint8],
        span: tuple[int, int, int],
        pattern: NDArray[np.int64],
        tables: Tables,
        limits: tuple[NDArray[np.int64], int],
    ) -> tuple[int, int, int, bool]:
        """Follow one interval.

        Args:
            data: (n,) uint8, padded.
            span: The first bit, the bit behind the last, and how many units are expected.
            pattern: (blocks of a unit,) the component of each block.
            tables: See `Tables`.
            limits: For each component the largest magnitude of a sum of DC differences; the most
                bits of a difference.

        Returns:
            Status, unit, the bit behind the last block, and whether DC left its range.
        """


@compile_loop
def _peek(data: NDArray[np.uint8], position: int) -> int:
    """Return the 24 bits from a bit position on."""
    byte = np.uint64(position) >> np.uint64(3)  # signed places would be checked for their sign
    word = (
        np.uint32(data[byte]) << np.uint32(24)
        | np.uint32(data[byte + np.uint64(1)]) << np.uint32(16)
        | np.uint32(data[byte + np.uint64(2)]) << np.uint32(8)
        | np.uint32(data[byte + np.uint64(3)])
    )
    return int((np.uint32(word) << np.uint32(position & 7)) & np.uint32(0xFFFFFFFF)) >> 8


@compile_loop
def _next_word(data: NDArray[np.uint8], byte: np.uint64) -> np.uint64:
    """Return the 32 bits from a byte on."""
    return (
        np.uint64(data[byte]) << np.uint64(24)
        | np.uint64(data[byte + np.uint64(1)]) << np.uint64(16)
        | np.uint64(data[byte + np.uint64(2)]) << np.uint64(8)
        | np.uint64(data[byte + np.uint64(3)])
    )


@compile_loop
def _behind(byte: np.uint64, held: int) -> int:
    """Return the position of the next bit."""
    return int(np.int64(byte) << 3) - held


@compile_loop
def unstuff(
    data: NDArray[np.uint8], position: int, unstuffed: NDArray[np.uint8], filled: int
) -> tuple[int, int]:
    """Copy compressed data up to the next marker, less the zeros that stand behind data of 0xFF.

    Args:
        data: (n,) uint8 of a file.
        position: The first byte.
        unstuffed: (m,) uint8, copied to.
        filled: Its first byte that is free.

    Returns:
        Where the next marker's first 0xFF is, or n, and the first byte that is free now.
    """
    size, at, free = np.uint64(len(data)), np.uint64(position), np.uint64(filled)
    one = np.uint64(1)
    while at < size:
        byte = data[at]
        if byte != 0xFF:
            unstuffed[free] = byte
            free += one
            at += one
            continue
        after = at + one
        while after < size and data[after] == 0xFF:
            after += one
        if after < size and data[after] != 0:
            break
        while at < after:
            unstuffed[free] = byte
            free += one
            at += one
        at += one  # the zero
    return int(min(at, size)), int(free)


@compile_loop
def look_up_several(coefficients: NDArray[np.int32]) -> NDArray[np.uint16]:
    """Return (2**SEVERAL_BITS,) uint16: all codes that fit into the bits with their values.

    An entry is `bits | ended << 5 | advance << 6`: `ended` where the last one ends the block. It is
    0 where not even one code fits.

    Args:
        coefficients: (65536,) the codes one by one, see `HuffmanTable.coefficients`.
    """
    several = np.zeros(1 << SEVERAL_BITS, np.uint16)
    for window in range(1 << SEVERAL_BITS):
        bits, passed, ended = 0, 0, 0
        while not ended:
            code = coefficients[(window << (16 - SEVERAL_BITS) << bits) & 0xFFFF]
            advance = code >> 5
            if bits + (code & 31) > SEVERAL_BITS or advance >= MISSING_CODE:
                break
            bits += code & 31
            if advance == END_OF_BLOCK:
                ended = 1
            else:
                passed += advance
        several[window] = bits | ended << 5 | passed << 6
    return several


@compile_loop
def _difference(bits: np.uint64, size: int) -> int:
    """Return the DC difference of `size` bits (T.81 F.2.2.1): below 0 without its first bit."""
    value = np.int64(bits >> np.uint64(64 - size))
    return int(value - ((value >> (size - 1)) ^ 1) * ((1 << size) - 1))


@compile_loop
def walk_sequential(
    data: NDArray[np.uint8],
    span: tuple[int, int, int],
    pattern: NDArray[np.int64],
    tables: Tables,
    limits: tuple[NDArray[np.int64], int],
) -> tuple[int, int, int, bool]:
    """Follow one interval of a sequential scan, or of the first of DC alone; see `Walk`."""
    (start, end, units), (differences, short, coefficients, several) = span, tables
    (brightest, deepest), too_bright, status = limits, False, WHOLE
    levels, with_ac = np.zeros(len(brightest), np.int64), len(several) > 0
    bits, held, byte = np.uint64(0), 0, np.uint64(start >> 3)
    for unit in range(units):
        for block in range(len(pattern)):
            part = np.uint64(pattern[block])
            if held < 32:
                bits |= _next_word(data, byte) << np.uint64(32 - held)
                held, byte = held + 32, byte + np.uint64(4)
            code = int(short[part, bits >> np.uint64(64 - SHORT_BITS)])
            if code < 0:
                code = int(differences[part, bits >> np.uint64(48)])
                if code < 0:
                    return NO_CODE, unit, _behind(byte, held), too_bright
            bits, held, size = bits << np.uint64(code & 31), held - (code & 31), code >> 5
            if 0 < size <= deepest:
                levels[part] += _difference(bits, size)
            too_bright |= size > deepest or abs(levels[part]) > brightest[part]
            bits, held = bits << np.uint64(size & 15), held - (size & 15)
            count = 1 if with_ac else 64
            while count < 64:
                if held < 32:
                    bits |= _next_word(data, byte) << np.uint64(32 - held)
                    held, byte = held + 32, byte + np.uint64(4)
                codes = np.int64(several[part, bits >> np.uint64(64 - SEVERAL_BITS)])
                if codes and count + (codes >> 6) < 64:
                    bits, held = bits << np.uint64(codes & 31), held - int(codes & 31)
                    count += int(codes >> 6)
                    if codes & 32:
                        break
                    continue
                single = int(coefficients[part, bits >> np.uint64(48)])
                bits, held = bits << np.uint64(single & 31), held - (single & 31)
                count += single >> 5
            if _behind(byte, held) > end:  # codes were read from behind the end
                return EARLY, unit, _behind(byte, held), too_bright
            if count > 64 and not END_OF_BLOCK <= count < MISSING_CODE:
                status = NO_CODE if count >= MISSING_CODE else PAST_BLOCK
                return status, unit, _behind(byte, held), too_bright
    return status, units, _behind(byte, held), too_bright


@compile_loop
def walk_band(
    data: NDArray[np.uint8],
    span: tuple[int, int],
    units: tuple[int, int],
    places: tuple[int, int],
    band: tuple[int, int],
    symbols: NDArray[np.int32],
    seen: NDArray[np.uint64],
) -> tuple[int, int, int, int]:
    """Follow one interval of the first scan of a band of AC coefficients (T.81 G.1.2.2).

    Args:
        data: (n,) uint8, padded.
        span: The first bit, and the bit behind the last.
        units, band: The first unit and the one behind the last; first and last coefficient.
        places: Units in a row, and blocks in a row of `seen`.
        symbols: (65536,) see `HuffmanTable.symbols_and_bits`.
        seen: Bit k of a block is set where its coefficient k is not zero; added to.

    Returns: status, unit, the bit behind the last block, and how many blocks are left to skip.
    """
    (position, end), (first, last), skip = span, band, 0
    for unit in range(units[0], units[1]):
        if skip:
            skip -= 1
            continue
        block = unit // places[0] * places[1] + unit % places[0]
        k = first
        while k <= last:
            code = int(symbols[_peek(data, position) >> 8])
            if code < 0:
                return (EARLY if position > end else NO_CODE), unit - units[0], position, 0
            symbol = code >> 5
            run, size = symbol >> 4, symbol & 15
            position += (code & 31) + size
            if position > end:
                return EARLY, unit - units[0], position, 0
            if size:
                k += run
                if k > last:
                    return PAST_BLOCK, unit - units[0], position, 0
                seen[block] |= np.uint64(1) << np.uint64(k)
                k += 1
            elif run == 15:
                k += 16
            else:
                skip = (1 << run) + ((_peek(data, position) >> 8) >> (16 - run)) - 1
                position += run
                break
    return WHOLE, units[1] - units[0], position, skip


@compile_loop
def walk_refining(
    data: NDArray[np.uint8],
    span: tuple[int, int],
    units: tuple[int, int],
    places: tuple[int, int],
    band: tuple[int, int],
    symbols: NDArray[np.int32],
    seen: NDArray[np.uint64],
) -> tuple[int, int, int, int]:
    """Follow one interval of a scan that adds a bit to a band (T.81 G.1.2.3); see `walk_band`."""
    (position, end), (first, last), skip = span, band, 0
    one = np.uint64(1)
    for unit in range(units[0], units[1]):
        block = unit // places[0] * places[1] + unit % places[0]
        known, k = seen[block], first
        while skip == 0 and k <= last:
            code = int(symbols[_peek(data, position) >> 8])
            if code < 0:
                return (EARLY if position > end else NO_CODE), unit - units[0], position, 0
            symbol = code >> 5
            run, size = symbol >> 4, symbol & 15
            position += (code & 31) + size
            if position > end:
                return EARLY, unit - units[0], position, 0
            if size > 1:
                return NO_CODE, unit - units[0], position, 0
            if size == 0 and run != 15:
                skip = (1 << run) + ((_peek(data, position) >> 8) >> (16 - run))
                position += run
                break
            while k <= last and (run > 0 or (known >> np.uint64(k)) & one):
                if (known >> np.uint64(k)) & one:
                    position += 1
                else:
                    run -= 1
                k += 1
            if size:
                if k > last:
                    return PAST_BLOCK, unit - units[0], position, 0
                seen[block] |= one << np.uint64(k)
            k += 1
        if skip:
            for bit in range(k, last + 1):
                position += int((known >> np.uint64(bit)) & one)
            skip -= 1
        if position > end:
            return EARLY, unit - units[0], position, 0
    return WHOLE, units[1] - units[0], position, skip
