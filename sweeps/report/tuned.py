"""Purchases that are a grid of option values: one of each grid is ranked, chosen on validation."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

import pandas as pd

from cluster.common.wording import count_of
from sweeps.plan.cell import Cell
from sweeps.report.wording import number

Key = tuple[str, str, str]
_CENT = 0.005
NOT_CHOSEN = "not chosen on validation"
"""How the reason of a purchase begins that lost to another value of its grid."""


def grids(cells: Sequence[Cell], tune: Sequence[str]) -> list[list[Cell]]:
    """Group cells that differ in tuned options alone; groups of one are left out.

    Args:
        cells: Of a sweep.
        tune: Names of methods' options.
    """
    groups: defaultdict[tuple[Any, ...], list[Cell]] = defaultdict(list)
    for cell in cells:
        options = asdict(cell.method.options)
        if set(tune) & set(options):
            kept = tuple(sorted((k, repr(v)) for k, v in options.items() if k not in tune))
            groups[(*cell.key[:2], cell.method.name, kept)].append(cell)
    return [group for group in groups.values() if len(group) > 1]


def find_not_chosen(
    cells: Sequence[Cell], on_validation: Mapping[Key, Mapping[int, float]], tune: Sequence[str]
) -> dict[Key, str]:
    """Return why a cell is not ranked, for all of each grid but the one with the highest AUROC.

    Values are compared over the seeds that all of them have, those without any result left aside;
    without such a seed none is chosen. Of equal ones the first in the order of `cells` is.

    Args:
        cells: Of a sweep.
        on_validation: Key of a cell to its AUROC on validation by seed, at the epoch that counts;
            NaN where it is undefined.
        tune: Names of methods' options.
    """
    reasons: dict[Key, str] = {}
    for grid in grids(cells, tune):
        having = [cell for cell in grid if on_validation.get(cell.key)]
        of_seeds = [on_validation[cell.key] for cell in having]
        shared = set.intersection(*map(set, of_seeds)) if of_seeds else set()
        if not shared:
            reasons |= {cell.key: f"{NOT_CHOSEN}: no seed has a result of each" for cell in having}
            continue
        means = [fmean(of[seed] for seed in sorted(shared)) for of in of_seeds]
        ranked = [-math.inf if math.isnan(mean) else mean for mean in means]
        best = ranked.index(max(ranked))
        for cell, mean in zip(having, means, strict=True):
            if cell is not having[best]:
                reasons[cell.key] = _reason(mean, means[best], having[best])
    return reasons


def _reason(mean: float, best: float, winner: Cell) -> str:
    if mean == best:
        return f"{NOT_CHOSEN}: AUROC {number(mean)} there, as {winner.method}, which comes first"
    return f"{NOT_CHOSEN}: AUROC {number(mean)} there, {winner.method} has {number(best)}"


def describe_tuning(cells: pd.DataFrame, tune: Sequence[str]) -> list[str]:
    """Say how many values were tried and how one was chosen; nothing without a grid.

    Args:
        cells: The result of `sweeps.report.cells.cells`.
        tune: Names of methods' options.
    """
    of_sweep = grids(list(cells["cell"]), tune)
    if not of_sweep:
        return []
    keys = {cell.key for grid in of_sweep for cell in grid}
    rows = cells[[cell.key in keys for cell in cells["cell"]]]
    trials = int(rows["seeds_done"].sum())
    prices = {
        cell.key: price for cell, price in zip(rows["cell"], rows["dollars_mean"], strict=True)
    }
    differ = any(_spread([prices[cell.key] for cell in grid]) > _CENT for grid in of_sweep)
    paid = (
        "Values differ in price, and whoever tries all of them pays more than for the one ranked"
        if differ
        else "All of a grid share one annotation, which is the price"
    )
    ties = int(rows["unlearned"].str.endswith("which comes first").fillna(False).sum())
    return [
        f"{count_of(len(keys), 'purchase')} are {count_of(len(of_sweep), 'grid')} of "
        f"{' and '.join(tune)}: one of each is ranked, that with the highest mean AUROC on "
        f"validation over the seeds that all have, by {count_of(trials, 'trial')} in all"
        f"{f'; {ties} lost to an equal value that comes first' if ties else ''}. {paid}."
    ]


def _spread(prices: Sequence[float]) -> float:
    known = [price for price in prices if not math.isnan(price)]
    return max(known) - min(known) if known else 0.0
