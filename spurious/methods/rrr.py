"""Right for the right reasons: gradients of log-probabilities stay inside the regions.

Ross, Hughes and Doshi-Velez 2017, equation 1, whose sums over images are means here, as that of
cross-entropy. Weight decay is the optimizer's.
"""

from __future__ import annotations

import torch

from spurious.config.steering import Rrr
from spurious.data.batches import Batch
from spurious.methods.base import TrainingProblem
from spurious.methods.steered import Steered
from spurious.training.attribution import input_gradient, log_probabilities
from spurious.training.loop import Fit, Hooks
from spurious.training.objective import Forward
from spurious.training.second_order import speed_up_second_derivatives, twice_differentiable


def squares_outside(
    values: torch.Tensor, inside: torch.Tensor, *, normalise: bool = False
) -> torch.Tensor:
    """Return the mean over images of the sum of squares outside the regions, a float32 scalar.

    Args:
        values: (B, C, H, W).
        inside: (B, H, W) bool.
        normalise: Divide by the number of pixels outside, of all images together.
    """
    penalised = ~inside[:, None]
    total = (values * penalised).square().flatten(1).sum(dim=1).mean()
    return total / penalised.sum().clamp(min=1) if normalise else total


class RightReasons(Steered):
    """Cross-entropy, and the squared gradients outside the regions.

    Args:
        problem: Gives supervision and seed.
        options: Of the method.
    """

    def __init__(self, problem: TrainingProblem, options: Rrr) -> None:
        super().__init__(problem, options.radius)
        self.options = options

    def loss(self, forward: Forward, batch: Batch) -> torch.Tensor:
        """Return the weighted sum of both losses; a batch without regions has no penalty."""
        options, inside = self.options, self.inside(batch)
        if not options.weight or inside.all():
            return self.classified(forward, batch.x, batch.targets, None)[1]
        x = batch.x.detach().requires_grad_()
        with twice_differentiable():
            output, loss = self.classified(forward, x, batch.targets, None)
        gradient = input_gradient(log_probabilities(output.logits), x)
        penalty = squares_outside(gradient, inside, normalise=options.normalise)
        return loss + options.weight * penalty


def fit(problem: TrainingProblem, options: Rrr, hooks: Hooks) -> Fit:
    """Minimise cross-entropy and the gradients outside the regions."""
    model = problem.build()
    speed_up_second_derivatives(model)
    return problem.run(model, RightReasons(problem, options), hooks)
