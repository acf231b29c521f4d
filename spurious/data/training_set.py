"""The annotated training images of a trial, batch by batch, augmented where asked.

Shape legend: B batch, H height, W width, C channels.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from spurious.config.fields import Negatives
from spurious.config.options import Specificity, Train
from spurious.data import augment
from spurious.data.dataset import Dataset
from spurious.data.inputs import PackedTargets, normalise_images, pixel_classes, scale, standardise

_AHEAD = 2
"""Batches prepared while one is trained on."""

Pair = tuple[torch.Tensor, torch.Tensor]


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
    """

    x: torch.Tensor
    targets: torch.Tensor
    positions: torch.Tensor
    rest: Batch | None = None
    second: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.x)

    def to(self, device: torch.device, memory_format: torch.memory_format) -> Batch:
        """Return images and targets on a device, images in a memory format."""
        rest = None if self.rest is None else self.rest.to(device, memory_format)
        x = self.x.to(device, memory_format=memory_format, non_blocking=True)
        second = self.second
        if second is not None:
            second = second.to(device, memory_format=memory_format, non_blocking=True)
        return Batch(x, self.targets.to(device, non_blocking=True), self.positions, rest, second)


class TrainingSet:
    """Images and supervision of some training rows; gives out nothing of the other splits.

    Args:
        dataset: The dataset.
        rows: (n,) int64 rows of the training split that carry the annotation.
        specificity: Decides the targets: (B,) int64 labels or (B, H, W) int64 pixels.
        config: Augmentation and normalisation.
        seed: The trial's seed.
        workers: Threads that augment; results do not depend on it.
        hide_labels: Give -1 for every label: nobody annotated these images.
        negatives: What masks of negative images count as.
    """

    def __init__(
        self,
        dataset: Dataset,
        rows: NDArray[np.int64],
        specificity: Specificity,
        config: Train,
        seed: int,
        workers: int = 1,
        hide_labels: bool = False,
        negatives: Negatives = "background",
    ) -> None:
        augment.check(config.augment, dataset.images.dtype)
        self.images, self.rows = dataset.images, rows
        self.labels = np.full(len(rows), -1) if hide_labels else dataset.labels[rows]
        self.config, self.seed, self.workers = config, seed, workers
        classes = pixel_classes(dataset.labels[rows], negatives)
        self.targets = (
            None
            if specificity.kind == "label"
            else PackedTargets(dataset.masks, rows, specificity, classes, dataset.boxes)
        )

    def __len__(self) -> int:
        return len(self.rows)

    def under(
        self,
        augmentation: Literal["none", "flip", "paper"],
        targets: PackedTargets | None = None,
    ) -> TrainingSet:
        """Return the same images under another augmentation, with ready pixel targets where given.

        Raises:
            ConfigError: the augmentation does not suit the images.
        """
        augment.check(augmentation, self.images.dtype)
        changed = copy(self)
        changed.config = replace(self.config, augment=augmentation)
        changed.targets = self.targets if targets is None else targets
        return changed

    def batches(
        self, order: Sequence[NDArray[np.int64]], epoch: int, view: int = 0
    ) -> Iterator[Batch]:
        """Yield a batch for each array of positions of an epoch.

        Copies of an image within the epoch are augmented by other draws each, and so is another
        `view`.
        """
        if self.config.augment == "none":
            for positions in order:
                yield Batch(*self._plain(positions), torch.from_numpy(positions))
            return
        with ThreadPoolExecutor(self.workers) as pool:
            pending: deque[tuple[NDArray[np.int64], list[Future[Pair]]]] = deque()
            drawn: Counter[int] = Counter()
            for positions in order:
                items = []
                for position in map(int, positions):
                    occurrence = drawn[position]
                    items.append(pool.submit(self._augmented, position, epoch, view, occurrence))
                    drawn[position] += 1
                pending.append((positions, items))
                if len(pending) > _AHEAD:
                    yield _stack(*pending.popleft())
            while pending:
                yield _stack(*pending.popleft())

    def clean(self, batch_size: int) -> Iterator[Batch]:
        """Every image once, in order, not augmented: what a trained model is looked at with."""
        for start in range(0, len(self), batch_size):
            positions = np.arange(start, min(start + batch_size, len(self)))
            yield Batch(*self._plain(positions), torch.from_numpy(positions))

    def _plain(self, positions: NDArray[np.int64]) -> Pair:
        x = normalise_images(self.images[self.rows[positions]], self.config.normalise)
        if self.targets is None:
            return x, torch.from_numpy(self.labels[positions])
        return x, torch.from_numpy(self.targets.pixels(positions))

    def _augmented(self, position: int, epoch: int, view: int, occurrence: int) -> Pair:
        row = int(self.rows[position])
        stored = np.asarray(self.images[row])
        target = None if self.targets is None else self.targets[np.array([position])][0]
        image, warped = augment.augment_batch(
            self.config.augment,
            scale(stored),
            target,
            seed=self.seed,
            epoch=epoch,
            sample=row,
            view=view,
            occurrence=occurrence,
        )
        if np.issubdtype(stored.dtype, np.integer):
            image = standardise(image, self.config.normalise)
        x = torch.from_numpy(image.transpose(2, 0, 1).copy())  # never a view of the stored image
        if warped is None or self.targets is None:
            return x, torch.tensor(int(self.labels[position]))
        return x, torch.from_numpy(warped * self.targets.classes[position])


def _stack(positions: NDArray[np.int64], items: list[Future[Pair]]) -> Batch:
    pairs = [item.result() for item in items]
    x, targets = (torch.stack(parts) for parts in zip(*pairs, strict=True))
    return Batch(x, targets, torch.from_numpy(positions))
