"""Seconds of work, fitted on timed trials: an overhead, and a rate of each kind of image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sweeps.plan.timed import TimedTrial
from sweeps.plan.work import Work

_TIE = 1e-6
"""Residuals that do not differ."""
_ORDER = ((1, 2), (0, 1), (0, 1, 2), (1,), (0, 2), (2,), (0,))
"""Columns (overhead, trained, evaluated) of a fit, the first preferred where two fit alike."""


@dataclass(frozen=True)
class Rates:
    """Seconds of a trial without work, of a trained image and of a scored one; none is negative."""

    overhead: float
    trained: float
    evaluated: float

    def seconds(self, work: Work) -> float:
        """Return the seconds of some work."""
        return self.overhead + self.trained * work.trained + self.evaluated * work.evaluated


def fit_rates(timed: Sequence[TimedTrial]) -> Rates:
    """Fit rates by non-negative least squares of relative errors.

    A row says how long the training steps took, too, which tells both kinds of images apart even
    where a single trial is known. The three columns have seven subsets, of which each is solved.

    Args:
        timed: At least one.
    """
    equations = [
        (1.0, of.work.trained, of.work.evaluated, of.seconds) for of in timed if of.seconds > 0
    ]
    equations += [
        (0.0, of.own_trained, 0.0, of.seconds_training)
        for of in timed
        if of.own_trained > 0 and of.seconds_training > 0
    ]
    matrix = np.array(equations, np.float64)
    scaled: NDArray[np.float64] = matrix[:, :3] / matrix[:, 3:]
    best, best_residual = np.zeros(3), math.inf
    for columns in _ORDER:
        solution, residual = _solve(scaled, columns)
        if solution is not None and residual < best_residual - _TIE:
            best, best_residual = solution, residual
    return Rates(*(float(value) for value in best))


def _solve(
    scaled: NDArray[np.float64], columns: tuple[int, ...]
) -> tuple[NDArray[np.float64] | None, float]:
    """Solve for some columns, the others 0; None where a rate is negative."""
    chosen = list(columns)
    part, *_ = np.linalg.lstsq(scaled[:, chosen], np.ones(len(scaled)), rcond=None)
    if (part < 0).any():
        return None, math.inf
    solution = np.zeros(3)
    solution[chosen] = part
    return solution, float(((scaled @ solution - 1.0) ** 2).sum())
