"""Adversarial: no network shall tell the features of shuffled images from those of whole ones.

Viviano et al. 2021: a discriminator of the pooled features trains in every batch, and the model
against it in one of `every`.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from spurious.config.steering import Adversarial
from spurious.data.batches import Batch
from spurious.data.randomness import derive
from spurious.errors import ConfigError
from spurious.methods.base import TrainingProblem
from spurious.methods.steered import Steered
from spurious.training.loop import Fit, Hooks
from spurious.training.model import Model
from spurious.training.objective import Forward


def make_discriminator(features: int, hidden: int, seed: int) -> nn.Sequential:
    """Three linear layers of spectral norm 1, whose one logit is high for whole images.

    Args:
        features: Of an image.
        hidden: Units of the two hidden layers.
        seed: The trial's seed.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive("discriminator", seed))
        layers: list[nn.Module] = []
        for a, b in pairwise((features, hidden, hidden)):
            layers += [spectral_norm(nn.Linear(a, b)), nn.ReLU()]
        return nn.Sequential(*layers, spectral_norm(nn.Linear(hidden, 1)))


def told_apart(logits: torch.Tensor, whole: bool) -> torch.Tensor:
    """Return the mean binary cross-entropy of taking features for whole or for shuffled ones'."""
    target = torch.full_like(logits, float(whole))
    return functional.binary_cross_entropy_with_logits(logits, target)


class Fooling(Steered):
    """Cross-entropy, and the loss of fooling a discriminator, which trains beside it.

    Args:
        problem: Gives supervision, seed and device.
        options: Of the method.
        model: The model that is trained, whose features are told apart.
    """

    def __init__(self, problem: TrainingProblem, options: Adversarial, model: Model) -> None:
        super().__init__(problem, options.radius)
        self.options = options
        features = int(model.head.in_features)  # type: ignore[arg-type]
        discriminator = make_discriminator(features, options.hidden, problem.seed)
        self.discriminator = discriminator.to(problem.device)
        self.optimizer = torch.optim.Adam(discriminator.parameters(), lr=options.learning_rate)

    def loss(self, forward: Forward, batch: Batch) -> torch.Tensor:
        """Train the discriminator; return the model's loss, without a graph if it is not its turn.

        A batch without regions trains the model alone.
        """
        inside, options = self.inside(batch), self.options
        turn = self.step % options.every == 0
        if not options.weight or inside.all():
            self.step += 1
            return self.classified(forward, batch.x, batch.targets, None)[1]
        masked = forward.embedded(self.shuffled(batch, inside)).images.float()
        output, loss = self.classified(forward, batch.x, batch.targets, None)
        whole = output.images.float()
        self.tell_apart(whole.detach(), masked.detach())
        if not turn:
            return loss.detach()
        self.discriminator.requires_grad_(requires_grad=False)
        fooled = told_apart(self.discriminator(whole), whole=False)
        fooled = fooled + told_apart(self.discriminator(masked), whole=True)
        self.discriminator.requires_grad_(requires_grad=True)
        return loss + options.weight * fooled

    def tell_apart(self, whole: torch.Tensor, masked: torch.Tensor) -> None:
        """Take a step of the discriminator on features, (B, D) each."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = told_apart(self.discriminator(whole), whole=True)
        loss = loss + told_apart(self.discriminator(masked), whole=False)
        (self.options.weight * loss).backward()
        self.optimizer.step()

    def state(self) -> dict[str, Any]:
        """Weights and optimizer of the discriminator."""
        return {
            "discriminator": self.discriminator.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what `state` gave."""
        if state:
            self.discriminator.load_state_dict(state["discriminator"])
            self.optimizer.load_state_dict(state["optimizer"])


def fit(problem: TrainingProblem, options: Adversarial, hooks: Hooks) -> Fit:
    """Minimise cross-entropy while features are not to be told apart.

    Raises:
        ConfigError: gradients are to be averaged over batches of which some have none.
    """
    if options.every > 1 and problem.train.accumulate > 1:
        raise ConfigError(
            f"adversarial trains the model in one of {options.every} batches, so accumulate: "
            f"{problem.train.accumulate} has nothing to average; use accumulate: 1, or every: 1"
        )
    model = problem.build()
    return problem.run(model, Fooling(problem, options, model), hooks)
