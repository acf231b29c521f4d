"""Batches: as they are stored, one byte a pixel value, and as a model takes them.

Shape legend: B batch, H height, W width, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray

from spurious.data.buffers import Buffers
from spurious.data.inputs import normalise_on


@dataclass(frozen=True)
class Batch:
    """Images of one step.

    Attributes:
        x: (B, C, H, W) float32.
        targets: (B,) int64 labels or (B, H, W) int64 pixels.
        positions: (B,) int64, where the images stand in their `TrainingSet`; on the CPU.
        rest: As many images of the rest of the training split, for methods that use them.
        second: (B, C, H, W) float32, the same images augmented by other draws, for methods that
            compare two views.
        regions: (B, H, W) bool, where a method that steers may look; all of an image without a
            region. None for other methods.
    """

    x: torch.Tensor
    targets: torch.Tensor
    positions: torch.Tensor
    rest: Batch | None = None
    second: torch.Tensor | None = None
    regions: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.x)

    def to(self, device: torch.device, memory_format: torch.memory_format) -> Batch:
        """Return images and targets on a device, images in a memory format."""
        x = self.x.to(device, memory_format=memory_format, non_blocking=True)
        targets = self.targets.to(device, non_blocking=True)
        regions = None if self.regions is None else self.regions.to(device, non_blocking=True)
        rest = None if self.rest is None else self.rest.to(device, memory_format)
        second = self.second
        if second is not None:
            second = second.to(device, memory_format=memory_format, non_blocking=True)
        return Batch(x, targets, self.positions, rest, second, regions)


@dataclass(frozen=True)
class StoredBatch:
    """Images of one step as the dataset stores them; converted where the model is.

    A GPU is sent a quarter of the bytes, and nothing is converted before it is needed.

    Attributes:
        images: (B, H, W, C) in the dataset's dtype, or augmented float32; pinned for a GPU.
        pixels: (B, H, W) bool targets, or regions that steer; None where there are only labels.
        labels: (B,) int64: labels, or the classes of the pixels.
        positions: (B,) int64, where the images stand in their `TrainingSet`.
        normalise: `unit` or `imagenet`.
        rest: As in `Batch`.
        second: The same images augmented by other draws, converted where the model is, too.
        scaled: Whether images are floats that were scaled from integers to [0, 1].
        steered: Whether labels are the targets, and `pixels` regions: empty ones where there are
            none.
    """

    images: torch.Tensor
    pixels: torch.Tensor | None
    labels: torch.Tensor
    positions: torch.Tensor
    normalise: str
    rest: StoredBatch | None = None
    second: StoredBatch | None = None
    scaled: bool = False
    steered: bool = False

    def __len__(self) -> int:
        return len(self.images)

    @property
    def x(self) -> torch.Tensor:
        """(B, C, H, W) float32 on the CPU."""
        return normalise_on(self.images, self.normalise, scaled=self.scaled)

    @property
    def targets(self) -> torch.Tensor:
        """(B,) int64 labels or (B, H, W) int64 pixels, on the CPU."""
        return self.labels if self.steered else _targets_of(self.pixels, self.labels)

    @property
    def regions(self) -> torch.Tensor | None:
        """(B, H, W) bool as of `Batch`, on the CPU."""
        return _fill_empty(self.pixels) if self.steered else None

    def to(self, device: torch.device, memory_format: torch.memory_format) -> Batch:
        """Return images and targets converted on a device, images in a memory format."""
        stored = self.images.to(device, non_blocking=True)
        x = normalise_on(stored, self.normalise, scaled=self.scaled)
        x = x.to(memory_format=memory_format)
        pixels = None if self.pixels is None else self.pixels.to(device, non_blocking=True)
        labels, regions = self.labels.to(device, non_blocking=True), None
        if self.steered:
            pixels, regions = None, _fill_empty(pixels)
        targets = _targets_of(pixels, labels)
        rest = None if self.rest is None else self.rest.to(device, memory_format)
        second = None if self.second is None else self.second.to(device, memory_format).x
        return Batch(x, targets, self.positions, rest, second, regions)


def _fill_empty(regions: torch.Tensor | None) -> torch.Tensor | None:
    """Let a method look everywhere where no region is drawn, or none is left of it."""
    if regions is None:
        return None
    return regions | ~regions.flatten(1).any(dim=1)[:, None, None]


def _targets_of(pixels: torch.Tensor | None, labels: torch.Tensor) -> torch.Tensor:
    return labels if pixels is None else pixels.long() * labels[:, None, None]


def empty_batch(
    shape: tuple[int, ...], dtype: DTypeLike, buffers: Buffers, *, pinned: bool = False
) -> torch.Tensor:
    """Return a tensor of any content to write a batch into.

    Args:
        shape: Of the batch.
        dtype: Of a dtype that torch has.
        buffers: Gives memory that is used again.
        pinned: In page-locked memory instead, from which a GPU copies beside the CPU's work.
    """
    if pinned:
        of_torch = torch.from_numpy(np.empty(0, dtype)).dtype
        return torch.empty(shape, dtype=of_torch, pin_memory=True)
    return torch.from_numpy(buffers.take(shape, dtype))


def gather_rows(
    array: NDArray[np.generic],
    rows: NDArray[np.int64],
    buffers: Buffers,
    *,
    pinned: bool = False,
) -> torch.Tensor:
    """Copy rows of a memory-mapped array into a tensor, (N, ...) to (B, ...).

    Args:
        array: Of a dtype that torch has.
        rows: (B,) row numbers, each in range.
        buffers: Gives memory that is used again.
        pinned: See `empty_batch`.
    """
    batch = empty_batch((len(rows), *array.shape[1:]), array.dtype, buffers, pinned=pinned)
    # `clip` never clips here: the other modes copy twice where `out` is given
    np.take(array, rows, axis=0, out=batch.numpy(), mode="clip")
    return batch
