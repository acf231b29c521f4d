"""eXBL's rule where it cannot pick: what is refused, when, and the remedies that messages name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from small_data import copy_array, fit_config, fitted, no_weights, read_only, squares, with_arrays

from spurious.config.exemplars import Exbl
from spurious.config.machine import Machine
from spurious.config.options import Budget, FitConfig, Specificity
from spurious.errors import ConfigError
from spurious.fit import _problem
from spurious.methods import exbl
from spurious.methods.exemplars import find_exemplars
from spurious.training.loop import Hooks


def refuse_training(*_: Any) -> bytes:
    """A first model that must not be asked for."""
    raise AssertionError("a first model was asked for")


UNTRAINED = Hooks(shared_models=refuse_training)


@pytest.fixture(autouse=True)
def one_thread(torch_settings: None) -> None:
    """As fits run here."""
    torch.set_num_threads(1)


def config_of(kind: str = "label", r: int | None = None, **options: Any) -> FitConfig:
    """eXBL after two epochs of a first model."""
    return replace(
        fit_config("label", batch_size=10, epochs=1),
        specificity=Specificity(kind, r=r),  # type: ignore[arg-type]
        budget=Budget(None, "natural"),
        method_name="exbl",
        method=Exbl(**{"first_epochs": 2, **options}),
    )


@pytest.mark.parametrize(("kind", "fine"), [("mask", None), ("box", None), ("r", 8)])
def test_regions_that_cover_the_image(kind: str, fine: int | None) -> None:
    """Nothing trains; the remedies that the message names are taken."""
    data = squares(n_train=23)
    masks = copy_array(data, "masks")
    masks[data.labels == 1] = kind != "r"
    masks[data.labels == 1, 7:9, 7:9] = True
    wide = read_only(with_arrays(data, masks=masks))
    coarse = config_of(kind, 2 if fine else None)
    expected = "use a larger r, or use label" if fine else "use label"
    count = int((data.labels[data.rows("train")] == 1).sum())
    message = f"{count} have a region, of which {count} cover the whole image; {expected}"
    with pytest.raises(ConfigError, match=message):
        exbl.fit(_problem(wide, coarse, Machine(), no_weights), coarse.method, UNTRAINED)
    good, bad = (str(name) for name in data.sample_ids[data.rows("train")[:2]])
    assert fitted(wide, config_of(good=good, bad=bad)).rows
    if fine:
        assert fitted(wide, config_of(kind, fine)).rows


def test_too_few_regions() -> None:
    """The remedy that the message names is taken."""
    few = replace(config_of("mask"), budget=Budget(2))
    with pytest.raises(ConfigError, match=r"have a region, of which 0 .*; raise the budget"):
        fitted(squares(n_train=23), few)
    assert fitted(squares(n_train=23), replace(few, budget=Budget(12))).rows


def test_explanations_of_zeros() -> None:
    """Of a first model that has learnt nothing; one that is trained has others."""
    problem = _problem(squares(n_train=23), config_of("mask"), Machine(), no_weights)
    dead = problem.build()
    with torch.no_grad():
        dead.get_parameter("head.weight").zero_()
    with pytest.raises(ConfigError, match=r"0 everywhere on all .* but 0; .* larger first_epochs"):
        find_exemplars(problem, problem.config.method, dead.eval())
    assert fitted(squares(n_train=23), config_of("mask", first_epochs=3)).rows
