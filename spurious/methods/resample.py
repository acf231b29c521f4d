"""ERM on a balanced stream: images are drawn so that every known group comes equally often."""

from __future__ import annotations

from spurious.method_config import Resample
from spurious.methods.base import Problem
from spurious.methods.group_weights import equally_often
from spurious.objective import Objective
from spurious.train import Fit, Hooks


def fit(problem: Problem, options: Resample, hooks: Hooks) -> Fit:
    """Minimise the mean cross-entropy of images drawn with replacement by group."""
    groups = problem.groups
    assert groups is not None
    objective = Objective(problem.task)
    return problem.run(problem.build(), objective, hooks, order=equally_often(groups))
