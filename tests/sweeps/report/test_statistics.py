"""Summaries over seeds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from spurious.scoring.registry import METRICS
from sweeps.errors import ResultError
from sweeps.report.statistics import seed_difference, summarize, within

AUROCS = st.lists(st.floats(0.0, 1.0), min_size=2, max_size=12)


def test_three_seeds_by_hand() -> None:
    """For 0.7, 0.8, 0.9: sd 0.1 with ddof 1, and t(2) = 4.3027 gives 0.8 -+ 0.2484."""
    found = summarize([0.7, 0.8, 0.9])
    assert (found.n, found.undefined) == (3, 0)
    assert found.mean == pytest.approx(0.8)
    assert found.sd == pytest.approx(0.1)
    assert found.low == pytest.approx(0.8 - 4.302653 * 0.1 / math.sqrt(3), abs=1e-6)
    assert found.high == pytest.approx(0.8 + 4.302653 * 0.1 / math.sqrt(3), abs=1e-6)
    assert (found.min, found.max) == (0.7, 0.9)


def test_one_seed_has_no_interval() -> None:
    """One seed has a mean but neither a spread nor an interval."""
    found = summarize([0.62])
    assert (found.n, found.mean, found.min, found.max) == (1, 0.62, 0.62, 0.62)
    assert math.isnan(found.sd)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_nan_is_counted_and_left_out() -> None:
    """A NaN changes nothing but its own count; it is never a zero."""
    with_nan, without = summarize([0.4, math.nan, 0.6]), summarize([0.4, 0.6])
    assert with_nan.undefined == 1
    assert with_nan.mean == without.mean == pytest.approx(0.5)
    assert (with_nan.sd, with_nan.low, with_nan.min) == (without.sd, without.low, without.min)


def test_nothing_defined() -> None:
    """No seed, or only undefined ones, give NaN everywhere and a count."""
    assert summarize([]).n == 0
    found = summarize([math.nan, math.nan])
    assert (found.n, found.undefined) == (0, 2)
    assert all(math.isnan(value) for value in (found.mean, found.sd, found.low, found.max))


@pytest.mark.parametrize("values", [[0.1, math.inf], [[0.1, 0.2]]])
def test_what_is_no_metric_is_refused(values: list[float]) -> None:
    """Infinite values and arrays with more than the seed axis are refused."""
    with pytest.raises(ResultError):
        summarize(values)


@given(AUROCS)
def test_interval_is_scipys(values: list[float]) -> None:
    """The interval is the one that scipy.stats.t gives for the same mean and standard error.

    Equal values have none: one without width would say that nothing is uncertain.
    """
    found = summarize(values)
    error = stats.sem(values)
    if error == 0 or math.isclose(min(values), max(values), rel_tol=1e-9):
        assert math.isnan(found.low)
    else:
        expected = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=error)
        assert (found.low, found.high) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(AUROCS, st.floats(-5.0, 5.0))
def test_shift_moves_everything_alike(values: list[float], shift: float) -> None:
    """Adding a constant moves mean and interval by it and leaves the spread."""
    found, moved = summarize(values), summarize(np.array(values) + shift)
    assert moved.mean == pytest.approx(found.mean + shift, abs=1e-9)
    if not math.isnan(found.low + moved.low):
        assert moved.low == pytest.approx(found.low + shift, abs=1e-9)
    assert moved.sd == pytest.approx(found.sd, abs=1e-9)


def test_interval_covers_at_three_seeds() -> None:
    """Over many samples of three normal seeds, 95 % of the intervals hold the true mean."""
    samples = np.random.default_rng(5).normal(0.7, 0.03, size=(4000, 3))
    found = [summarize(sample) for sample in samples]
    covered = np.mean([one.low <= 0.7 <= one.high for one in found])
    assert 0.94 < covered < 0.96


def test_seed_difference_uses_common_seeds() -> None:
    """Seeds that one side lacks are left out; the noise that both sides share cancels."""
    noise = [0.10, -0.10, 0.05]
    first = {seed: 0.6 + shift for seed, shift in enumerate(noise)}
    second = {seed: 0.63 + shift + 0.001 * seed for seed, shift in enumerate(noise)} | {7: 0.1}
    found = seed_difference(first, second)
    assert (len(found.seeds), found.kind) == (3, "two-sided")
    assert found.mean == pytest.approx(0.031)
    assert found.high - found.low < 0.01
    assert seed_difference(first, {0: 0.6, 1: 0.5}).reason == "fewer than 3 seeds"
    assert seed_difference(first, first).reason == "seeds do not differ"


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("dice", 0.0, 1.0),
        ("auroc_gap", -1.0, 1.0),
        ("alignment_y0", -1.0, 1.0),
        ("brier", 0.0, 1.0),
    ],
)
def test_intervals_stay_in_the_range_of_their_metric(name: str, low: float, high: float) -> None:
    """Seeds that differ much give an interval that ends where values do."""
    found = within(summarize([low, high, high]), METRICS[name])
    assert (found.low, found.high) == (low, high)
    loss = within(summarize([0.0, 4.0, 9.0]), METRICS["loss"])
    assert loss.low == 0.0
    assert loss.high > 9.0
