"""Some rows of a dataset with what is trained on or scored against, read in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from spurious.data.batches import StoredBatch, gather_rows
from spurious.data.buffers import Buffers
from spurious.data.inputs import PackedTargets
from spurious.data.read_ahead import read_ahead

_SMALL: Final = 2**18
"""Bytes of a batch below which handing it from a thread takes longer than reading it."""


@dataclass(frozen=True)
class StoredImages:
    """Images as they are stored, with labels or packed targets.

    Attributes:
        images: (N, H, W, C), the whole dataset's, usually memory-mapped.
        rows: (n,) int64.
        labels: (n,) int64, of the rows.
        targets: Pixel targets of the rows, or their regions; None where there are only labels.
        normalise: `unit` or `imagenet`.
        pinned: Batches in page-locked memory, for a GPU.
        buffers: Memory of batches.
        steered: Whether `targets` are regions, beside labels as targets.
    """

    images: NDArray[Any]
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    targets: PackedTargets | None
    normalise: str
    pinned: bool = False
    buffers: Buffers = field(default_factory=Buffers, compare=False)
    steered: bool = False

    def read(self, order: Sequence[NDArray[np.int64]]) -> Iterator[StoredBatch]:
        """Yield a batch for each array of positions; the next ones are read while one is used."""
        largest = max((len(positions) for positions in order), default=0)
        row_bytes = int(np.prod(self.images.shape[1:])) * self.images.dtype.itemsize
        return read_ahead(order, self._gather, threaded=largest * row_bytes >= _SMALL)

    def read_in_order(self, batch_size: int) -> Iterator[StoredBatch]:
        """Yield every image once, in order."""
        starts = range(0, len(self.rows), batch_size)
        return self.read(
            [np.arange(start, min(start + batch_size, len(self.rows))) for start in starts]
        )

    def _gather(self, positions: NDArray[np.int64]) -> StoredBatch:
        pixels, labels = None, self.labels[positions]
        if self.targets is not None:
            pixels = torch.from_numpy(self.targets[positions])
            pixels = pixels.pin_memory() if self.pinned else pixels
            labels = labels if self.steered else self.targets.classes[positions]
        return StoredBatch(
            gather_rows(self.images, self.rows[positions], self.buffers, pinned=self.pinned),
            pixels,
            torch.from_numpy(labels),
            torch.from_numpy(positions),
            self.normalise,
            steered=self.steered,
        )
