"""Intervals of a cell and of a paired difference, and when none is printed.

Shape legend: S seeds, L components; leading axes are kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
CONFIDENCE = 0.95
FEWEST_SEEDS = 3
FEWEST_IMAGES = 10
BIMODAL = 0.5
"""Gap between neighbouring seeds above which a mean describes no seed."""
_WEAK_AUROC, _WEAK_CASES = 0.95, 20
"""A weak corner of docs/statistics.md."""
_ROUNDING = 1e-12
"""Standard errors below it are of values that differ in their last bits alone."""
_NORMAL = 1e6
"""Degrees of freedom from which on t is the normal distribution."""

Kind = Literal["two-sided", "at least", "at most", "none"]


@dataclass(frozen=True)
class Interval:
    """A mean over seeds with what is known of it.

    Attributes:
        seeds: The values, in the order of the seeds.
        mean: Their mean; NaN without one.
        low: Lower limit; NaN where `kind` is `none`.
        high: Upper limit; likewise.
        se: Standard error over seeds and patients; NaN where unknown.
        df: Degrees of freedom of it; infinite where seeds do not differ.
        kind: `at least` and `at most` are one-sided exact bounds, whose other end is 1 or 0.
        reason: Why none can be given; empty where one is.
        cases: Patients with an image of the rarer class; 0 where nobody knows.
    """

    seeds: tuple[float, ...]
    mean: float
    low: float = math.nan
    high: float = math.nan
    se: float = math.nan
    df: float = math.nan
    kind: Kind = "none"
    reason: str = ""
    cases: int = 0

    @property
    def is_near_end(self) -> bool:
        """Whether it is of few images near 0 or 1, where intervals are somewhat too narrow."""
        is_extreme = abs(self.mean - 0.5) >= _WEAK_AUROC - 0.5
        return self.kind == "two-sided" and is_extreme and 0 < self.cases <= _WEAK_CASES

    @property
    def width(self) -> float:
        """Upper minus lower limit; NaN without an interval."""
        return self.high - self.low


def standard_error(
    values: Floats, components: Floats, paired: bool = False
) -> tuple[Floats, Floats, Floats]:
    """Return mean, standard error and degrees of freedom over readers and cases.

    Args:
        values: (..., S) AUROCs, or their differences.
        components: (..., S, L) of the same.
        paired: Whether they are differences. Few seeds may differ less, by chance, than their
            images alone make them differ, which would give too many degrees of freedom: there MS
            in df is at least the mean variance minus the mean covariance of C.

    Returns:
        Three arrays (...): A, se and df of the package's formulas.
    """
    seeds = values.shape[-1]
    ms = values.var(axis=-1, ddof=1)
    variances = np.square(components).sum(axis=(-2, -1))
    total = np.square(components.sum(axis=-2)).sum(axis=-1)
    covariance = (total - variances) / (seeds * (seeds - 1))
    cov2 = np.maximum(covariance, 0.0)
    spread = np.maximum(ms, variances / seeds - covariance) if paired else ms
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.square(1.0 + seeds * cov2 / spread)
    df = np.where(spread > 0, (seeds - 1) * ratio, np.inf)
    return values.mean(axis=-1), np.sqrt(ms / seeds + cov2), df


def t_quantile(df: ArrayLike, confidence: float = CONFIDENCE) -> Floats:
    """Return the two-sided Student-t quantile; scipy is imported here for a quick start."""
    from scipy.special import stdtrit

    quantile: Floats = stdtrit(np.minimum(df, _NORMAL), 0.5 + confidence / 2.0)
    return quantile


def logit_limits(mean: Floats, se: Floats, df: Floats) -> tuple[Floats, Floats]:
    """Return the limits of means strictly inside (0, 1), computed as logits."""
    from scipy.special import expit, logit

    half = t_quantile(df) * se / (mean * (1.0 - mean))
    return expit(logit(mean) - half), expit(logit(mean) + half)


def plain_limits(mean: Floats, se: Floats, df: Floats) -> tuple[Floats, Floats]:
    """Return the limits of differences, which cannot leave [-1, 1]."""
    half = t_quantile(df) * se
    return np.maximum(mean - half, -1.0), np.minimum(mean + half, 1.0)


def exact_bound(cases: int, confidence: float = CONFIDENCE) -> float:
    """Return the Clopper-Pearson lower bound of a share that was 1 in all trials."""
    return float((1.0 - confidence) ** (1.0 / cases)) if cases else 0.0


def cell_interval(values: ArrayLike, components: ArrayLike | None, cases: int) -> Interval:
    """Return the interval of a cell's AUROC for new patients and new seeds.

    Args:
        values: (S,) defined AUROCs, one per seed.
        components: (S, L) structural components; None where predictions are not stored.
        cases: Patients with an image of the rarer class: the trials of the exact bound.

    Returns:
        An interval inside [0, 1]; without one the reason.
    """
    seeds = np.asarray(values, dtype=np.float64)
    plain = Interval(
        tuple(seeds.tolist()),
        float(np.sort(seeds).mean()) if len(seeds) else math.nan,
        cases=cases,
    )
    reason = abstention(seeds, components is not None, cases)
    if reason or components is None:
        return replace(plain, reason=reason)
    if seeds.min() == seeds.max() and seeds[0] in (0.0, 1.0):
        bound = exact_bound(cases)
        if seeds[0] == 1.0:
            return replace(plain, low=bound, high=1.0, kind="at least")
        return replace(plain, low=0.0, high=1.0 - bound, kind="at most")
    mean, se, df = standard_error(*_ordered(seeds, np.asarray(components, dtype=np.float64)))
    if se < _ROUNDING:
        return replace(plain, reason="neither seeds nor images differ")
    low, high = logit_limits(mean, se, df)
    plain = replace(plain, low=float(low), high=float(high), kind="two-sided")
    return replace(plain, se=float(se), df=float(df))


def model_interval(value: float, components: ArrayLike, cases: int) -> Interval:
    """Return the interval of one trained model's AUROC for new patients.

    The model is what it is, so that images alone vary: se^2 is the DeLong variance, with patients
    as what varies. It says nothing of the model that another seed would have given.

    Args:
        value: Its AUROC.
        components: (L,) structural components.
        cases: Patients with an image of the rarer class: the trials of the exact bound.

    Returns:
        An interval inside [0, 1]; without one the reason.
    """
    plain = Interval((value,), value, cases=cases)
    if cases < FEWEST_IMAGES:
        return replace(plain, reason=f"fewer than {FEWEST_IMAGES} images of a class")
    if value in (0.0, 1.0):
        bound = exact_bound(cases)
        if value == 1.0:
            return replace(plain, low=bound, high=1.0, kind="at least")
        return replace(plain, low=0.0, high=1.0 - bound, kind="at most")
    se = np.sqrt(np.square(np.asarray(components, dtype=np.float64)).sum())
    if se < _ROUNDING:
        return replace(plain, reason="images do not differ")
    low, high = logit_limits(*(np.asarray(each) for each in (value, se, np.inf)))
    limits = replace(plain, low=float(low), high=float(high), kind="two-sided")
    return replace(limits, se=float(se), df=math.inf)


def difference_interval(
    first: ArrayLike,
    second: ArrayLike,
    first_components: ArrayLike | None,
    second_components: ArrayLike | None,
    cases: int,
    confidence: float = CONFIDENCE,
) -> Interval:
    """Return the interval of second minus first, paired by seed on the same images.

    Args:
        first: (S,) AUROCs of the seeds that both cells have.
        second: (S,) of the same seeds, in the same order.
        first_components: (S, L); None where predictions are not stored, or are of other images.
        second_components: (S, L) of the same images.
        cases: Patients with an image of the rarer class.
        confidence: Coverage.

    Returns:
        An interval inside [-1, 1]. Where both cells are exactly 0 or 1 in every seed, the
        limits follow from the exact bounds of either, never a point.
    """
    one, other = (np.asarray(side, dtype=np.float64) for side in (first, second))
    difference = other - one
    known = first_components is not None and second_components is not None
    plain = Interval(
        tuple(difference.tolist()),
        float(np.sort(difference).mean()) if len(difference) else math.nan,
    )
    reason = abstention(difference, known, cases)
    if reason or first_components is None or second_components is None:
        return replace(plain, reason=reason)
    parts = np.asarray(second_components, np.float64) - np.asarray(first_components, np.float64)
    mean, se, df = standard_error(*_ordered(difference, parts), paired=True)
    if se < _ROUNDING:
        if not all(side.min() == side.max() and side[0] in (0.0, 1.0) for side in (one, other)):
            return replace(plain, reason="neither seeds nor images differ")
        low, high = _exact_difference(float(one[0]), float(other[0]), cases, confidence)
        return replace(plain, low=low, high=high, kind="two-sided")
    half = float(t_quantile(df, confidence) * se)
    low, high = max(float(mean) - half, -1.0), min(float(mean) + half, 1.0)
    return replace(plain, low=low, high=high, se=float(se), df=float(df), kind="two-sided")


def independent_difference(first: Interval, second: Interval) -> Interval:
    """Return the interval of second minus first, of seeds and images that have nothing in common.

    The standard error is the root of the sum of squares, with Welch and Satterthwaite's degrees of
    freedom. On partly common images it is too wide rather than too narrow.

    Args:
        first, second: Intervals of cells.
    """
    plain = Interval((), second.mean - first.mean)
    for side, name in ((first, "first"), (second, "second")):
        if side.kind != "two-sided":
            why = side.reason or "it is the same in all seeds and images"
            return replace(plain, reason=f"no standard error of the {name}: {why}")
    squares = np.square([first.se, second.se])
    with np.errstate(divide="ignore"):
        df = np.square(squares.sum()) / (np.square(squares) / [first.df, second.df]).sum()
    se = np.sqrt(squares.sum())
    low, high = plain_limits(np.asarray(plain.mean), se, np.asarray(df))
    limits = replace(plain, low=float(low), high=float(high), kind="two-sided")
    return replace(limits, se=float(se), df=float(df))


def _exact_difference(
    first: float, second: float, cases: int, confidence: float
) -> tuple[float, float]:
    """Return the limits of second minus first, each 0 or 1, from both exact bounds (Bonferroni)."""
    slack = 1.0 - exact_bound(cases, 0.5 + confidence / 2.0)
    lows = [max(value - slack, 0.0) for value in (first, second)]
    highs = [min(value + slack, 1.0) for value in (first, second)]
    return lows[1] - highs[0], highs[1] - lows[0]


def abstention(seeds: Floats, known: bool, cases: int) -> str:
    """Return why seeds are printed without an interval; empty where one can be computed."""
    if len(seeds) < FEWEST_SEEDS:
        return f"fewer than {FEWEST_SEEDS} seeds"
    if not known:
        return "no stored predictions at the epoch that counts"
    if cases < FEWEST_IMAGES:
        return f"fewer than {FEWEST_IMAGES} images of a class"
    gap = float(np.diff(np.sort(seeds)).max())
    if gap > BIMODAL:
        return f"seeds fall apart into groups that are {gap:.2f} away from each other"
    return ""


def _ordered(values: Floats, components: Floats) -> tuple[Floats, Floats]:
    """Return seeds in the order of their values, so that rounding does not depend on theirs."""
    order = np.argsort(values, kind="stable")
    return values[order], components[order]
