"""Right for better reasons: influence functions times input gradients stay inside the regions.

Shao et al. 2021, with the identity for the Hessian, as in the public re-implementation: what an
image has on the parameters is the gradient of its cross-entropy by them, summed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from spurious.config.steering import Rbr
from spurious.data.batches import Batch
from spurious.methods.base import TrainingProblem
from spurious.methods.rrr import squares_outside
from spurious.methods.steered import Steered
from spurious.training.attribution import input_gradient, log_probabilities
from spurious.training.loop import Fit, Hooks
from spurious.training.model import Model
from spurious.training.objective import Forward
from spurious.training.second_order import twice_differentiable


@contextmanager
def running_statistics(model: Model) -> Iterator[None]:
    """Let normalisation layers use their running statistics, which depend on no image."""
    layers = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    was_training = [layer.training for layer in layers]
    for layer in layers:
        layer.eval()
    try:
        yield
    finally:
        for layer, mode in zip(layers, was_training, strict=True):
            layer.train(mode)


def influence(
    losses: torch.Tensor, parameters: list[nn.Parameter], x: torch.Tensor
) -> torch.Tensor:
    """Differentiate the sum of all parameters' gradients by the images, (B, C, H, W)."""
    gradients = torch.autograd.grad(losses.sum(), parameters, create_graph=True, allow_unused=True)
    return input_gradient(torch.stack([g.sum() for g in gradients if g is not None]), x)


class BetterReasons(Steered):
    """Cross-entropy, and squared influence times gradient outside the regions.

    Args:
        problem: Gives supervision and seed.
        options: Of the method.
    """

    def __init__(self, problem: TrainingProblem, options: Rbr) -> None:
        super().__init__(problem, options.radius)
        self.options = options

    def loss(self, forward: Forward, batch: Batch) -> torch.Tensor:
        """Return the weighted sum of both losses; a batch without regions has no penalty."""
        loss, inside = self.classified(forward, batch.x, batch.targets, None)[1], self.inside(batch)
        if not self.options.weight or inside.all():
            return loss
        x = batch.x.detach().requires_grad_()
        with running_statistics(forward.model), twice_differentiable():
            logits = forward.embedded(x).logits
        losses = self.supervision.losses(logits, batch.targets)
        parameters = [p for p in forward.model.parameters() if p.requires_grad]
        product = influence(losses, parameters, x) * input_gradient(log_probabilities(logits), x)
        return loss + self.options.weight * squares_outside(product, inside)


def fit(problem: TrainingProblem, options: Rbr, hooks: Hooks) -> Fit:
    """Minimise cross-entropy and influence times gradient outside the regions."""
    return problem.run(problem.build(), BetterReasons(problem, options), hooks)
