"""Empirical risk minimisation: the training loop as it is."""

from __future__ import annotations

from spurious.method_config import Erm
from spurious.methods.base import Problem
from spurious.objective import Objective
from spurious.train import Fit, Hooks


def fit(problem: Problem, options: Erm, hooks: Hooks) -> Fit:
    """Minimise the mean cross-entropy of the annotated images."""
    return problem.run(problem.build(), Objective(problem.task), hooks)
