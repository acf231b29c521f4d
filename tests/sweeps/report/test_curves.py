"""Learning curves: each family finds its own law again, and intervals hold what was planted."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from sweeps.report.inference.curves import (
    HORIZON,
    gain_of_more,
    images_needed,
    is_covered,
    predict,
)

BUDGETS = [100.0, 300.0, 900.0]
LAWS = {
    "power": lambda n: 1 - 1.6 * n**-0.4,
    "logit": lambda n: 1 / (1 + np.exp(2.2 - 0.7 * np.log(n))),
    "offset": lambda n: 1 - (0.06 + 0.34 * (n / 100) ** -0.5),
}


def of_law(name: str, at: list[float]) -> NDArray[np.float64]:
    """(1, X) AUROCs of a law."""
    return np.asarray(LAWS[name](np.array(at)))[None]


@pytest.mark.parametrize("name", LAWS)
def test_each_family_finds_its_own_law(name: str) -> None:
    """Through three budgets, to any number of images."""
    at = [100.0, 500.0, 1800.0]
    found = predict(BUDGETS, of_law(name, BUDGETS), at)
    np.testing.assert_allclose(found[list(LAWS).index(name)], of_law(name, at)[0], atol=1e-9)
    assert len(predict(BUDGETS[:2], of_law(name, BUDGETS[:2]), at)) == 2  # no offset through two


def noisy(name: str, error: float, random: np.random.Generator) -> NDArray[np.float64]:
    """(400, 3) draws around means that are themselves off by as much."""
    truth = of_law(name, BUDGETS)[0]
    means = truth + error * random.standard_normal(3)
    return np.clip(means + error * random.standard_normal((400, 3)), 0, 1)


def test_intervals_hold_what_was_planted() -> None:
    """Images for a score, the gain of more, and the hidden budget: in at least 9 of 10 of each."""
    random, held = np.random.default_rng(5), np.zeros(3)
    runs = 0
    for name in LAWS:
        for _ in range(40):
            draws, runs = noisy(name, 0.012, random), runs + 1
            target = float(of_law(name, [700.0])[0, 0])
            found = images_needed(BUDGETS, draws, target)
            gain = gain_of_more(BUDGETS, draws, 100)
            true_gain = float(np.diff(of_law(name, [900.0, 1000.0])[0])[0])
            held += [
                found.low <= 700.0 * 1.02 and found.high >= 700.0 / 1.02,
                gain.low <= true_gain <= gain.high,
                is_covered(BUDGETS, draws),
            ]
    assert (held / runs >= 0.9).all(), held / runs


def test_what_is_beyond_the_horizon_is_not_told() -> None:
    """A flat curve never reaches a score; one that is there already needs no more than it has."""
    flat = np.full((50, 3), 0.7)
    found = images_needed(BUDGETS, flat, 0.9)
    assert (found.median, found.share) == (math.inf, 0.0)
    assert images_needed(BUDGETS, flat, 0.6).high == BUDGETS[0]
    steep = np.tile(of_law("power", BUDGETS), (50, 1))
    far = float(of_law("power", [HORIZON * BUDGETS[-1] * 1.5])[0, 0])
    assert images_needed(BUDGETS, steep, far).share < 1.0
    broken = np.tile([0.6, 0.7, 0.2], (50, 1)) + 1e-3 * np.random.default_rng(0).random((50, 3))
    assert not is_covered(BUDGETS, broken)
