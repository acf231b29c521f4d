"""ERM on a balanced stream: images are drawn so that every known group comes equally often."""

from __future__ import annotations

from spurious.config.methods import Resample
from spurious.methods.base import TrainingProblem
from spurious.methods.group_weights import group_balanced
from spurious.training.loop import Fit, Hooks
from spurious.training.objective import Objective


def fit(problem: TrainingProblem, options: Resample, hooks: Hooks) -> Fit:
    """Minimise the mean cross-entropy of images drawn with replacement by group."""
    groups = problem.groups
    assert groups is not None
    objective = Objective(problem.supervision)
    return problem.run(problem.build(), objective, hooks, sampler=group_balanced(groups))
