"""Intervals over seeds and patients against brute force and closed forms."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from sweeps.report.inference.components import arrange, delong, mid_ranks, take_reading
from sweeps.report.inference.intervals import (
    cell_interval,
    difference_interval,
    exact_bound,
    logit_limits,
    standard_error,
)
from sweeps.report.inference.orders import holm, judge_orders, p_value

Floats = NDArray[np.float64]


def psi(positives: Floats, negatives: Floats) -> Floats:
    """(S, m, n) by comparing every pair."""
    difference = positives[:, :, None] - negatives[:, None, :]
    return (difference > 0) + 0.5 * (difference == 0)


def slow_covariance(positives: Floats, negatives: Floats) -> tuple[Floats, Floats]:
    """AUROCs and their (S, S) DeLong covariance from all pairs, without ranks."""
    kernel = psi(positives, negatives)
    of_positives, of_negatives = kernel.mean(axis=2), kernel.mean(axis=1)
    covariance = np.cov(of_positives) / positives.shape[1]
    return kernel.mean(axis=(1, 2)), covariance + np.cov(of_negatives) / negatives.shape[1]


def scores(seeds: int, m: int, n: int, separation: float, ties: bool = True) -> list[Floats]:
    """Scores of positives and negatives that share images over seeds; rounded to give ties."""
    random = np.random.default_rng(seeds * 1000 + m)
    both = random.standard_normal(m + n) + 0.6 * random.standard_normal((seeds, m + n))
    both[:, :m] += separation
    both = np.round(both, 1) if ties else both
    return [both[:, :m], both[:, m:]]


def test_mid_ranks_are_scipys() -> None:
    """With ties, along the last axis."""
    values = np.random.default_rng(1).integers(0, 6, size=(3, 4, 17)).astype(float)
    np.testing.assert_array_equal(mid_ranks(values), stats.rankdata(values, axis=-1))


@pytest.mark.parametrize(("m", "n"), [(2, 3), (20, 20), (66, 85)])
def test_inner_products_are_delongs_covariance(m: int, n: int) -> None:
    """Against all pairs, with ties and with a class of two."""
    positives, negatives = scores(4, m, n, 0.8)
    value, components = delong(positives, negatives)
    expected, covariance = slow_covariance(positives, negatives)
    np.testing.assert_allclose(value, expected, atol=1e-12)
    np.testing.assert_allclose(components @ components.T, covariance, atol=1e-12)


def slow_obuchowski(kernel: Floats, of_positive: Floats, of_negative: Floats) -> Floats:
    """(S, S) covariance of AUROCs with several images a patient, equations 3 to 8 by loops."""
    seeds, m, n = kernel.shape
    value = kernel.mean(axis=(1, 2))
    patients = sorted({*of_positive, *of_negative})
    x, y = (np.zeros((seeds, len(patients))) for _ in range(2))
    for k, patient in enumerate(patients):
        x[:, k] = (kernel.mean(axis=2) - value[:, None])[:, of_positive == patient].sum(axis=1)
        y[:, k] = (kernel.mean(axis=1) - value[:, None])[:, of_negative == patient].sum(axis=1)
    i10, i01, i = len(set(of_positive)), len(set(of_negative)), len(patients)
    s10, s01 = i10 / ((i10 - 1) * m) * x @ x.T, i01 / ((i01 - 1) * n) * y @ y.T
    s11 = i / (i - 1) * x @ y.T
    return np.asarray(s10 / m + s01 / n + (s11 + s11.T) / (m * n))


def test_patients_with_several_images_are_summed() -> None:
    """Obuchowski's covariance, where patients have images of one class or of both."""
    random = np.random.default_rng(3)
    labels = np.repeat([1, 0], [24, 40])
    patients = random.integers(0, 26, size=64)
    values = np.round(random.standard_normal((3, 64)) + labels, 1)
    samples = [f"i{k}" for k in range(64)]
    images = arrange(labels, samples, patients.astype(str).tolist())
    readings = [take_reading(images, row) for row in values]
    kernel = psi(values[:, :24], values[:, 24:])
    expected = slow_obuchowski(kernel, patients[:24], patients[24:])
    stacked = np.stack([r.components for r in readings if r is not None]).astype(float)
    np.testing.assert_allclose(stacked @ stacked.T, expected, rtol=1e-5)
    assert readings[0] is not None
    assert readings[0].value == pytest.approx(kernel[0].mean())
    assert readings[0].cases == min(len(set(patients[:24])), len(set(patients[24:])))
    order = random.permutation(64)
    shuffled = [part[order] for part in (labels, np.array(samples), patients)]
    again = take_reading(arrange(*shuffled), values[0][order])
    assert again is not None
    assert again.images == readings[0].images
    np.testing.assert_array_equal(again.components, readings[0].components)


def test_one_class_or_a_nan_is_undefined() -> None:
    """No AUROC, no reading."""
    ids = ["a", "b", "c"]
    assert take_reading(arrange(np.ones(3, dtype=np.int64), ids, ids), np.arange(3.0)) is None
    labels = np.array([1, 0, 0])
    assert take_reading(arrange(labels, ids, ids), np.array([0.1, math.nan, 0.2])) is None


def test_interval_is_the_formula_by_loops() -> None:
    """MS, Cov2, se, df and the logit as in the package's docstring, from the slow covariance."""
    positives, negatives = scores(5, 30, 40, 1.1)
    values, covariance = slow_covariance(positives, negatives)
    pairs = [covariance[a, b] for a, b in itertools.permutations(range(5), 2)]
    ms, cov2, mean = values.var(ddof=1), max(np.mean(pairs), 0.0), values.mean()
    se = math.sqrt(ms / 5 + cov2)
    df = (ms + 5 * cov2) ** 2 / (ms**2 / 4)
    half = stats.t.ppf(0.975, df) * se / (mean * (1 - mean))
    result = cell_interval(*delong(positives, negatives), 30)
    assert (result.mean, result.se, result.df) == pytest.approx((mean, se, df))
    logit = math.log(mean / (1 - mean))
    ends = [1 / (1 + math.exp(-(logit + sign * half))) for sign in (-1, 1)]
    assert (result.low, result.high) == pytest.approx(ends)
    assert (result.kind, result.reason) == ("two-sided", "")


def test_difference_is_the_same_on_differences() -> None:
    """Paired by seed: the covariance of differences, no logit."""
    first, second = scores(4, 30, 30, 0.5), scores(4, 30, 30, 0.5)
    second[0] = second[0] + 0.4
    sides = [delong(*side) for side in (first, second)]
    both = (
        np.concatenate([side[0] for side in (first, second)]),
        np.concatenate([side[1] for side in (first, second)]),
    )
    values, covariance = slow_covariance(*both)
    contrast = np.hstack([-np.eye(4), np.eye(4)])
    differences, covariance = contrast @ values, contrast @ covariance @ contrast.T
    off = (covariance.sum() - np.trace(covariance)) / 12
    se = math.sqrt(differences.var(ddof=1) / 4 + max(off, 0.0))
    result = difference_interval(sides[0][0], sides[1][0], sides[0][1], sides[1][1], 30)
    ms = max(differences.var(ddof=1), np.trace(covariance) / 4 - off)
    df = (ms + 4 * max(off, 0.0)) ** 2 / (ms**2 / 3)
    assert (result.mean, result.se, result.df) == pytest.approx((differences.mean(), se, df))
    half = stats.t.ppf(0.975, min(result.df, 1e6)) * se
    assert (result.low, result.high) == pytest.approx((result.mean - half, result.mean + half))


def test_no_interval_leaves_its_range_and_seeds_have_no_order() -> None:
    """Small sets of images at every level of AUROC; shuffled seeds change nothing."""
    random = np.random.default_rng(8)
    for separation in (-3.0, -0.5, 0.0, 1.0, 2.5, 4.0):
        values, components = delong(*scores(3, 10, 12, separation, ties=False))
        result = cell_interval(values, components, 10)
        assert result.kind == "none" or 0.0 <= result.low <= result.mean <= result.high <= 1.0
        order = random.permutation(3)
        again = cell_interval(values[order], components[order], 10)
        for name in ("mean", "low", "high", "kind", "reason"):
            assert getattr(again, name) == pytest.approx(getattr(result, name), nan_ok=True)
        other = delong(*scores(3, 10, 12, -separation, ties=False))
        both = difference_interval(other[0], values, other[1], components, 10)
        assert both.kind == "none" or -1.0 <= both.low <= both.mean <= both.high <= 1.0


@pytest.mark.parametrize(
    ("values", "known", "cases", "reason"),
    [
        ([0.7, 0.8], True, 50, "fewer than 3 seeds"),
        ([], True, 50, "fewer than 3 seeds"),
        ([0.7, 0.8, 0.75], True, 9, "fewer than 10 images of a class"),
        ([0.7, 0.8, 0.75], False, 50, "no stored predictions at the epoch that counts"),
        ([0.0, 1.0, 0.0], True, 50, "seeds fall apart into groups that are 1.00 away"),
        ([0.84, 0.0, 0.56], True, 50, "seeds fall apart into groups that are 0.56 away"),
        ([0.5, 0.5, 0.5], True, 50, "neither seeds nor images differ"),
    ],
)
def test_abstentions_keep_the_seeds_and_say_why(
    values: list[float], known: bool, cases: int, reason: str
) -> None:
    """No limits, the seeds as they are, the reason."""
    components = np.zeros((len(values), 40)) if known else None
    result = cell_interval(values, components, cases)
    assert result.reason.startswith(reason)
    assert (result.kind, result.seeds) == ("none", tuple(values))
    assert math.isnan(result.low)
    assert math.isnan(result.high)


@pytest.mark.parametrize("cases", [10, 66, 400])
def test_a_mean_of_exactly_0_or_1_has_a_one_sided_bound(cases: int) -> None:
    """That of scipy for as many successes as trials; never a point."""
    bound = stats.binomtest(cases, cases, alternative="greater").proportion_ci(0.95).low
    assert exact_bound(cases) == pytest.approx(bound)
    nothing = np.zeros((3, 40))
    one, none = (cell_interval([value] * 3, nothing, cases) for value in (1.0, 0.0))
    assert (one.kind, one.low, one.high) == ("at least", pytest.approx(bound), 1.0)
    assert (none.kind, none.low, none.high) == ("at most", 0.0, pytest.approx(1 - bound))


def test_cells_that_are_exact_differ_by_no_point() -> None:
    """Two cells at 1 are alike within their bounds; 1 and 0 differ, with a p-value of their own."""
    nothing = np.zeros((3, 40))
    slack = 1 - 0.025 ** (1 / 30)
    alike = difference_interval([1.0] * 3, [1.0] * 3, nothing, nothing, 30)
    assert (alike.low, alike.high) == pytest.approx((-slack, slack))
    assert p_value(alike) == 1.0
    apart = difference_interval([0.0] * 3, [1.0] * 3, nothing, nothing, 30)
    assert (apart.low, apart.high) == pytest.approx((1 - 2 * slack, 1.0))
    assert p_value(apart) == pytest.approx(2 * 0.5**30)


def test_p_value_and_limits_agree() -> None:
    """At 5 % exactly where the 95 % limits touch 0."""
    sides = [delong(*scores(4, 30, 30, shift)) for shift in (0.4, 0.9)]
    result = difference_interval(sides[0][0], sides[1][0], sides[0][1], sides[1][1], 30)
    level = 1 - p_value(result)
    touching = difference_interval(sides[0][0], sides[1][0], sides[0][1], sides[1][1], 30, level)
    assert touching.low == pytest.approx(0.0, abs=1e-9)


def test_holm_rejects_step_by_step() -> None:
    """By hand: 0.01 < 0.05 / 4, 0.013 < 0.05 / 3, 0.03 > 0.05 / 2 ends it."""
    assert holm([0.03, 0.01, 0.04, 0.013], 0.05) == [False, True, False, True]
    assert holm([], 0.05) == []


def test_orders_are_confirmed_contradicted_or_left_with_what_they_need() -> None:
    """A large gap either way, and a small one with the seeds that would decide it."""
    low, high, near = (delong(*scores(3, 400, 400, shift)) for shift in (0.2, 1.5, 0.23))
    pairs = [(low, high), (high, low), (low, near)]
    found = judge_orders([difference_interval(a[0], b[0], a[1], b[1], 400) for a, b in pairs])
    assert [order.verdict for order in found[:2]] == ["confirmed", "contradicted"]
    random = np.random.default_rng(2)
    noisy = [0.70, 0.62, 0.78], [0.80, 0.81, 0.74]
    small = random.standard_normal((2, 3, 50)) * 1e-3
    wide = difference_interval(noisy[0], noisy[1], small[0], small[1], 50)
    [order] = judge_orders([wide])
    assert order.verdict == "not decided"
    assert order.seeds is not None
    assert 3 < order.seeds <= 30
    enough = stats.t.ppf(0.975, order.seeds - 1) * math.sqrt(np.var(wide.seeds, ddof=1))
    assert enough / math.sqrt(order.seeds) < abs(wide.mean)


def test_limits_and_errors_take_leading_axes() -> None:
    """A stack of replicates gives what each gives alone: the benchmark's way."""
    stacked = [delong(*scores(3, 20, 25, shift)) for shift in (0.5, 1.0)]
    values, components = (np.stack(part) for part in zip(*stacked, strict=True))
    mean, se, df = standard_error(values, components)
    low, high = logit_limits(mean, se, df)
    for k, (value, parts) in enumerate(stacked):
        alone = cell_interval(value, parts, 20)
        assert (low[k], high[k]) == pytest.approx((alone.low, alone.high))


def test_last_bits_are_no_spread() -> None:
    """Differences that are the same but for rounding have no interval of no width."""
    first = [0.9967105263157895, 0.9703947368421053, 0.9967105263157895]
    second = [value - 0.006578947368421018 for value in first]
    second[1] = float(np.nextafter(second[1], 0.0))
    assert len({low - high for low, high in zip(second, first, strict=True)}) == 2
    same = np.tile(np.linspace(-0.01, 0.01, 20), (3, 1))
    found = difference_interval(first, second, same, same, 40)
    assert (found.kind, found.reason) == ("none", "neither seeds nor images differ")
