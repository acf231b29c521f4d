"""Segmentation with supervised pixel-level similarity (Seg-SPL: Saab et al. 2022, section 4.2.2).

Beside cross-entropy, the embeddings of positively labelled pixels of a batch, of whichever images,
are pulled together by their cosine similarity.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch.nn import functional

from spurious.config.methods import Spl
from spurious.data.batches import Batch
from spurious.data.randomness import generator
from spurious.methods.base import TrainingProblem
from spurious.training.loop import Fit, Hooks
from spurious.training.objective import Forward, Objective
from spurious.training.similarity import unit
from spurious.training.supervision import Supervision


def similarity_loss(vectors: torch.Tensor, norm: Literal["pairs", "paper"]) -> torch.Tensor:
    """Minus the cosine similarity of all pairs of different vectors.

    The sum over pairs is |sum u|^2 - sum |u|^2 of the unit vectors u, which takes n steps, not n^2.

    Args:
        vectors: (n, P).
        norm: `pairs` divides the sum by n (n - 1), `paper` by n, as Saab et al. write it.

    Returns:
        A float32 scalar; 0 for fewer than two vectors.
    """
    count = len(vectors)
    if count < 2:
        return vectors.new_zeros((), dtype=torch.float32)
    directions = unit(vectors)
    pairs = directions.sum(dim=0).square().sum() - directions.square().sum()
    return -pairs / (count * (count - 1) if norm == "pairs" else count)


def positive_pixels(targets: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Return where a pixel embedding is positively labelled.

    Args:
        targets: (B, H, W) int64 in {0, 1}.
        height: Of the embedding; where it is smaller, targets are max-pooled to it.
        width: Of the embedding.

    Returns:
        (m,) int64, ascending indices into (B, height, width) flattened.
    """
    if targets.shape[1:] != (height, width):
        pooled = functional.adaptive_max_pool2d(targets[:, None].float(), (height, width))
        targets = pooled[:, 0]
    return targets.flatten().nonzero()[:, 0]


class PixelSimilarity(Objective):
    """Cross-entropy, and the similarity of a batch's positive pixels.

    Args:
        supervision: Gives the cross-entropy.
        options: Of the method.
        seed: The trial's seed, which pixels are drawn by.
    """

    def __init__(self, supervision: Supervision, options: Spl, seed: int) -> None:
        super().__init__(supervision)
        self.options, self.seed = options, seed
        self.epoch = self.step = 0

    def begin_epoch(self, epoch: int) -> None:
        """Count steps from 0: pixels are drawn from (seed, epoch, step)."""
        self.epoch, self.step = epoch, 0

    def loss(self, forward: Forward, batch: Batch) -> torch.Tensor:
        """Return the weighted sum of both losses."""
        output = forward.embedded(batch.x)
        supervised = self.supervision.losses(output.logits, batch.targets).mean()
        assert output.pixels is not None
        vectors = self._drawn(output.pixels, batch.targets)
        self.step += 1
        return supervised + self.options.weight * similarity_loss(vectors, self.options.norm)

    def _drawn(self, pixels: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """(n, P) embeddings of at most `pixels` positive pixels, from (B, P, h, w)."""
        height, width = pixels.shape[2:]
        where = positive_pixels(targets, height, width)
        if len(where) > self.options.pixels:
            rng = generator("pixels", self.seed, self.epoch, self.step)
            chosen = rng.choice(len(where), self.options.pixels, replace=False)
            where = where[torch.from_numpy(chosen).to(where.device)]
        image, place = where // (height * width), where % (height * width)
        return pixels.flatten(2)[image, :, place]


def fit(problem: TrainingProblem, options: Spl, hooks: Hooks) -> Fit:
    """Minimise cross-entropy and the similarity loss on the annotated images."""
    objective = PixelSimilarity(problem.supervision, options, problem.seed)
    return problem.run(problem.build(), objective, hooks)
