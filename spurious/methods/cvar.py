"""Conditional value at risk: only the worst share of a batch counts.

Levy et al. 2020, "Large-scale methods for distributionally robust optimization".
"""

from __future__ import annotations

import torch

from spurious.config.methods import Cvar
from spurious.data.batches import Batch
from spurious.methods.base import TrainingProblem
from spurious.training.loop import Fit, Hooks
from spurious.training.objective import Forward, Objective
from spurious.training.supervision import Supervision


def worst_share(losses: torch.Tensor, share: float) -> torch.Tensor:
    """Mean of the largest `share` of losses, (B,) float32; the last one in it counts partly."""
    n_weighted = share * len(losses)
    ranks = torch.arange(len(losses), device=losses.device)
    weights = (n_weighted - ranks).clamp(0.0, 1.0) / n_weighted
    return weights @ losses.sort(descending=True).values


class WorstShare(Objective):
    """The mean loss of the worst share of each batch."""

    def __init__(self, supervision: Supervision, share: float) -> None:
        super().__init__(supervision)
        self.share = share

    def loss(self, forward: Forward, batch: Batch) -> torch.Tensor:
        """Compute the loss; of a share of less than one image it is the worst image's."""
        return worst_share(self.supervision.losses(forward(batch.x), batch.targets), self.share)


def fit(problem: TrainingProblem, options: Cvar, hooks: Hooks) -> Fit:
    """Minimise the conditional value at risk of the annotated images, batch by batch."""
    return problem.run(problem.build(), WorstShare(problem.supervision, options.share), hooks)
