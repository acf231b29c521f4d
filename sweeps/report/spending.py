"""What each sum reaches, in words: attainment of the frontier and P(best) for the money."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from sweeps.report.answer import learned_cells
from sweeps.report.evidence import Evidence
from sweeps.report.inference.joint import DRAWS
from sweeps.report.probabilities import count_undrawn
from sweeps.report.wording import (
    count,
    describe_cell,
    dollars,
    interval,
    number,
    without,
)

LIKELY = 0.05
"""P(best) from which on what comes into reach is worth a row."""
_PRINTED = 0.005
_ALONE = "it is the only one for this sum"


def spending_context(
    cells: pd.DataFrame, attained: pd.DataFrame, evidence: Evidence
) -> dict[str, Any]:
    """Return `spending`, rows from cheap to dear, and `spending_note`, what they rest on.

    Args:
        cells: The result of `cells`.
        attained: The result of `attainment_frame`.
        evidence: What the cells rest on.
    """
    known = {(c["specificity"], c["budget"], c["method"]): c for c in cells.to_dict("records")}
    rows: list[dict[str, str]] = []
    unnamed = 0.0
    for most, group in attained.groupby("dollars", sort=True):
        holders = [
            {**known[one["specificity"], one["budget"], one["method"]], **one}
            for one in group.to_dict("records")
        ]
        is_new = any(
            one["dollars_mean"] == most and one["best_probability"] >= LIKELY for one in holders
        )
        missing = 1.0 - float(group["best_probability"].sum())
        if is_new or missing >= unnamed + LIKELY or not rows:
            unnamed = missing
            holders.sort(key=lambda one: -one["best_probability"])
            is_alone = int((learned_cells(cells)["dollars_mean"] <= most).sum()) == 1
            rows.append(_row(holders, missing) | ({"runners_up": _ALONE} if is_alone else {}))
    return {"spending": rows, "spending_note": _note(count_undrawn(cells, evidence), bool(rows))}


def _row(holders: list[dict[Any, Any]], missing: float) -> dict[str, str]:
    """Return a sum's row.

    Args:
        holders: What it buys, most probably best first.
        missing: Share of draws in which something without an interval is the best.
    """
    first = holders[0]
    runners_up = [
        f"{_describe(one)} ({number(one['best_probability'], 2)})"
        for one in holders[1:2]
        if one["best_probability"] >= _PRINTED
    ]
    if missing >= _PRINTED:
        runners_up.append(f"purchases without an interval ({number(missing, 2)})")
    return {
        "dollars": dollars(first["dollars"]),
        "median": number(first["attained_median"], 2),
        "band": interval(first["attained_low"], first["attained_high"], 2),
        "first": _describe(first),
        "probability": number(first["best_probability"], 2),
        "regret": number(first["expected_regret"]),
        "runners_up": "; ".join(runners_up),
    }


def _describe(cell: Mapping[Any, Any]) -> str:
    return f"{describe_cell(cell['cell'])}{without(cell['holes'])}"


def _note(undrawn: int, has_rows: bool) -> str:
    if not has_rows:
        return (
            "Not known: no ranked purchase has an interval, or predictions are not of the same "
            "images."
        )
    text = (
        f"From the {DRAWS:,} draws behind P(best): the highest robust AUROC among purchases that "
        "cost no more than a sum, as the median and the range of 95 % of the draws; the purchase "
        "that has it most often, with its share of the draws; and how much that purchase misses "
        "the highest by on average. In simulations these ranges hold the truth in about 91 to "
        f"94 %. Sums that bring in nothing with a share of {LIKELY:g} are left out."
    )
    if undrawn:
        text += (
            f" {count(undrawn, 'purchase')} without two seeds with stored predictions "
            f"{'is' if undrawn == 1 else 'are'} in no draw."
        )
    return text
