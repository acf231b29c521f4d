"""Empirical risk minimisation: the training loop as it is."""

from __future__ import annotations

from spurious.config.methods import Erm
from spurious.methods.base import TrainingProblem
from spurious.training.loop import Fit, Hooks
from spurious.training.objective import Objective


def fit(problem: TrainingProblem, options: Erm, hooks: Hooks) -> Fit:
    """Minimise the mean cross-entropy of the annotated images."""
    return problem.run(problem.build(), Objective(problem.supervision), hooks)
