"""The joint distribution of all cells, once: draws that every probability is read from.

Shape legend: C cells, S seeds, L components, N draws.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sweeps.report.inference.intervals import exact_bound, t_quantile

Floats = NDArray[np.float64]
DRAWS = 4000
EDGE = 0.1
"""Means closer to 0 or 1, or closer than half of their interval, are drawn as logits."""
FEW_SEEDS = 5
"""Seeds up to which draws are scaled by Student's t."""


@dataclass(frozen=True)
class Joint:
    """Mean and covariance of the cells' AUROCs over new seeds and new patients.

    Attributes:
        mean: (C,); NaN for cells without two seeds with predictions.
        covariance: (C, C), positive semi-definite; rows of undefined cells are 0.
        df: (C,) degrees of freedom of each variance.
        seeds: (C,) seeds of each cell.
        cases: Patients with an image of the rarer class.
    """

    mean: Floats
    covariance: Floats
    df: Floats
    seeds: NDArray[np.int64]
    cases: int


def joint_distribution(values: Floats, components: Floats, cases: int) -> Joint:
    """Return mean and covariance of cells that share images, and seeds where both have them.

    The variance of a cell, and that of a difference of two with the same seeds, are those of
    `intervals.standard_error`.

    Args:
        values: (C, S), NaN where a cell lacks a seed.
        components: (C, S, L), anything where it lacks one.
        cases: Patients with an image of the rarer class.
    """
    has = ~np.isnan(values)
    seeds = has.sum(axis=1)
    defined = seeds > 1
    present = has & defined[:, None]
    counts = np.where(defined, seeds, 2).astype(np.float64)
    mean = np.where(present, values, 0.0).sum(axis=1) / counts
    centred = np.where(present, values - mean[:, None], 0.0)
    w = np.where(present[..., None], components, 0.0)
    common = present.astype(np.float64) @ present.T
    with np.errstate(divide="ignore", invalid="ignore"):
        # the covariance over common seeds, times their number over that of all pairs of seeds
        of_seeds = (centred @ centred.T) / (common - 1.0) * common / np.outer(counts, counts)
    of_seeds[common < 2] = 0.0
    sums = w.sum(axis=1)
    same = np.einsum("csl,dsl->cd", w, w, optimize=True)
    of_images = (sums @ sums.T - same) / np.maximum(np.outer(counts, counts) - common, 1.0)
    cov2 = np.maximum(np.diag(of_images), 0.0)
    np.fill_diagonal(of_images, cov2)
    ms = np.diag(of_seeds) * counts
    with np.errstate(divide="ignore", invalid="ignore"):
        df = np.where(ms > 0, (counts - 1) * np.square(1.0 + counts * cov2 / ms), np.inf)
    covariance = np.where(np.outer(defined, defined), of_seeds + of_images, 0.0)
    return Joint(np.where(defined, mean, np.nan), _nearest(covariance), df, seeds, cases)


def draw(joint: Joint, draws: int = DRAWS, scaled: bool = True, seed: int = 0) -> Floats:
    """Return draws of all cells' AUROCs.

    Args:
        joint: The distribution.
        draws: N.
        scaled: Whether deviations of cells of at most `FEW_SEEDS` seeds are those of Student's t
            with their degrees of freedom; the benchmark compares both.
        seed: Of the draws, which are the same for the same distribution.

    Returns:
        (N, C) in [0, 1]; NaN for undefined cells. A cell that is exactly 0 or 1 in every seed is
        drawn so that its exact bound is the 5 % quantile.
    """
    from scipy.special import expit, logit

    random = np.random.default_rng(seed)
    mean, cells = joint.mean, len(joint.mean)
    df = np.minimum(joint.df, 1e6)
    if scaled:
        df = np.where(joint.seeds > FEW_SEEDS, 1e6, df)
    roots, vectors = np.linalg.eigh(joint.covariance)
    factor = vectors * np.sqrt(np.maximum(roots, 0.0))
    noise = random.standard_normal((draws, cells)) @ factor.T
    if scaled:
        noise *= np.sqrt(df / random.chisquare(df, (draws, cells)))
    values: Floats = np.clip(mean + noise, 0.0, 1.0)
    half = np.maximum(t_quantile(df) * np.sqrt(np.diag(joint.covariance)), EDGE)
    edge = (mean > 1.0 - half) | (mean < half)
    inner = edge & (mean > 0.0) & (mean < 1.0)
    centre = mean[inner]
    values[:, inner] = expit(logit(centre) + noise[:, inner] / (centre * (1.0 - centre)))
    never = np.isin(mean, (0.0, 1.0))
    power = np.log(exact_bound(joint.cases)) / np.log(0.05) if joint.cases else 1.0
    away = 1.0 - random.random((draws, int(never.sum()))) ** power
    values[:, never] = np.abs(mean[never] - away)
    return values


def frontier_probability(dollars: ArrayLike, draws: Floats) -> Floats:
    """Return P(on the frontier) of every cell; NaN for undefined ones, which dominate nothing.

    Args:
        dollars: (C,).
        draws: (N, C).
    """
    cost = np.asarray(dollars, dtype=np.float64)
    undefined = np.isnan(cost) | np.isnan(draws).any(axis=0)
    on = np.full(len(cost), np.nan)
    best_cheaper = np.full(len(draws), -np.inf)
    for price in np.unique(cost[~undefined]):
        here = np.flatnonzero(~undefined & (cost == price))
        best_here = draws[:, here].max(axis=1)
        free = (draws[:, here] > best_cheaper[:, None]) & (draws[:, here] == best_here[:, None])
        on[here] = free.mean(axis=0)
        best_cheaper = np.maximum(best_cheaper, best_here)
    return on


def non_inferiority(draws: Floats, best: int, margin: float) -> Floats:
    """Return P(at most `margin` below the cell `best`) of every cell; NaN for undefined ones."""
    above = (draws >= draws[:, [best]] - margin).mean(axis=0)
    return np.where(np.isnan(draws + draws[:, [best]]).any(axis=0), np.nan, above)


def _nearest(covariance: Floats) -> Floats:
    """Return the nearest positive semi-definite matrix with the same variances."""
    symmetric = (covariance + covariance.T) / 2.0
    roots, vectors = np.linalg.eigh(symmetric)
    if len(roots) == 0 or roots[0] >= 0.0:
        return symmetric
    fixed = (vectors * np.maximum(roots, 0.0)) @ vectors.T
    before, after = np.diag(symmetric), np.diag(fixed)
    scale = np.sqrt(np.where(after > 0, before / np.where(after > 0, after, 1.0), 0.0))
    return np.asarray(fixed * np.outer(scale, scale))
