"""Which purchases a report looks at closely: the frontier, the answer, and labels beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cluster.common.wording import count_of
from sweeps.report.answer import Choice, choose, key_of
from sweeps.report.evidence import Evidence, Key

MOST = 8
"""Purchases that are shown for themselves; each has at most one of labels beside it."""
Cell = Mapping[Any, Any]


@dataclass(frozen=True)
class Shown:
    """Purchases that are looked at closely.

    Attributes:
        cells: Rows of the table of cells, in its order.
        note: Which these are, as a sentence.
    """

    cells: Sequence[Cell]
    note: str

    @property
    def keys(self) -> list[Key]:
        """Specificity, budget and method of each."""
        return [key_of(cell) for cell in self.cells]


def find_shown(cells: pd.DataFrame, evidence: Evidence, margin: float) -> Shown:
    """Return the frontier and the answer, the best first where there are many, with labels beside.

    Where nothing may be named as an answer, the first purchases with a result stand in.

    Args:
        cells: The result of `cells`.
        evidence: What they rest on.
        margin: How far below the best cell one may be that is called not inferior.
    """
    choice = choose(cells, evidence, margin)
    if choice is None:
        rows = cells[cells["seeds_done"] > 0].to_dict("records")
        left = f", the first {MOST} of {len(rows)}" if len(rows) > MOST else ""
        return Shown(rows[:MOST], f"Shown: purchases with a result{left}; none is ranked.")
    recommended = _recommended(cells, choice)
    taken = {key_of(cell) for cell in recommended[:MOST]}
    label_keys = {key for cell in recommended[:MOST] if (key := _labels_beside(cells, cell))}
    rows = [cell for cell in cells.to_dict("records") if key_of(cell) in taken | label_keys]
    return Shown(rows, _describe(len(recommended), bool(label_keys - taken)))


def _recommended(cells: pd.DataFrame, choice: Choice) -> list[Cell]:
    """Return what is recommended, then the frontier from high to low."""
    front = cells[cells["on_frontier"]].sort_values(
        "robust_auroc_mean", ascending=False, kind="stable"
    )
    ordered = [choice.best, choice.chosen, *front.to_dict("records")]
    return list({key_of(cell): cell for cell in ordered}.values())


def _labels_beside(cells: pd.DataFrame, cell: Cell) -> Key | None:
    """Return labels on the same images: with the same method, else erm, else whatever there is."""
    same = cells[(cells["budget"] == cell["budget"]) & (cells["seeds_done"] > 0)]
    labels = [row for row in same.to_dict("records") if row["cell"].specificity.kind == "label"]
    order = [cell["method"], "erm"]
    labels.sort(key=lambda row: order.index(row["method"]) if row["method"] in order else 2)
    return key_of(labels[0]) if labels else None


def _describe(purchases: int, has_labels: bool) -> str:
    text = f"Shown: what is recommended and the frontier, {count_of(purchases, 'purchase')}"
    if purchases > MOST:
        text += f", of which the best {MOST} are here"
    return f"{text}{', and labels on as many images' if has_labels else ''}."
