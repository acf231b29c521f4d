"""Purchases that are a grid of option values: one of each grid is ranked, chosen on validation."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from sweeps.plan.cell import Cell
from sweeps.report.wording import count, number

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
    cells: Sequence[Cell], on_validation: Mapping[tuple[str, str, str], float], tune: Sequence[str]
) -> dict[tuple[str, str, str], str]:
    """Return why a cell is not ranked, for all of each grid but the one with the highest AUROC.

    Of equal ones the first in the order of `cells` is chosen; a cell without a value never.

    Args:
        cells: Of a sweep.
        on_validation: Key of a cell to its mean AUROC on validation at the epoch that counts, NaN
            or absent where it has none.
        tune: Names of methods' options.
    """
    reasons = {}
    for grid in grids(cells, tune):
        values = [on_validation.get(cell.key, math.nan) for cell in grid]
        ranked = [-math.inf if math.isnan(value) else value for value in values]
        best = ranked.index(max(ranked))
        for at, cell in enumerate(grid):
            if at != best:
                reasons[cell.key] = (
                    f"{NOT_CHOSEN}: AUROC {number(values[at])} there, "
                    f"{grid[best].method} has {number(values[best])}"
                )
    return reasons


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
    return [
        f"{count(len(keys), 'purchase')} are {count(len(of_sweep), 'grid')} of "
        f"{' and '.join(tune)}: one of each is ranked, that with the highest mean AUROC on "
        f"validation, by {count(trials, 'trial')} in all. Their price is of one value's "
        f"annotation, which all share."
    ]
