"""What each sum of dollars reaches, over the draws of all cells.

The empirical attainment function of the frontier (Fonseca, Grunert da Fonseca and Paquete 2005): in
every draw, the highest AUROC among the cells that cost no more than a sum.

Shape legend: C cells, N draws, X sums.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sweeps.report.inference.intervals import CONFIDENCE

Floats = NDArray[np.float64]
_QUANTILES = ((1.0 - CONFIDENCE) / 2.0, 0.5, (1.0 + CONFIDENCE) / 2.0)


@dataclass(frozen=True)
class Attainment:
    """The highest AUROC that each sum reaches, and which cell has it.

    Attributes:
        dollars: (X,) the cells' distinct costs, ascending. Nothing changes in between.
        low: (X,) 2.5 % quantile over draws of the highest AUROC of the cells that cost no more.
        median: (X,) of the same.
        high: (X,) 97.5 % quantile.
        best: (X, C) share of draws in which a cell is the highest of those that cost no more; of
            equals the cheapest, then the first. NaN for dearer and for undefined cells.
        regret: (X, C) mean over draws of what the highest has more; NaN likewise.
    """

    dollars: Floats
    low: Floats
    median: Floats
    high: Floats
    best: Floats
    regret: Floats


def attainment(dollars: ArrayLike, draws: Floats) -> Attainment:
    """Return what each sum reaches.

    Args:
        dollars: (C,); NaN makes a cell undefined.
        draws: (N, C); NaN for undefined cells.
    """
    cost = np.asarray(dollars, dtype=np.float64)
    defined = np.flatnonzero(~np.isnan(cost) & ~np.isnan(draws).any(axis=0))
    order = defined[np.argsort(cost[defined], kind="stable")]
    means = draws[:, order].mean(axis=0)
    sums = np.unique(cost[order])
    best, regret = np.full((2, len(sums), len(cost)), np.nan)
    quantiles = np.full((3, len(sums)), np.nan)
    highest, holder = np.full(len(draws), -np.inf), np.zeros(len(draws), dtype=np.intp)
    upto = 0
    for x, most in enumerate(sums):
        while upto < len(order) and cost[order[upto]] == most:
            values = draws[:, order[upto]]
            holder[values > highest] = upto
            highest = np.maximum(highest, values)
            upto += 1
        affordable = order[:upto]
        best[x, affordable] = np.bincount(holder, minlength=upto) / len(draws)
        regret[x, affordable] = highest.mean() - means[:upto]
        quantiles[:, x] = np.quantile(highest, _QUANTILES)
    low, median, high = quantiles
    return Attainment(sums, low, median, high, best, regret)
