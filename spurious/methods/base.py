"""What every method is given. It never holds test data; the evaluator does, and only scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from spurious.config import Train
from spurious.evaluate import Evaluator
from spurious.tasks import Task
from spurious.train import Fit, Hooks
from spurious.training_set import TrainingSet


@dataclass(frozen=True)
class Problem:
    """One training problem: annotated images, task, options, and a blind evaluator."""

    training: TrainingSet
    evaluator: Evaluator
    task: Task
    train: Train
    seed: int
    device: torch.device


Method = Callable[[Problem, Any, torch.nn.Module, Hooks], Fit]
