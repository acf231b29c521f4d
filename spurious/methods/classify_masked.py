"""ERM on inputs that are 0 outside the region: a control of Viviano et al. 2019, section 3.

The zeros are of the model's input, after normalisation. Validation and test see whole images.
"""

from __future__ import annotations

import torch

from spurious.config.steering import ClassifyMasked
from spurious.data.batches import Batch
from spurious.methods.base import TrainingProblem
from spurious.methods.steered import Steered
from spurious.training.loop import Fit, Hooks
from spurious.training.objective import Forward


class Masked(Steered):
    """Cross-entropy of what lies inside the regions."""

    def loss(self, forward: Forward, batch: Batch) -> torch.Tensor:
        """Return the loss of the masked images, which a decoder is to draw as they are shown."""
        x = batch.x.clone().mul_(self.inside(batch)[:, None])  # in the layout that kernels go by
        return self.classified(forward, x, batch.targets, x)[1]


def fit(problem: TrainingProblem, options: ClassifyMasked, hooks: Hooks) -> Fit:
    """Minimise the cross-entropy of masked images."""
    objective = Masked(problem, options.radius, options.reconstruct, options.reconstruction)
    return problem.run(problem.build(), objective, hooks)
