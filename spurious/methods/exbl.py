"""eXBL: explanations become like a good example and unlike a bad one, by a triplet loss.

Hagos et al. 2023, equations 4 to 8. A first ERM model (the paper's unrefined model) is trained on;
the two examples are products of an image and its Grad-CAM by that model. Maps run from 0 to 1, so
that a margin of 1 means something. The paper's text says that the loss is 0 unless an explanation
is nearer to the bad example by more than the margin, which its equation 8 contradicts (`hinge`).
The published code differs in more: mean square errors instead of distances (`distance`), the mean
over images whose loss is not 0 (`average`), images shrunk to the grid of the maps (`grid`).

Shape legend: B batch, C channels.
"""

from __future__ import annotations

import torch

from spurious.config.exemplars import Exbl
from spurious.data.batches import Batch
from spurious.methods.base import TrainingProblem
from spurious.methods.exemplars import Exemplar, explain, find_exemplars, multiply, require_regions
from spurious.methods.first_model import first_model, load_first_model
from spurious.training.evaluate import MetricRow
from spurious.training.loop import Fit, Hooks
from spurious.training.objective import Forward, Objective
from spurious.training.supervision import Supervision


def distances(products: torch.Tensor, example: torch.Tensor, *, squared: bool) -> torch.Tensor:
    """Return the Euclidean distance of each product from an example, (B,).

    Args:
        products: (B, C, ...).
        example: (C, ...).
        squared: The mean square instead.
    """
    difference = (products - example).flatten(1)
    if squared:
        return difference.square().mean(dim=1)
    return torch.linalg.vector_norm(difference, dim=1)


def triplet_loss(good: torch.Tensor, bad: torch.Tensor, options: Exbl) -> torch.Tensor:
    """Return the hinge of distances from the good and the bad example, both (B,), as a scalar."""
    margin = options.margin if options.hinge == "formula" else -options.margin
    hinges = (good - bad + margin).relu()
    if options.average == "sum":
        return hinges.sum()
    if options.average == "mean":
        return hinges.mean()
    return hinges.sum() / (hinges > 0).sum().clamp(min=1)


class NearGood(Objective):
    """Cross-entropy of labels, and the triplet loss of explanations.

    Args:
        supervision: The loss of labels.
        options: Of the method.
        good: (C, ...) float32, the product of the good example.
        bad: Likewise.
    """

    def __init__(
        self, supervision: Supervision, options: Exbl, good: torch.Tensor, bad: torch.Tensor
    ) -> None:
        super().__init__(supervision)
        self.options, self.good, self.bad = options, good, bad

    def loss(self, forward: Forward, batch: Batch) -> torch.Tensor:
        """Return the weighted sum of both losses."""
        output = forward.embedded(batch.x)
        loss = self.supervision.losses(output.logits, batch.targets).mean()
        if not self.options.weight:
            return loss
        products = multiply(batch.x, explain(output), self.options.grid)
        squared = self.options.distance == "mse"
        good, bad = (
            distances(products, example, squared=squared) for example in (self.good, self.bad)
        )
        return loss + self.options.weight * triplet_loss(good, bad, self.options)


def fit(problem: TrainingProblem, options: Exbl, hooks: Hooks) -> Fit:
    """Train a first model, take two of its explanations, and train it on with both losses."""
    if options.named is None:
        require_regions(problem)
    state = first_model(problem, options, hooks).kept
    good, bad = find_exemplars(problem, options, load_first_model(problem, state))
    model = problem.build()
    model.load_state_dict(state)
    objective = NearGood(problem.supervision, options, good.product, bad.product)
    fitted = problem.run(model, objective, hooks)
    fitted.rows += _facts(problem, good, bad)
    return fitted


def _facts(problem: TrainingProblem, good: Exemplar, bad: Exemplar) -> list[MetricRow]:
    """Return which images the examples are of, and how their explanations were judged."""
    values = {
        "exemplar_good": float(good.row),
        "exemplar_bad": float(bad.row),
        "exemplar_good_precision": good.precision,
        "exemplar_bad_precision": bad.precision,
        "exemplars_alike": float(good.precision <= bad.precision),
    }
    epoch = problem.train.epochs
    return [MetricRow(epoch, "train", name, None, value) for name, value in values.items()]
