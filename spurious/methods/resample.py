"""ERM on a balanced stream: images are drawn so that every known group comes equally often."""

from __future__ import annotations

from spurious.config.methods import Resample
from spurious.methods.base import Problem
from spurious.methods.group_weights import equally_often
from spurious.training.loop import Fit, Hooks
from spurious.training.objective import Objective


def fit(problem: Problem, options: Resample, hooks: Hooks) -> Fit:
    """Minimise the mean cross-entropy of images drawn with replacement by group."""
    groups = problem.groups
    assert groups is not None
    objective = Objective(problem.task)
    return problem.run(problem.build(), objective, hooks, order=equally_often(groups))
