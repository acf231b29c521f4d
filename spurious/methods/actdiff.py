"""ActDiff: activations shall stay when pixels outside the region are shuffled.

Viviano et al. 2019, section 3. Both passes are in training mode and both have gradients; the
shuffled images go first.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from spurious.config.steering import ActDiff
from spurious.data.batches import Batch
from spurious.methods.base import TrainingProblem
from spurious.methods.steered import Steered, keep_pre_activations, record
from spurious.training.attribution import widen
from spurious.training.loop import Fit, Hooks
from spurious.training.model import Embedded, Model
from spurious.training.objective import Forward

_EPSILON = 1e-6
"""Added to differences by the code, as torch's `PairwiseDistance` does."""


def activation_difference(
    masked: Sequence[torch.Tensor], whole: Sequence[torch.Tensor], norm: str
) -> torch.Tensor:
    """Return how far the activations of two passes are apart, a float32 scalar.

    Args:
        masked: Per layer (B, D, h, w) or (B, D).
        whole: The same of the other pass.
        norm: `layer`, `channel` or `width`, see `spurious.config.steering.ActDiff`.
    """
    differences = [widen(a) - widen(b) for a, b in zip(masked, whole, strict=True)]
    if norm == "layer":
        # over all dimensions at once: flattening would copy the layout that kernels are fast in
        norms = [
            torch.linalg.vector_norm(d, dim=tuple(range(1, d.ndim))).mean() for d in differences
        ]
        return torch.stack(norms).mean()
    dim = 1 if norm == "channel" else -1
    places = [torch.linalg.vector_norm(d + _EPSILON, dim=dim).flatten() for d in differences]
    return torch.cat(places).mean()


class ActivationDifference(Steered):
    """Cross-entropy, and the difference of activations.

    Args:
        problem: Gives supervision and seed.
        options: Of the method.
        model: The model that is trained.
    """

    def __init__(self, problem: TrainingProblem, options: ActDiff, model: Model) -> None:
        super().__init__(problem, options.radius, options.reconstruct, options.reconstruction)
        self.options, self.layers = options, model.pre_activations()
        keep_pre_activations(model)

    def loss(self, forward: Forward, batch: Batch) -> torch.Tensor:
        """Return the weighted sum of the losses; a batch without regions has no difference."""
        inside = self.inside(batch)
        if not self.options.weight or inside.all():
            return self.classified(forward, batch.x, batch.targets, batch.x)[1]
        masked = self.observe(forward, self.shuffled(batch, inside))
        with record(self.layers) as hidden:
            output, loss = self.classified(forward, batch.x, batch.targets, batch.x)
        whole = self.read(output, hidden)
        return loss + self.options.weight * activation_difference(masked, whole, self.options.norm)

    def observe(self, forward: Forward, x: torch.Tensor) -> Sequence[torch.Tensor]:
        """Return the compared activations of images."""
        with record(self.layers) as hidden:
            output = forward.embedded(x)
        return self.read(output, hidden)

    def read(self, output: Embedded, hidden: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
        """Return what is compared of a pass."""
        if self.options.layers == "last":
            return [output.images]
        if self.options.compared == "after_relu":
            return [functional.relu(values) for values in hidden]
        return hidden


def fit(problem: TrainingProblem, options: ActDiff, hooks: Hooks) -> Fit:
    """Minimise cross-entropy and the difference of activations."""
    model = problem.build()
    return problem.run(model, ActivationDifference(problem, options, model), hooks)
