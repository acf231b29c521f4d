"""Orders of a table: which are established when all are judged together (Holm 1979)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sweeps.report.inference.intervals import CONFIDENCE, Interval, t_quantile

MOST_SEEDS = 30
"""Seeds that a sweep may be told to add; beyond them it is images that are lacking."""
Verdict = Literal["confirmed", "contradicted", "not decided"]


@dataclass(frozen=True)
class Order:
    """A claim that the second of two cells is above the first.

    Attributes:
        difference: Second minus first, paired by seed.
        verdict: What the paired differences of the whole table say.
        seeds: Seeds at which a difference of this size would be told from 0 on these images; None
            where it is decided, where seeds do not suffice, or nothing is known.
        images: Times as many images, likewise, where seeds do not suffice.
    """

    difference: Interval
    verdict: Verdict
    seeds: int | None = None
    images: float | None = None


def judge_orders(differences: Sequence[Interval]) -> list[Order]:
    """Return the verdict on each claimed order, by Holm's step-down rule at 5 % over the table.

    Args:
        differences: Of each pair the upper cell minus the lower one, as claimed.
    """
    values = [p_value(difference) for difference in differences]
    orders = []
    for difference, is_decided in zip(differences, holm(values, 1.0 - CONFIDENCE), strict=True):
        if is_decided:
            right = difference.mean > 0
            orders.append(Order(difference, "confirmed" if right else "contradicted"))
        else:
            orders.append(Order(difference, "not decided", *_needed(difference)))
    return orders


def p_value(difference: Interval) -> float:
    """Return the two-sided p-value of a difference of 0; 1 where it has no interval.

    Of exact limits, which have no standard error, it is the level at which they reach 0.
    """
    if difference.kind == "none":
        return 1.0
    if math.isnan(difference.se):
        if difference.low <= 0.0 <= difference.high:
            return 1.0
        trials = math.log((1.0 - CONFIDENCE) / 2.0) / math.log(1.0 - difference.width / 2.0)
        return float(2.0 * 0.5**trials)
    from scipy.special import stdtr

    return float(2.0 * stdtr(min(difference.df, 1e6), -abs(difference.mean) / difference.se))


def holm(values: Sequence[float], level: float) -> list[bool]:
    """Return which hypotheses are rejected: p-values in order against level / (n, n - 1, ...)."""
    rejected = [False] * len(values)
    for place, index in enumerate(np.argsort(values, kind="stable").tolist()):
        if values[index] > level / (len(values) - place):
            break
        rejected[index] = True
    return rejected


def _needed(difference: Interval) -> tuple[int | None, float | None]:
    """Return seeds, or else times as many images, at which the difference would be decided.

    The variance is MS / S + Cov2: seeds reduce its first part, images the second.
    """
    size, se, seeds = abs(difference.mean), difference.se, len(difference.seeds)
    if math.isnan(se) or size == 0.0:
        return None, None
    ms = float(np.var(difference.seeds, ddof=1))
    cov2 = max(se**2 - ms / seeds, 0.0)
    for more in range(seeds + 1, MOST_SEEDS + 1):
        if t_quantile(more - 1) * math.sqrt(ms / more + cov2) < size:
            return more, None
    remaining = (size / float(t_quantile(MOST_SEEDS - 1))) ** 2 - ms / MOST_SEEDS
    return None, cov2 / remaining if remaining > 0 else None
