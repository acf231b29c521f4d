"""Work of trials: images that go through their models, counted by hand."""

from __future__ import annotations

from typing import Any

import pytest
from tiny_sweeps import FACTS, FILMS

from spurious.config.methods import METHODS
from sweeps.plan.plan import make_plan
from sweeps.plan.work import ImageNumbers, Work, count_images, trial_work
from sweeps.spec.model import parse_spec

HELD_OUT = 60
"""Validation and test images of the films together; 100 are for training."""


def work(specificity: str, method: Any, **overrides: Any) -> Work:
    """The work of the only trial of a spec on the films, of budget 20 and 10 epochs."""
    spec = parse_spec(
        FILMS,
        overrides={
            "axes.specificity": [specificity],
            "axes.method": [method],
            "axes.seed": [0],
            "model.classifier": {"name": "four-block", "decoder": "autoencoder"},
            "train.epochs": 10,
            **{key.replace("__", "."): value for key, value in overrides.items()},
        },
    )
    [trial] = make_plan(spec, FACTS).trials
    return trial_work(trial, count_images(FACTS))


@pytest.mark.parametrize(
    ("specificity", "method", "overrides", "trained", "evaluated"),
    [
        ("label", "erm", {}, 20 * 10, HELD_OUT * 10),
        ("label", "erm", {"axes__budget": ["all"]}, 100 * 10, HELD_OUT * 10),
        ("mask", "erm", {"train__evaluate_every": 4}, 20 * 10, HELD_OUT * 3),  # 4, 8 and the last
        # the first, and three a factor of e: 1 + 7 of 10 evaluations score half of the images
        ("mask", "erm", {"train__score_test": "candidates"}, 20 * 10, 30 * 10 + 30 * 8),
        ("mask", "erm", {"rest": "label"}, 2 * 20 * 10, HELD_OUT * 10),
        ("label", "lff", {}, 2 * 20 * 10, HELD_OUT * 10),
        ("mask", "rrr", {}, 2.4 * 20 * 10, HELD_OUT * 10),
        ("mask", "rrr", {"rest": "label"}, 2.4 * 100 * 10, HELD_OUT * 10),
        ("label", {"name": "jtt", "first_epochs": 5}, {}, 20 * 15, HELD_OUT * 15),
        ("label", "cnc", {}, 20 * 20, HELD_OUT * 20),
        ("label", "dfr", {}, 20 * 10, HELD_OUT * 11),  # the last layer is scored once
        ("mask", "ssl", {}, 3 * 20 * 20, HELD_OUT * 20),  # a teacher, and two views of others
    ],
)
def test_work_is_images_by_epochs_by_passes(
    specificity: str, method: Any, overrides: dict[str, Any], trained: float, evaluated: int
) -> None:
    """First models, views, images beyond the budget and evaluations that are left out count."""
    assert work(specificity, method, **overrides) == Work(pytest.approx(trained), evaluated)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_work(name: str) -> None:
    """What each says of its cost is a number that orders trials: more images are more work."""
    specificity = "label" if "label" in METHODS[name].takes else "mask"
    small = work(specificity, name)
    large = work(specificity, name, axes__budget=[40])
    assert 0 < small.relative < large.relative
    assert large.trained == 2 * small.trained


def test_work_without_counts_is_that_of_training() -> None:
    """Before a dataset is staged nothing is known of its held-out images."""
    assert count_images(None) == ImageNumbers(0, 0, 0)
