"""Masks as packed bits, the form that shards store: unpacked a batch at a time.

Shape legend: N images, n rows of them, H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spurious.errors import DataError


def packed_bytes(height: int, width: int) -> int:
    """Return how many bytes the bits of one mask take; the last byte is padded with zeros."""
    return (height * width + 7) // 8


@dataclass(frozen=True, eq=False)
class PackedMasks:
    """Masks of N images, eight pixels to a byte: 4,400 of 512 x 512 take 144 MB, not 1.2 GB.

    Attributes:
        bits: (N, `packed_bytes`) uint8, each row `numpy.packbits` of a mask in C order; usually
            memory-mapped.
        height: H.
        width: W.

    Raises:
        DataError: bits of another dtype, or of another size than H and W ask for.
    """

    bits: NDArray[np.uint8]
    height: int
    width: int

    def __post_init__(self) -> None:
        expected = packed_bytes(self.height, self.width)
        if self.bits.dtype != np.uint8 or self.bits.shape[1:] != (expected,):
            raise DataError(
                f"packed masks are {self.bits.shape} {self.bits.dtype}; expected (N, {expected}) "
                f"uint8 for masks of {self.height} x {self.width}"
            )

    @staticmethod
    def pack(masks: Iterable[NDArray[np.bool_]]) -> PackedMasks:
        """Pack masks of one shape, each (H, W) bool; at least one."""
        rows, shape = [], (0, 0)
        for mask in masks:
            shape = (mask.shape[0], mask.shape[1])
            rows.append(np.packbits(mask))
        return PackedMasks(np.stack(rows), *shape)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, H, W)."""
        return len(self.bits), self.height, self.width

    def __len__(self) -> int:
        return len(self.bits)

    def __getitem__(self, rows: int | slice | NDArray[np.integer]) -> NDArray[np.bool_]:
        """Unpack some rows: (n, H, W) bool, or (H, W) of one row; a copy, which may be changed."""
        bits = np.asarray(self.bits[rows])
        pixels = np.unpackbits(bits, axis=-1, count=self.height * self.width)
        return pixels.view(np.bool_).reshape(*bits.shape[:-1], self.height, self.width)
