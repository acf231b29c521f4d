"""Training problems of methods that steer, and the losses that these give to the loop."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import Any

from small_data import fit_config, no_weights, squares

from spurious.config.machine import Machine
from spurious.config.methods import METHODS
from spurious.config.models import SmallCnn
from spurious.config.options import Budget, Specificity, WeakLabels
from spurious.fit import _problem
from spurious.methods.base import TrainingProblem
from spurious.methods.steered import Steered
from spurious.training.model import Model


def objective_of(problem: TrainingProblem, name: str, options: Any, model: Model) -> Steered:
    """The loss that a method gives to the loop."""
    given: list[Any] = []

    def take(model: Model, objective: Steered, hooks: Any) -> None:
        given.extend((model, objective))

    module = import_module(f"spurious.methods.{name.replace('-', '_')}")
    watched = replace(problem, build=lambda: model)
    object.__setattr__(watched, "run", take)
    module.fit(watched, options, None)
    assert given[0] is model
    objective: Steered = given[1]
    return objective


def problem_of(
    name: str, side: int, rest: bool = False, **options: Any
) -> tuple[TrainingProblem, Any]:
    """Twenty-three images, of which all or twelve have their region drawn."""
    data = squares(image_size=side, n_train=23)
    chosen = METHODS[name](**options)
    config = replace(
        fit_config("label", batch_size=10),
        specificity=Specificity("mask"),
        budget=Budget(12 if rest else None, "natural"),
        method_name=name,
        method=chosen,
        rest=WeakLabels() if rest else None,
        model=SmallCnn(channels=4, levels=1),
    )
    return _problem(data, config, Machine(), no_weights), chosen
