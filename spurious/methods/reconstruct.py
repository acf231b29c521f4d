"""ERM on labels whose model draws its input again (Viviano et al. 2019, section 3)."""

from __future__ import annotations

import torch

from spurious.config.steering import Reconstruct
from spurious.data.batches import Batch
from spurious.methods.base import TrainingProblem
from spurious.methods.steered import Steered
from spurious.training.loop import Fit, Hooks
from spurious.training.objective import Forward


class Reconstruction(Steered):
    """Cross-entropy, and the loss of reconstruction."""

    def loss(self, forward: Forward, batch: Batch) -> torch.Tensor:
        """Return the weighted sum of both losses."""
        return self.classified(forward, batch.x, batch.targets, batch.x)[1]


def fit(problem: TrainingProblem, options: Reconstruct, hooks: Hooks) -> Fit:
    """Minimise cross-entropy and the loss of reconstruction."""
    objective = Reconstruction(problem, 0, options.weight, options.reconstruction)
    return problem.run(problem.build(), objective, hooks)
