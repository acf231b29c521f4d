"""Methods against plain ERM on the same annotation, judged together by paired differences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from sweeps.report.answer import key_of, learned_cells
from sweeps.report.evidence import Evidence
from sweeps.report.inference.intervals import Interval
from sweeps.report.inference.orders import Order, judge_orders
from sweeps.report.published_orders import describe_needed
from sweeps.report.wording import NONE, annotation, images, interval, number, without

REFERENCE = "erm"
Cell = Mapping[Any, Any]


def method_context(cells: pd.DataFrame, evidence: Evidence) -> dict[str, Any]:
    """Return `method_orders`, a row per ranked cell of another method whose annotation ERM has.

    Orders of robust AUROC are judged together, with Holm's correction within the table. The
    difference of the overall AUROC stands next to it and is not judged.

    Args:
        cells: The result of `cells`.
        evidence: What they rest on.
    """
    pairs = list(_pairs(cells))
    robust = [evidence.difference(key_of(erm), key_of(one), "robust_auroc") for erm, one in pairs]
    overall = [evidence.difference(key_of(erm), key_of(one), "auroc") for erm, one in pairs]
    return {
        "method_orders": [
            {
                "annotation": annotation(one["cell"].specificity),
                "images": images(one["cell"].budget),
                "method": f"{one['method']}{without(one['holes'])}",
                "reference": f"{erm['method']}{without(erm['holes'])}",
                "robust": _difference(order.difference),
                "overall": _difference(of_all),
                "verdict": _verdict(order, evidence.images(key_of(erm), "robust_auroc")),
            }
            for (erm, one), order, of_all in zip(pairs, judge_orders(robust), overall, strict=True)
        ]
    }


def _pairs(cells: pd.DataFrame) -> Iterator[tuple[Cell, Cell]]:
    """Yield ERM's cell and another one of the same annotation, in the order of the cells."""
    for _, same in learned_cells(cells).groupby(["specificity", "budget"], sort=False):
        rows = same.to_dict("records")
        reference = next((row for row in rows if row["cell"].method.name == REFERENCE), None)
        if reference is not None:
            yield from ((reference, row) for row in rows if row is not reference)


def _difference(of: Interval) -> str:
    if of.kind == "none":
        return f"{number(of.mean)}, no interval: {of.reason}" if of.seeds else NONE
    return f"{number(of.mean)} ({interval(of.low, of.high)})"


def _verdict(order: Order, count_images: int | None) -> str:
    """Return whether the method is above or below, or what would decide it."""
    if order.verdict != "not decided":
        return "above" if order.verdict == "confirmed" else "below"
    return f"not decided ({describe_needed(order, count_images)})"
