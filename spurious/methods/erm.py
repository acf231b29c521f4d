"""Empirical risk minimisation: the training loop as it is."""

from __future__ import annotations

import torch

from spurious.config import Erm
from spurious.methods.base import Problem
from spurious.train import Fit, Hooks, Loop


def fit(problem: Problem, options: Erm, model: torch.nn.Module, hooks: Hooks) -> Fit:
    """Minimise the mean cross-entropy of the annotated images."""
    loop = Loop(model, problem.task, problem.train, problem.seed, problem.device)
    return loop.run(problem.training, problem.evaluator, hooks)
