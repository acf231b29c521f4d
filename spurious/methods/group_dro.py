"""Group DRO with known groups: the worst group's loss counts most (Sagawa et al. 2020)."""

from __future__ import annotations

from spurious.config.methods import GroupDro
from spurious.methods.base import TrainingProblem
from spurious.methods.group_weights import GroupObjective, sampler_of
from spurious.training.loop import Fit, Hooks


def fit(problem: TrainingProblem, options: GroupDro, hooks: Hooks) -> Fit:
    """Minimise the loss of groups of label and spurious attribute under weights that move."""
    groups = problem.groups
    assert groups is not None
    objective = GroupObjective(problem.supervision, groups, options, problem.device)
    return problem.run(problem.build(), objective, hooks, sampler=sampler_of(options, groups))
