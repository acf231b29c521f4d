"""Samplers: which images an epoch draws, in which order, and batches of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spurious.data.batches import StoredBatch
from spurious.data.randomness import generator
from spurious.data.training_set import TrainingSet

Sampler = Callable[[np.random.Generator], NDArray[np.int64]]
"""Draws the positions of one epoch, (n,) int64; positions may repeat or be left out."""


def in_batches(order: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    """Cut positions into batches; a last single image joins the batch before it.

    Batch normalisation is undefined, or noise, on one image.
    """
    count = len(order)
    starts = list(range(0, count, size))
    if len(starts) > 1 and count - starts[-1] == 1:
        starts.pop()
    for start, stop in zip(starts, [*starts[1:], count], strict=True):
        yield order[start:stop]


def shuffle_once(count: int) -> Sampler:
    """Draw every image once, shuffled."""
    return lambda rng: rng.permutation(count)


def oversample_to_largest_group(groups: NDArray[np.int64]) -> Sampler:
    """Draw every group as often as the largest; (n,) int64, groups without an image stay without.

    An image is drawn as often as any other of its group, or once more; which ones is drawn again
    each epoch.
    """
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    largest = max(len(positions) for positions in members)

    def order(rng: np.random.Generator) -> NDArray[np.int64]:
        drawn = []
        for positions in members:
            whole, part = divmod(largest, len(positions))
            drawn += [np.tile(positions, whole), rng.choice(positions, part, replace=False)]
        return rng.permutation(np.concatenate(drawn))

    return order


class BatchSampler:
    """Batches of the annotated images, epoch by epoch, drawn from (seed, epoch) alone.

    Args:
        images: The annotated training images.
        batch_size: Images per batch.
        seed: The trial's seed.
        sampler: Draws an epoch's positions; every image once by default.
        rest: Images of the rest of the training split: each batch comes with as many of them.
        two_views: Draw the augmentation of those images a second time, as `Batch.second`.
    """

    def __init__(
        self,
        images: TrainingSet,
        batch_size: int,
        seed: int,
        sampler: Sampler | None = None,
        rest: TrainingSet | None = None,
        two_views: bool = False,
    ) -> None:
        self.images, self.batch_size, self.seed = images, batch_size, seed
        self.sampler = sampler or shuffle_once(len(images))
        self.rest, self.two_views = rest, two_views

    def epoch(self, epoch: int) -> tuple[list[int], Iterator[StoredBatch]]:
        """Sizes of an epoch's batches, and the batches."""
        order = self.sampler(generator("order", self.seed, epoch))
        cut = list(in_batches(order, self.batch_size))
        batches = self.images.batches(cut, epoch)
        if self.rest is not None:
            batches = self._accompanied(self.rest, batches, cut, epoch)
        return [len(positions) for positions in cut], batches

    def _accompanied(
        self,
        rest: TrainingSet,
        batches: Iterator[StoredBatch],
        cut: Sequence[NDArray[np.int64]],
        epoch: int,
    ) -> Iterator[StoredBatch]:
        n_rows = sum(len(positions) for positions in cut)
        rng = generator("rest", self.seed, epoch)
        rounds = -(-n_rows // len(rest))
        order = np.concatenate([rng.permutation(len(rest)) for _ in range(rounds)])
        ends = np.cumsum([len(positions) for positions in cut])
        parts = np.split(order[:n_rows], ends[:-1])
        companions = rest.batches(parts, epoch)
        if self.two_views:
            companions = _in_two_views(companions, rest.batches(parts, epoch, view=1))
        for batch, companion in zip(batches, companions, strict=True):
            yield replace(batch, rest=companion)


def _in_two_views(
    first: Iterator[StoredBatch], second: Iterator[StoredBatch]
) -> Iterator[StoredBatch]:
    for batch, other in zip(first, second, strict=True):
        yield replace(batch, second=other)
