"""Summaries over seeds. The seed is the replication unit; images and epochs are not."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sweeps.errors import ResultError

CONFIDENCE = 0.95
"""Coverage of every interval."""


@dataclass(frozen=True)
class Summary:
    """One metric of one cell over its seeds.

    Attributes:
        n: Seeds with a defined value.
        undefined: Seeds whose value is NaN; counted here and left out of everything else.
        mean: Mean over the n seeds; NaN for n = 0.
        sd: Sample standard deviation (ddof = 1); NaN for n < 2.
        low: Lower end of the t-interval of the mean; NaN for n < 2.
        high: Upper end of the t-interval of the mean; NaN for n < 2.
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
    as wide. It is not clipped to the metric's range; a figure may clip what it draws.

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
    low, high = t_interval(mean, sd, n)
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


def summarize_images(values: ArrayLike) -> Summary:
    """As `summarize`, of a property of the annotated images, which training has no part in.

    Seeds that have the same images repeat one draw: where all values are equal, SD and interval
    are NaN. An interval of no width would say that nothing is uncertain.
    """
    summary = summarize(values)
    if summary.n > 1 and math.isclose(summary.min, summary.max, rel_tol=1e-9):
        nan = float("nan")
        return replace(summary, sd=nan, low=nan, high=nan)
    return summary


def paired_difference(first: ArrayLike, second: ArrayLike) -> Summary:
    """Summary of second - first over the seeds that both have.

    Trials of one seed see the same images and the same random streams, so the difference per seed
    varies less than either mean.

    Args:
        first: (S,), one value per seed, NaN where missing.
        second: (S,), the same seeds in the same order.
    """
    difference: NDArray[np.float64] = np.asarray(second, dtype=np.float64) - np.asarray(
        first, dtype=np.float64
    )
    return summarize(difference)


def t_interval(mean: float, sd: float, n: int) -> tuple[float, float]:
    """Student-t interval of the mean of n values of this mean and sample standard deviation.

    Returns:
        Lower and upper end; NaN for n < 2.
    """
    if n < 2:
        return float("nan"), float("nan")
    half = _t_quantile(n - 1) * sd / math.sqrt(n)
    return mean - half, mean + half


def _t_quantile(degrees: int) -> float:
    """Two-sided Student-t quantile; scipy is imported here to keep `sweeps` quick to start."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, 0.5 + CONFIDENCE / 2.0))
