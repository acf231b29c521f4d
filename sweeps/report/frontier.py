"""The cost-robustness frontier: purchases that nothing beats on dollars and on robust AUROC."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sweeps.errors import ResultError


def on_frontier(dollars: ArrayLike, scores: ArrayLike) -> NDArray[np.bool_]:
    """Return which points no other point dominates.

    A point dominates another when it costs no more and scores no less, and is strictly better in
    one of the two. So of two points at the same price the better one stays, of two with the same
    score the cheaper one stays, and of exact duplicates all stay. A point with a NaN is never on
    the frontier and dominates nothing.

    Args:
        dollars: (C,), smaller is better.
        scores: (C,), larger is better.

    Returns:
        (C,) bool.
    """
    cost, score = _points(dollars, scores, ndim=1)
    no_worse = (cost[None, :] <= cost[:, None]) & (score[None, :] >= score[:, None])
    better = (cost[None, :] < cost[:, None]) | (score[None, :] > score[:, None])
    dominated = (no_worse & better).any(axis=1)
    return ~dominated & ~np.isnan(cost) & ~np.isnan(score)


def frontier_share(dollars: ArrayLike, scores: ArrayLike) -> NDArray[np.float64]:
    """For each cell, the share of its seeds in which it is on that seed's own frontier.

    With few seeds this says more than one interval: 1 means that every seed puts the cell on the
    frontier. A seed's frontier is drawn among the cells that have a value for that seed.

    Args:
        dollars: (C, S), cells by seeds, NaN where the seed has no result.
        scores: (C, S), the same cells and seeds.

    Returns:
        (C,), NaN for a cell without any value.
    """
    cost, score = _points(dollars, scores, ndim=2)
    seeds = cost.shape[1]
    front = np.zeros(cost.shape, dtype=bool)
    for seed in range(seeds):
        front[:, seed] = on_frontier(cost[:, seed], score[:, seed])
    defined = (~np.isnan(cost) & ~np.isnan(score)).sum(axis=1)
    return np.where(defined > 0, front.sum(axis=1) / np.maximum(defined, 1), np.nan)


def _points(
    dollars: ArrayLike, scores: ArrayLike, ndim: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    cost = np.asarray(dollars, dtype=np.float64)
    score = np.asarray(scores, dtype=np.float64)
    if cost.shape != score.shape or cost.ndim != ndim:
        raise ResultError(
            f"a frontier needs dollars and scores of one shape with {ndim} axes, "
            f"got {cost.shape} and {score.shape}"
        )
    return cost, score
