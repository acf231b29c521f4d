"""Draws of all cells: their moments, and the probabilities that are read from them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from sweeps.report.frontier import on_frontier
from sweeps.report.inference.attainment import attainment
from sweeps.report.inference.components import delong
from sweeps.report.inference.intervals import exact_bound, logit_limits, standard_error
from sweeps.report.inference.joint import (
    Joint,
    draw,
    frontier_probability,
    joint_distribution,
    non_inferiority,
)

Floats = NDArray[np.float64]
SEEDS = np.array([3, 3])


def cells(levels: tuple[float, ...], seeds: int = 4) -> tuple[Floats, Floats]:
    """(C, S) AUROCs and (C, S, L) components of cells that share 40 + 50 images."""
    random = np.random.default_rng(11)
    image = random.standard_normal(90)
    sides = []
    for level in levels:
        score = image + random.standard_normal(90) + 0.7 * random.standard_normal((seeds, 90))
        score[:, :40] += level + 0.3 * random.standard_normal((seeds, 1))
        sides.append(delong(score[:, :40], score[:, 40:]))
    values, components = zip(*sides, strict=True)
    return np.stack(values), np.stack(components)


def test_variances_are_those_of_cells_and_of_paired_differences() -> None:
    """One matrix says what the intervals say one by one."""
    values, components = cells((0.4, 0.8, 1.3))
    joint = joint_distribution(values, components, 40)
    mean, se, df = standard_error(values, components)
    np.testing.assert_allclose(joint.mean, mean)
    np.testing.assert_allclose(np.diag(joint.covariance), se**2)
    np.testing.assert_allclose(joint.df, df)
    assert np.linalg.eigvalsh(joint.covariance).min() > -1e-12
    v = joint.covariance
    _, apart, _ = standard_error(values[1] - values[0], components[1] - components[0])
    assert v[0, 0] + v[1, 1] - 2 * v[0, 1] == pytest.approx(apart**2, rel=0.02)


def test_missing_seeds_are_left_out() -> None:
    """A cell without a seed has the moments of the others; one with a single seed has none."""
    values, components = cells((0.4, 0.8, 1.3))
    values[1, 2] = math.nan
    values[2, 1:] = math.nan
    joint = joint_distribution(values, components, 40)
    kept = [0, 1, 3]
    mean, se, _ = standard_error(values[1, kept], components[1, kept])
    assert (joint.mean[1], joint.covariance[1, 1]) == pytest.approx((mean, se**2))
    assert math.isnan(joint.mean[2])
    draws = draw(joint)
    assert np.isnan(draws[:, 2]).all()
    shares = frontier_probability([1.0, 2.0, 0.5], draws)
    assert shares[0] == 1.0
    assert math.isnan(shares[2])
    assert np.isnan(attainment([1.0, 2.0, 0.5], draws).best[:, 2]).all()


def test_plain_draws_have_the_moments_and_stay_inside() -> None:
    """Mean and covariance where no logit is needed; t widens; nothing leaves [0, 1]."""
    covariance = np.array([[4e-4, 2e-4], [2e-4, 9e-4]])
    joint = Joint(np.array([0.6, 0.7]), covariance, np.array([3.0, 3.0]), SEEDS, 40)
    plain = draw(joint, 40000, scaled=False)
    np.testing.assert_allclose(plain.mean(axis=0), joint.mean, atol=1e-3)
    np.testing.assert_allclose(np.cov(plain.T), covariance, atol=2e-5)
    assert draw(joint, 40000).std() > plain.std()
    many = replace(joint, seeds=np.array([6, 6]))
    assert draw(many, 40000).std() == pytest.approx(plain.std(), rel=0.02)
    edge = Joint(np.array([0.97, 0.04]), np.diag([4e-3, 4e-3]), np.array([2.0, 2.0]), SEEDS, 40)
    assert ((draw(edge) >= 0.0) & (draw(edge) <= 1.0)).all()
    np.testing.assert_array_equal(draw(joint), draw(joint))


def test_exact_cells_are_drawn_from_their_bound() -> None:
    """5 % of the draws lie beyond the one-sided bound."""
    joint = Joint(np.array([1.0, 0.0]), np.zeros((2, 2)), np.array([np.inf] * 2), SEEDS, 30)
    draws = draw(joint, 40000)
    assert np.mean(draws[:, 0] < exact_bound(30)) == pytest.approx(0.05, abs=0.004)
    assert np.mean(draws[:, 1] > 1 - exact_bound(30)) == pytest.approx(0.05, abs=0.004)


def test_probabilities_are_counts_of_draws() -> None:
    """Against the frontier, the best and the regret of every draw, one by one."""
    draws = np.random.default_rng(4).uniform(size=(300, 5)).round(1)
    draws[:, 3] = math.nan
    dollars = np.array([3.0, 1.0, 2.0, 0.5, 2.0])
    expected = np.mean([on_frontier(dollars, row) for row in draws], axis=0)
    shares = frontier_probability(dollars, draws)
    np.testing.assert_allclose(shares[[0, 1, 2, 4]], expected[[0, 1, 2, 4]])
    assert math.isnan(shares[3])
    margin = non_inferiority(draws, 0, 0.15)
    assert margin[0] == 1.0
    assert margin[1] == np.mean(draws[:, 1] >= draws[:, 0] - 0.15)
    assert np.isnan(non_inferiority(draws, 3, 0.15)).all()


def test_attainment_by_hand() -> None:
    """Four draws of a cell for $1, two for $3 and an undefined one; of equals the cheapest."""
    draws = np.array(
        [
            [0.7, 0.5, 0.6, math.nan],
            [0.8, 0.6, 0.7, math.nan],
            [0.7, 0.7, 0.9, math.nan],
            [0.9, 0.8, 0.9, math.nan],
        ]
    )
    reached = attainment([3.0, 1.0, 3.0, 2.0], draws)
    assert reached.dollars.tolist() == [1.0, 3.0]
    np.testing.assert_allclose(reached.median, [0.65, 0.85])
    np.testing.assert_allclose(reached.low, [0.5075, 0.7075])
    np.testing.assert_allclose(reached.high, [0.7925, 0.9])
    nan = math.nan
    np.testing.assert_array_equal(reached.best, [[nan, 1.0, nan, nan], [0.75, 0.0, 0.25, nan]])
    np.testing.assert_allclose(
        reached.regret, [[nan, 0.0, nan, nan], [0.05, 0.175, 0.05, nan]], atol=1e-12
    )


def test_attainment_is_a_count_of_draws() -> None:
    """Against every draw and sum, one by one; a sum buys at least what a smaller one does."""
    draws = np.random.default_rng(7).uniform(size=(500, 6))
    dollars = np.array([5.0, 1.0, 2.0, 2.0, 9.0, math.nan])
    reached = attainment(dollars, draws)
    assert reached.dollars.tolist() == [1.0, 2.0, 5.0, 9.0]
    for x, most in enumerate(reached.dollars):
        mine = np.flatnonzero(dollars <= most)
        top = draws[:, mine].max(axis=1)
        winners = mine[draws[:, mine].argmax(axis=1)]
        np.testing.assert_allclose(reached.best[x, mine], [np.mean(winners == c) for c in mine])
        np.testing.assert_allclose(reached.regret[x, mine], top.mean() - draws[:, mine].mean(0))
        quantiles = [of[x] for of in (reached.low, reached.median, reached.high)]
        np.testing.assert_allclose(quantiles, np.quantile(top, [0.025, 0.5, 0.975]))
    np.testing.assert_allclose(np.nansum(reached.best, axis=1), 1.0)
    assert len(attainment([math.nan], np.array([[0.5]])).dollars) == 0


def test_draws_agree_with_the_interval() -> None:
    """A wide cell's draws have its interval as quantiles, though its mean is not near an edge."""
    joint = Joint(np.array([0.855]), np.array([[0.005]]), np.array([2.3]), SEEDS[:1], 40)
    low, high = logit_limits(joint.mean, np.sqrt(np.diag(joint.covariance)), joint.df)
    draws = draw(joint, 200_000)[:, 0]
    assert np.quantile(draws, [0.025, 0.975]) == pytest.approx([low[0], high[0]], abs=0.01)
