"""GradMask: the gradient of the classes' contrast shall be 0 outside the region.

Simpson et al. 2019; equation 2 of Viviano et al. 2019.
"""

from __future__ import annotations

import torch

from spurious.config.steering import GradientSize, GradMask
from spurious.data.batches import Batch
from spurious.methods.base import TrainingProblem
from spurious.methods.steered import Steered
from spurious.training.attribution import contrast, input_gradient
from spurious.training.loop import Fit, Hooks
from spurious.training.objective import Forward
from spurious.training.second_order import speed_up_second_derivatives, twice_differentiable


def gradient_outside(
    gradient: torch.Tensor, inside: torch.Tensor, size: GradientSize
) -> torch.Tensor:
    """Return the size of a gradient outside the regions, a float32 scalar.

    Args:
        gradient: (B, C, H, W).
        inside: (B, H, W) bool.
        size: `l2`, a mean over images, or `l1`, a sum over all.
    """
    penalised = gradient * ~inside[:, None]
    if size == "l1":
        return penalised.abs().sum()
    return torch.linalg.vector_norm(penalised.flatten(1), dim=1).mean()


class ContrastGradient(Steered):
    """Cross-entropy, and the contrast's gradient outside the regions.

    Args:
        problem: Gives supervision and seed.
        options: Of the method.
    """

    def __init__(self, problem: TrainingProblem, options: GradMask) -> None:
        super().__init__(problem, options.radius, options.reconstruct, options.reconstruction)
        self.options = options

    def loss(self, forward: Forward, batch: Batch) -> torch.Tensor:
        """Return the weighted sum of the losses; a batch without regions has no penalty."""
        inside = self.inside(batch)
        if not self.options.weight or inside.all():
            return self.classified(forward, batch.x, batch.targets, batch.x)[1]
        x = batch.x.detach().requires_grad_()
        with twice_differentiable():
            output, loss = self.classified(forward, x, batch.targets, batch.x)
        gradient = input_gradient(contrast(output.logits), x)
        return loss + self.options.weight * gradient_outside(gradient, inside, self.options.size)


def fit(problem: TrainingProblem, options: GradMask, hooks: Hooks) -> Fit:
    """Minimise cross-entropy and the gradient outside the regions."""
    model = problem.build()
    speed_up_second_derivatives(model)
    return problem.run(model, ContrastGradient(problem, options), hooks)
