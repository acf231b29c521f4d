"""ActDiff and GradMask together (Viviano et al. 2019)."""

from __future__ import annotations

import torch

from spurious.config.steering import ActDiffGradMask
from spurious.data.batches import Batch
from spurious.methods.actdiff import ActivationDifference, activation_difference
from spurious.methods.base import TrainingProblem
from spurious.methods.gradmask import gradient_outside
from spurious.methods.steered import record
from spurious.training.attribution import contrast, input_gradient
from spurious.training.loop import Fit, Hooks
from spurious.training.model import Model
from spurious.training.objective import Forward
from spurious.training.second_order import speed_up_second_derivatives, twice_differentiable


class Both(ActivationDifference):
    """Cross-entropy, the difference of activations, and the contrast's gradient.

    Args:
        problem: Gives supervision and seed.
        options: Of the method.
        model: The model that is trained.
    """

    options: ActDiffGradMask

    def __init__(self, problem: TrainingProblem, options: ActDiffGradMask, model: Model) -> None:
        super().__init__(problem, options, model)

    def loss(self, forward: Forward, batch: Batch) -> torch.Tensor:
        """Return the weighted sum of all losses."""
        options, inside = self.options, self.inside(batch)
        if not options.gradient_weight or inside.all():
            return super().loss(forward, batch)
        masked = self.observe(forward, self.shuffled(batch, inside)) if options.weight else None
        x = batch.x.detach().requires_grad_()
        with record(self.layers) as hidden, twice_differentiable():
            output, loss = self.classified(forward, x, batch.targets, batch.x)
        if masked is not None:
            whole = self.read(output, hidden)
            loss = loss + options.weight * activation_difference(masked, whole, options.norm)
        gradient = input_gradient(contrast(output.logits), x)
        return loss + options.gradient_weight * gradient_outside(gradient, inside, options.size)


def fit(problem: TrainingProblem, options: ActDiffGradMask, hooks: Hooks) -> Fit:
    """Minimise cross-entropy and both penalties."""
    model = problem.build()
    speed_up_second_derivatives(model)
    return problem.run(model, Both(problem, options, model), hooks)
