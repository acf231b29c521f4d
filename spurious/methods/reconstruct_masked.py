"""The decoder draws the image shuffled outside its region (Viviano et al. 2019, section 3)."""

from __future__ import annotations

import torch

from spurious.config.steering import ReconstructMasked
from spurious.data.batches import Batch
from spurious.methods.base import TrainingProblem
from spurious.methods.steered import Steered
from spurious.training.loop import Fit, Hooks
from spurious.training.objective import Forward


class MaskedReconstruction(Steered):
    """Cross-entropy of whole images, and the reconstruction of shuffled ones from them."""

    def loss(self, forward: Forward, batch: Batch) -> torch.Tensor:
        """Return the weighted sum of both losses."""
        drawn = self.shuffled(batch, self.inside(batch)) if self.reconstruct else None
        return self.classified(forward, batch.x, batch.targets, drawn)[1]


def fit(problem: TrainingProblem, options: ReconstructMasked, hooks: Hooks) -> Fit:
    """Minimise cross-entropy and the loss of the masked reconstruction."""
    objective = MaskedReconstruction(
        problem, options.radius, options.weight, options.reconstruction
    )
    return problem.run(problem.build(), objective, hooks)
