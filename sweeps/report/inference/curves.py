"""Learning curves: AUROC against annotated images, from several families, and what they foretell.

No family is right: a power law alone has overestimated the images that a score needs up to
twelvefold (arXiv 2303.01598), so each draw is fitted by all of them (arXiv 2207.01725), and an
interval is wide enough for each family's.

Shape legend: K budgets, N draws, F families, X points.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sweeps.report.inference.intervals import CONFIDENCE

Floats = NDArray[np.float64]
HORIZON = 2.0
"""Times the largest budget beyond which nothing is foretold."""
LEAST = 3
"""Budgets below which no number of images is told: two fit any curve."""
_POINTS = 160
_EDGE = 1e-4
"""Errors below it are not told from it: logarithms need an error above 0."""
_EXPONENTS = (0.25, 0.5, 1.0, 2.0)
_QUANTILES = ((1.0 - CONFIDENCE) / 2.0, (1.0 + CONFIDENCE) / 2.0)


@dataclass(frozen=True)
class Foretold:
    """A number with its interval.

    Attributes:
        low, high: Ends of the interval; infinite where the horizon is passed.
        median: Of all fits of all draws.
        share: Of the fits that have the number within the horizon.
    """

    low: float
    median: float
    high: float
    share: float


def predict(images: ArrayLike, draws: Floats, at: ArrayLike) -> Floats:
    """Return the AUROCs that every family, fitted to every draw, has at some numbers of images.

    Power: log(1 - A) is linear in log n. Logit: logit A is linear in log n. Offset, of three
    budgets or more: 1 - A = c + a n^-b with c, a >= 0, and b one of `_EXPONENTS`, by least squares.

    Args:
        images: (K,) budgets, ascending, two or more.
        draws: (N, K) AUROCs.
        at: (X,) numbers of images.

    Returns:
        (F N, X) in [0, 1].
    """
    budgets, points = np.asarray(images, np.float64), np.asarray(at, np.float64)
    values = np.clip(draws, _EDGE, 1.0 - _EDGE)
    logs, to = np.log(budgets), np.log(points)
    power = 1.0 - np.exp(_line(logs, np.log1p(-values), to))
    logit = 1.0 / (1.0 + np.exp(-_line(logs, np.log(values) - np.log1p(-values), to)))
    families = [power, logit]
    if len(budgets) >= LEAST:
        families.append(1.0 - _offset(budgets, 1.0 - values, points))
    return np.clip(np.concatenate(families), 0.0, 1.0)


def _line(x: Floats, y: Floats, at: Floats) -> Floats:
    """Return (N, X) values of the least-squares lines through (N, K) values."""
    centred = x - x.mean()
    slope = (y @ centred) / (centred @ centred)
    return np.asarray(y.mean(axis=1)[:, None] + slope[:, None] * (at - x.mean()))


def _offset(budgets: Floats, errors: Floats, at: Floats) -> Floats:
    """Return (N, X) errors c + a n^-b of the best exponent of each draw."""
    best, fitted = np.full(len(errors), np.inf), np.zeros((len(errors), len(at)))
    start = budgets[0]  # a keeps its size whatever the exponent
    for b in _EXPONENTS:
        basis, to = (budgets / start) ** -b, (at / start) ** -b
        centred = basis - basis.mean()
        a = np.maximum((errors @ centred) / (centred @ centred), 0.0)
        c = errors.mean(axis=1) - a * basis.mean()
        through = (errors @ basis) / (basis @ basis)  # where an offset below 0 would fit best
        a, c = np.where(c < 0, through, a), np.maximum(c, 0.0)
        loss = np.square(errors - c[:, None] - a[:, None] * basis).sum(axis=1)
        better = loss < best
        best = np.where(better, loss, best)
        fitted[better] = (c[:, None] + a[:, None] * to)[better]
    return fitted


def images_needed(images: Sequence[float], draws: Floats, target: float) -> Foretold:
    """Return how many images reach an AUROC, up to `HORIZON` times the largest budget.

    Args:
        images: (K,) budgets, ascending.
        draws: (N, K) AUROCs.
        target: The AUROC.
    """
    grid = np.geomspace(images[0], HORIZON * images[-1], _POINTS)
    reached = predict(images, draws, grid) >= target
    first = np.where(reached.any(axis=1), grid[reached.argmax(axis=1)], math.inf)
    return _foretell(first, len(draws))


def gain_of_more(images: Sequence[float], draws: Floats, more: float) -> Foretold:
    """Return by how much the AUROC rises with some images beyond the largest budget."""
    both = predict(images, draws, [images[-1], images[-1] + more])
    return _foretell(both[:, 1] - both[:, 0], len(draws))


def is_covered(images: Sequence[float], draws: Floats) -> bool:
    """Return whether the smaller budgets foretell the largest: the back-test.

    The difference of foretold and drawn AUROCs of the same draws has 0 in its interval.
    """
    foretold = predict(images[:-1], draws[:, :-1], images[-1:])[:, 0]
    hidden = np.tile(draws[:, -1], len(foretold) // len(draws))
    difference = _foretell(foretold - hidden, len(draws))
    return difference.low <= 0.0 <= difference.high


def _foretell(values: Floats, draws: int) -> Foretold:
    """Return the median of all fits, and an interval that holds that of each family.

    Args:
        values: (F N,).
        draws: N.
    """
    families = np.sort(values.reshape(-1, draws), axis=1)  # infinite ones last: no interpolation
    low, high = (families[:, min(int(q * draws), draws - 1)] for q in _QUANTILES)
    median = np.sort(values)[len(values) // 2]
    share = float(np.isfinite(values).mean())
    return Foretold(float(low.min()), float(median), float(high.max()), share)
