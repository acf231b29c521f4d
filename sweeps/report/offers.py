"""The ranked purchases of a report as `sweeps.report.advice` takes them, with their draws."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeps.report.advice import SCALE, Offer
from sweeps.report.answer import key_of
from sweeps.report.evidence import Evidence, Key
from sweeps.report.wording import describe_cell, without

KEY = ("specificity", "budget", "method")
Cell = Mapping[Any, Any]


@dataclass(frozen=True, eq=False)
class Offers:
    """What may be bought.

    Attributes:
        offers: Of the cells that learned and are in the draws, in the order of the cells.
        cells: The same ones' rows of the table of cells.
        draws: (N, C) int64, robust AUROCs times `SCALE`.
    """

    offers: Sequence[Offer]
    cells: Sequence[Cell]
    draws: NDArray[np.int64]

    def place_of(self, cell: Cell) -> int | None:
        """Return the place of a row of the table of cells; None where it is not among them."""
        keys = [key_of(of) for of in self.cells]
        return keys.index(key_of(cell)) if key_of(cell) in keys else None


def find_offers(priced: pd.DataFrame, cells: pd.DataFrame, evidence: Evidence) -> Offers | None:
    """Return the purchases that learned and can be drawn; None where there are no draws.

    Args:
        priced: The result of `price_trials`.
        cells: The result of `cells`.
        evidence: What they rest on.
    """
    ranked = cells[cells["unlearned"].isna() & cells["dollars_mean"].notna()]
    rows = ranked.to_dict("records")
    draws = evidence.draws([key_of(row) for row in rows], "robust_auroc")
    if draws is None:
        return None
    defined = np.flatnonzero(~np.isnan(draws).any(axis=0))
    items = mean_items(priced)
    kept = [rows[place] for place in defined.tolist()]
    offers = [
        Offer(
            name=f"{describe_cell(row['cell'])}{without(row['holes'])}",
            items=items[key_of(row)],
            compute=float(np.nan_to_num(row["compute_dollars"])),
            mean=float(row["robust_auroc_mean"]),
            is_named=row["robust_auroc_interval"] != "none",
        )
        for row in kept
    ]
    return Offers(offers, kept, np.rint(draws[:, defined] * SCALE).astype(np.int64))


def mean_items(priced: pd.DataFrame) -> dict[Key, tuple[tuple[str, str, float], ...]]:
    """Return how many of each item a trial of each cell takes on average, by part and price."""
    groups = priced.groupby(list(KEY))["items"]
    return {(str(s), str(b), str(m)): _mean_items(list(of)) for (s, b, m), of in groups}


def _mean_items(
    trials: Sequence[Sequence[tuple[str, str, float]]],
) -> tuple[tuple[str, str, float], ...]:
    """Return how many of each item a trial takes on average."""
    sums: defaultdict[tuple[str, str], float] = defaultdict(float)
    for items in trials:
        for part, name, number in items:
            sums[part, name] += number
    return tuple((part, name, number / len(trials)) for (part, name), number in sums.items())
