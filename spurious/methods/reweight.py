"""ERM with weighted losses: every known group counts the same in sum, however small it is."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from spurious.config.methods import Reweight
from spurious.data.batches import Batch
from spurious.methods.base import TrainingProblem
from spurious.training.loop import Fit, Hooks
from spurious.training.objective import Forward, Objective
from spurious.training.supervision import Supervision


def image_weights(groups: NDArray[np.int64]) -> NDArray[np.float32]:
    """One over the group's size, scaled to a mean of 1 over groups; (n,) int64 to (n,) float32."""
    inverse = 1.0 / np.bincount(groups)
    scaled = inverse / inverse.mean()
    return scaled[groups].astype(np.float32)


class Weighted(Objective):
    """The mean over a batch of the images' losses, each times its image's weight.

    Args:
        supervision: Gives the loss per image.
        weights: (n,) float32, one for each training image.
    """

    def __init__(self, supervision: Supervision, weights: NDArray[np.float32]) -> None:
        super().__init__(supervision)
        self.weights = torch.from_numpy(weights)

    def loss(self, forward: Forward, batch: Batch) -> torch.Tensor:
        """Return the weighted mean; it is divided by the number of images, not by their weights."""
        losses = self.supervision.losses(forward(batch.x), batch.targets)
        return (self.weights[batch.positions].to(losses.device) * losses).mean()


def fit(problem: TrainingProblem, options: Reweight, hooks: Hooks) -> Fit:
    """Minimise the weighted cross-entropy of the annotated images."""
    groups = problem.groups
    assert groups is not None
    return problem.run(problem.build(), Weighted(problem.supervision, image_weights(groups)), hooks)
