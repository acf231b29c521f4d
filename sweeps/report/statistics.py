"""Summaries over seeds alone, for metrics without readings: they say nothing of other images.

AUROCs have the intervals of `sweeps.report.inference`, for new seeds and new patients.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from spurious.scoring.metric import Metric
from sweeps.errors import ResultError
from sweeps.report.inference.intervals import FEWEST_SEEDS, Interval, t_quantile

RANGES = {
    **dict.fromkeys(("probability", "share of images", "squared probability"), (0.0, 1.0)),
    **dict.fromkeys(("ratio", "score"), (0.0, 1.0)),
    **dict.fromkeys(("nats", "variances of all pixels"), (0.0, math.inf)),
    "cosine similarity": (-1.0, 1.0),
}
"""Unit of a metric to its smallest and largest value."""


@dataclass(frozen=True)
class Summary:
    """One metric of one cell over its seeds.

    Attributes:
        n: Seeds with a defined value.
        undefined: Seeds whose value is NaN; counted here and left out of everything else.
        mean: Mean over the n seeds; NaN for n = 0.
        sd: Sample standard deviation (ddof = 1); NaN for n < 2.
        low: Lower end of the t-interval of the mean; NaN for n < 2 and for equal values.
        high: Upper end of the t-interval of the mean; likewise.
        min: Smallest value; NaN for n = 0.
        max: Largest value; NaN for n = 0.
    """

    n: int
    undefined: int
    mean: float
    sd: float
    low: float
    high: float
    min: float
    max: float


def summarize(values: ArrayLike) -> Summary:
    """Return mean, spread and Student-t interval of the mean over seeds.

    The interval is mean -+ t(n - 1) sd / sqrt(n): not 1.96, which at n = 3 would be less than half
    as wide. `within` cuts it off at the ends of a metric's range. Seeds that do not differ have
    none: an interval of no width would say that nothing is uncertain.

    Args:
        values: (S,), one value per seed, NaN where the metric is undefined.

    Raises:
        ResultError: not one-dimensional, or an infinite value.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ResultError(f"summarize expects one value per seed, shape (S,), got {array.shape}")
    if np.isinf(array).any():
        raise ResultError("a value is infinite; a result table is damaged, pull it again")
    defined = array[~np.isnan(array)]
    n = len(defined)
    if n == 0:
        nan = float("nan")
        return Summary(0, len(array), nan, nan, nan, nan, nan, nan)
    mean = float(defined.mean())
    sd = float(defined.std(ddof=1)) if n > 1 else float("nan")
    equal = sd == 0.0 or (n > 1 and math.isclose(defined.min(), defined.max(), rel_tol=1e-9))
    low, high = (math.nan, math.nan) if equal else t_interval(mean, sd, n)
    return Summary(
        n=n,
        undefined=len(array) - n,
        mean=mean,
        sd=sd,
        low=low,
        high=high,
        min=float(defined.min()),
        max=float(defined.max()),
    )


def within(summary: Summary, metric: Metric) -> Summary:
    """Return a summary whose interval stays inside the values that a metric can have."""
    low, high = RANGES.get(metric.unit, (-math.inf, math.inf))
    if metric.name == "auroc_gap":  # the one difference among probabilities
        low = -1.0
    return replace(summary, low=_clip(summary.low, low, high), high=_clip(summary.high, low, high))


def _clip(value: float, low: float, high: float) -> float:
    return value if math.isnan(value) else min(max(value, low), high)


def summarize_images(values: ArrayLike) -> Summary:
    """As `summarize`, of a property of the annotated images, which training has no part in.

    Seeds that have the same images repeat one draw: where all values are equal, SD is NaN, too.
    """
    summary = summarize(values)
    return replace(summary, sd=math.nan) if summary.n > 1 and math.isnan(summary.low) else summary


def seed_difference(first: Mapping[int, float], second: Mapping[int, float]) -> Interval:
    """Return second minus first over the seeds that both have, for metrics without readings.

    Trials of one seed see the same images and the same random streams, so the difference per seed
    varies less than either mean. Its t-interval says what new seeds would give on these images.

    Args:
        first: Seed to value, without undefined ones.
        second: The same of the other cell.
    """
    seeds = sorted(first.keys() & second.keys())
    values = tuple(second[seed] - first[seed] for seed in seeds)
    summary = summarize(values)
    plain = Interval(values, summary.mean)
    if summary.n < FEWEST_SEEDS:
        return replace(plain, reason=f"fewer than {FEWEST_SEEDS} seeds")
    if math.isnan(summary.low):
        return replace(plain, reason="seeds do not differ")
    error = summary.sd / math.sqrt(summary.n)
    return Interval(
        values, summary.mean, summary.low, summary.high, error, summary.n - 1, "two-sided"
    )


def t_interval(mean: float, sd: float, n: int) -> tuple[float, float]:
    """Student-t interval of the mean of n values of this mean and sample standard deviation.

    Returns:
        Lower and upper end; NaN for n < 2.
    """
    if n < 2:
        return float("nan"), float("nan")
    half = float(t_quantile(n - 1)) * sd / math.sqrt(n)
    return mean - half, mean + half
