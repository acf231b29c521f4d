"""ERM on images shuffled outside the region: a control of Viviano et al. 2021."""

from __future__ import annotations

import torch

from spurious.config.steering import ClassifyShuffled
from spurious.data.batches import Batch
from spurious.methods.base import TrainingProblem
from spurious.methods.steered import Steered
from spurious.training.loop import Fit, Hooks
from spurious.training.objective import Forward


class Shuffled(Steered):
    """Cross-entropy of images whose outside says nothing but how bright it is."""

    def loss(self, forward: Forward, batch: Batch) -> torch.Tensor:
        """Return the loss of the shuffled images, which a decoder is to draw as they are shown."""
        x = self.shuffled(batch, self.inside(batch))
        return self.classified(forward, x, batch.targets, x)[1]


def fit(problem: TrainingProblem, options: ClassifyShuffled, hooks: Hooks) -> Fit:
    """Minimise the cross-entropy of shuffled images."""
    objective = Shuffled(problem, options.radius, options.reconstruct, options.reconstruction)
    return problem.run(problem.build(), objective, hooks)
