"""Learning from failure: what a biased network finds hard weighs more (Nam et al. 2020).

Nam et al., "Learning from failure: de-biasing classifier from biased classifier", algorithm 1. Two
networks of one architecture train side by side. The biased one minimises the generalised
cross-entropy of Zhang and Sabuncu (2018), which listens to what it is sure of already; the other
one, which is kept, minimises cross-entropy weighted by the relative difficulty
W = CE_b / (CE_b + CE_d).
"""

from __future__ import annotations

from typing import Any

import torch

from spurious.config.methods import Lff
from spurious.data.batches import Batch
from spurious.data.randomness import derive
from spurious.methods.base import TrainingProblem
from spurious.training.loop import Fit, Hooks
from spurious.training.model import Model
from spurious.training.objective import Forward, Objective

_SMALLEST = 1e-8
"""Losses below it count as none."""


def generalised_cross_entropy(losses: torch.Tensor, power: float) -> torch.Tensor:
    """Generalised cross-entropy (1 - p^q) / q, whose gradient is p^q times cross-entropy's.

    Args:
        losses: (B,) cross-entropies, -log p of the true class.
        power: q in (0, 1].
    """
    return -torch.expm1(-power * losses) / power


def relative_difficulty(biased: torch.Tensor, debiased: torch.Tensor) -> torch.Tensor:
    """W = biased / (biased + debiased) of losses of any shape; 0 where both are none."""
    return biased / (biased + debiased).clamp_min(_SMALLEST)


class AveragedLosses:
    """Moving averages of each image's losses, of both networks.

    Args:
        labels: (n,) int64, the classes of the training images.
        memory: Weight of the past; an image's first losses are taken as they are.

    Attributes:
        values: (2, n) float32, the biased network's and the other one's; NaN until first seen.
    """

    def __init__(self, labels: torch.Tensor, memory: float) -> None:
        self.labels, self.memory = labels, memory
        self.classes = max(2, int(labels.max()) + 1)
        self.values = torch.full((2, len(labels)), torch.nan)

    def update(self, positions: torch.Tensor, losses: torch.Tensor) -> torch.Tensor:
        """Take in a batch's losses, (2, B); give its averages over the class's largest, (2, B).

        The largest is over all images of the class that were seen so far.
        """
        device = losses.device
        self.labels, self.values = self.labels.to(device), self.values.to(device)
        positions = positions.to(device)
        old = self.values[:, positions]
        new = torch.where(old.isnan(), losses, self.memory * old + (1 - self.memory) * losses)
        self.values[:, positions] = new
        seen = self.values.nan_to_num(0.0)
        of_class = [
            torch.where(self.labels == c, seen, 0.0).amax(dim=1) for c in range(self.classes)
        ]
        largest = torch.stack(of_class, dim=1)[:, self.labels[positions]]
        return new / largest.clamp_min(_SMALLEST)


class LearningFromFailure(Objective):
    """The weighted loss of the model plus the generalised one of a biased network beside it.

    Args:
        problem: Gives the task and the labels.
        options: Of the method.
        biased: The biased network.
    """

    def __init__(self, problem: TrainingProblem, options: Lff, biased: Model) -> None:
        super().__init__(problem.supervision)
        self.options, self.biased = options, biased
        self.networks["biased"] = biased
        labels = torch.from_numpy(problem.training.labels)
        self.averages = (
            AveragedLosses(labels, options.memory) if options.difficulty == "averaged" else None
        )

    def loss(self, forward: Forward, batch: Batch) -> torch.Tensor:
        """Weights carry no gradient, so neither loss moves the other network."""
        biased_forward = Forward(self.biased, forward.device, forward.bfloat16)
        biased, debiased = (
            self.supervision.losses(network(batch.x), batch.targets)
            for network in (biased_forward, forward)
        )
        losses = torch.stack([biased, debiased]).detach()
        if self.averages is not None:
            losses = self.averages.update(batch.positions, losses)
        weights = relative_difficulty(losses[0], losses[1])
        factor = self.options.power if self.options.gradient_factor == "power" else 1.0
        return (
            factor * generalised_cross_entropy(biased, self.options.power).mean()
            + (weights * debiased).mean()
        )

    def state(self) -> dict[str, Any]:
        """Return the averages, where there are any."""
        return {} if self.averages is None else {"averages": self.averages.values}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what `state` gave."""
        if self.averages is not None:
            self.averages.values.copy_(state["averages"])


def biased_network(problem: TrainingProblem) -> Model:
    """The model's body with another last layer, as two loads of one pretrained network have."""
    model = problem.build()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive("biased network", problem.seed))
        for module in model.head.modules():
            if isinstance(module, torch.nn.Linear):
                module.reset_parameters()
    return model


def fit(problem: TrainingProblem, options: Lff, hooks: Hooks) -> Fit:
    """Train a model beside a biased network; the model is what is evaluated and kept."""
    objective = LearningFromFailure(problem, options, biased_network(problem))
    return problem.run(problem.build(), objective, hooks)
