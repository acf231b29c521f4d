"""The annotated training images of a trial, batch by batch, augmented where asked.

Shape legend: B batch, H height, W width, C channels.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray

from spurious import augment
from spurious.config import Specificity, Train
from spurious.dataset import Dataset
from spurious.inputs import PackedTargets, normalised, scaled, standardised

_AHEAD = 2
"""Batches prepared while one is trained on."""

Batch = tuple[torch.Tensor, torch.Tensor]


class TrainingSet:
    """Images and supervision of some training rows; gives out nothing of the other splits.

    Args:
        dataset: The dataset.
        rows: (n,) int64 rows of the training split that carry the annotation.
        specificity: Decides the targets: (B,) int64 labels or (B, H, W) int64 pixels.
        config: Augmentation and normalisation.
        seed: The trial's seed.
        workers: Threads that augment; results do not depend on it.
    """

    def __init__(
        self,
        dataset: Dataset,
        rows: NDArray[np.int64],
        specificity: Specificity,
        config: Train,
        seed: int,
        workers: int = 1,
    ) -> None:
        augment.check(config.augment, dataset.images.dtype)
        self.images, self.rows, self.labels = dataset.images, rows, dataset.labels[rows]
        self.config, self.seed, self.workers = config, seed, workers
        self.targets = (
            None if specificity.kind == "label" else PackedTargets(dataset.masks, rows, specificity)
        )

    def __len__(self) -> int:
        return len(self.rows)

    def batches(self, order: Sequence[NDArray[np.int64]], epoch: int) -> Iterator[Batch]:
        """Inputs (B, C, H, W) float32 and int64 targets for each array of positions."""
        if self.config.augment == "none":
            yield from (self._plain(positions) for positions in order)
            return
        with ThreadPoolExecutor(self.workers) as pool:
            pending: deque[list[Future[Batch]]] = deque()
            for positions in order:
                pending.append([pool.submit(self._augmented, int(p), epoch) for p in positions])
                if len(pending) > _AHEAD:
                    yield _stack(pending.popleft())
            while pending:
                yield _stack(pending.popleft())

    def _plain(self, positions: NDArray[np.int64]) -> Batch:
        x = normalised(self.images[self.rows[positions]], self.config.normalise)
        if self.targets is None:
            return x, torch.from_numpy(self.labels[positions])
        return x, torch.from_numpy(self.targets[positions].astype(np.int64))

    def _augmented(self, position: int, epoch: int) -> Batch:
        row = int(self.rows[position])
        stored = np.asarray(self.images[row])
        target = None if self.targets is None else self.targets[np.array([position])][0]
        image, warped = augment.augmented(
            self.config.augment, scaled(stored), target, seed=self.seed, epoch=epoch, sample=row
        )
        if np.issubdtype(stored.dtype, np.integer):
            image = standardised(image, self.config.normalise)
        x = torch.from_numpy(image.transpose(2, 0, 1).copy())  # never a view of the stored image
        if warped is None:
            return x, torch.tensor(int(self.labels[position]))
        return x, torch.from_numpy(warped.astype(np.int64))


def _stack(items: list[Future[Batch]]) -> Batch:
    pairs = [item.result() for item in items]
    return torch.stack([x for x, _ in pairs]), torch.stack([y for _, y in pairs])
