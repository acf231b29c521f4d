"""Group DRO: weights over groups that follow the groups' losses, whoever found the groups.

Shape legend: n training images, K sets that split them, G groups, B batch.

Sagawa et al. 2020, "Distributionally robust neural networks for group shifts", algorithm 1 and the
generalisation adjustments.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from spurious.config.methods import GroupWeights
from spurious.data.batches import Batch
from spurious.data.sampling import Sampler
from spurious.errors import DataError
from spurious.training.objective import Forward, Objective
from spurious.training.supervision import Supervision


class Rule(Protocol):
    """How the weights of groups follow their losses.

    Attributes:
        memory: (G,) float64, all that continuing needs.
    """

    memory: torch.Tensor

    @property
    def q(self) -> torch.Tensor:
        """(G,) float64 weights, at least 0, of sum 1."""
        ...

    def move(self, losses: torch.Tensor, present: torch.Tensor) -> None:
        """Take in a batch's mean losses, (G,) float64, 0 where a group is not `present`."""
        ...


class Exponentiated:
    """Exponentiated gradient ascent on q.

    The logarithm of q is kept, so that no loss or step size overflows and a weight can come back
    from however close to 0.

    Args:
        sizes: (G,) float64, training images of each group.
        options: Step size, adjustment, and whether adjusted losses are normalised.
        adjusted_by: (G,) float64, n of C / sqrt n.
    """

    def __init__(
        self, sizes: torch.Tensor, options: GroupWeights, adjusted_by: torch.Tensor
    ) -> None:
        self.options = options
        self.adjustments = options.adjustment / adjusted_by.sqrt()
        self.memory = torch.zeros_like(sizes).log_softmax(dim=0)

    @property
    def q(self) -> torch.Tensor:
        """(G,) float64 weights."""
        return self.memory.exp()

    def move(self, losses: torch.Tensor, present: torch.Tensor) -> None:
        """q <- q exp(eta (L + C / sqrt n)), normalised; an absent group gains its C / sqrt n."""
        adjusted = losses + self.adjustments
        if self.options.normalise_loss:
            adjusted = adjusted / adjusted.sum().clamp_min(torch.finfo(adjusted.dtype).tiny)
        self.memory = (self.memory + self.options.step_size * adjusted).log_softmax(dim=0)


class Greedy:
    """All weight on the worst groups until a share of the training images is used up.

    This is the conditional value at risk over groups, whose order is that of moving averages.

    Args:
        sizes: (G,) float64, training images of each group.
        options: Share, floor and memory of the rule, and the adjustment of the averages.
        adjusted_by: (G,) float64, n of C / sqrt n.
    """

    def __init__(
        self, sizes: torch.Tensor, options: GroupWeights, adjusted_by: torch.Tensor
    ) -> None:
        self.options = options
        self.adjustments = options.adjustment / adjusted_by.sqrt()
        self.fractions = sizes / sizes.sum()
        self.index = torch.arange(len(sizes), device=sizes.device)
        self.memory = torch.full_like(sizes, torch.nan)  # until a group is seen

    @property
    def q(self) -> torch.Tensor:
        """(G,) float64 weights; of equally bad groups the first comes first."""
        reference = self.memory.nan_to_num(0.0) + self.adjustments
        tied = reference == reference[:, None]
        worse = (reference > reference[:, None]) | (tied & (self.index < self.index[:, None]))
        before = (worse * self.fractions).sum(dim=1)
        share, floor = self.options.greedy_share, self.options.greedy_floor
        taken = torch.minimum((share - before).clamp_min(0.0), self.fractions) / share
        return floor * self.fractions + (1.0 - floor) * taken

    def move(self, losses: torch.Tensor, present: torch.Tensor) -> None:
        """Update the averages of present groups; the first loss of a group begins its average."""
        rate = self.options.greedy_memory
        averaged = torch.where(
            self.memory.isnan(), losses, (1.0 - rate) * self.memory + rate * losses
        )
        self.memory = torch.where(present, averaged, self.memory)


class GroupObjective(Objective):
    """The loss sum_g q_g L_g, where L_g is the mean loss of group g in the batch, or 0.

    q moves before the loss is formed, and no gradient flows through it.

    Args:
        supervision: Gives the loss per image.
        groups: (n,) int64, 0 to K - 1: the set that each training image is in; none is empty.
        options: The rule of q and its options.
        device: Where the model trains.
        adjust_by_first: Whether a pair's adjustment is by the images of its first set alone.
        pairs: (G, 2) int64: groups that are unions of two sets, e.g. of each negative and each
            positive cluster; by default the sets are the groups.

    Raises:
        DataError: a set has no image.
    """

    def __init__(
        self,
        supervision: Supervision,
        groups: NDArray[np.int64],
        options: GroupWeights,
        device: torch.device,
        pairs: NDArray[np.int64] | None = None,
        adjust_by_first: bool = False,
    ) -> None:
        super().__init__(supervision)
        counts = np.bincount(groups)
        if not counts.all():
            raise DataError(
                f"{int((counts == 0).sum())} of {len(counts)} groups have no training image; "
                "number the groups without gaps"
            )
        members = np.eye(len(counts))
        if pairs is not None:
            members = members[pairs].sum(axis=1)
        self.groups = torch.from_numpy(groups)
        self.members = torch.from_numpy(members).to(device)  # (G, K)
        sizes = torch.from_numpy(members @ counts).to(device)
        adjusted_by = sizes
        if pairs is not None and adjust_by_first:
            adjusted_by = torch.from_numpy(counts[pairs[:, 0]].astype(np.float64)).to(device)
        rule = Exponentiated if options.rule == "exponentiated" else Greedy
        self.rule: Rule = rule(sizes, options, adjusted_by)

    def loss(self, forward: Forward, batch: Batch) -> torch.Tensor:
        """Return the weighted losses, after q has moved by them; without the adjustments."""
        losses = self.supervision.losses(forward(batch.x), batch.targets)
        return self.weighted(losses, batch.positions)

    def weighted(self, losses: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Move q by the losses per image, (B,) float32, and weigh them by it."""
        groups = self.groups[positions].to(losses.device)
        of = self.members[:, groups]  # (G, B)
        counts = of.sum(dim=1)
        means = (of * losses).sum(dim=1) / counts.clamp_min(1.0)
        self.rule.move(means.detach(), counts > 0)
        return (self.rule.q * means).sum().to(losses.dtype)

    def state(self) -> dict[str, Any]:
        """Return the rule's memory."""
        return {"groups": self.rule.memory}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up the rule's memory."""
        memory = state["groups"]
        if memory.shape != self.rule.memory.shape:
            raise ValueError(f"{len(memory)} groups instead of {len(self.rule.memory)}")
        self.rule.memory = memory.to(self.rule.memory)


def group_balanced(groups: NDArray[np.int64]) -> Sampler:
    """As many draws as images, with replacement, every group equally often: weights 1 / n_g."""
    weights = 1.0 / np.bincount(groups)[groups]
    chances = weights / weights.sum()
    return lambda rng: rng.choice(len(groups), size=len(groups), p=chances)


def sampler_of(options: GroupWeights, groups: NDArray[np.int64]) -> Sampler | None:
    """Return what `draw` says; None is every image once."""
    return group_balanced(groups) if options.draw == "groups" else None
