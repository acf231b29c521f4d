"""The part of the page that re-prices and compares: its chart, its data, its script."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeps.report.chart import Mark, context_of, frontier_svg
from sweeps.report.offers import Offers, mean_items
from sweeps.report.tables import ReportInput
from sweeps.report.wording import (
    AXIS_WORDS,
    PRICE_WORDS,
    annotation,
    describe_cell,
    dollars,
    images,
    limits,
    number,
    without,
)

MOST_BYTES = 3_500_000
"""Of draws in the page; beyond, it carries fewer of them, and says so."""
Cell = Mapping[Any, Any]


def explore_context(
    source: ReportInput, priced: pd.DataFrame, cells: pd.DataFrame, offers: Offers | None
) -> dict[str, Any]:
    """Return `explore`: the chart, the data, the script; None where there is nothing to show.

    Args:
        source: The report's input.
        priced: The result of `price_trials`.
        cells: The result of `cells`.
        offers: The result of `find_offers`.
    """
    rows = cells[cells["robust_auroc_mean"].notna() & cells["dollars_mean"].notna()]
    shown = rows.to_dict("records")
    if not shown:
        return {"explore": None}
    methods = list(dict.fromkeys(str(row["method"]) for row in shown))
    marks = [_mark(row, methods) for row in shown]
    kinds = {row["cell"].specificity.kind: annotation(row["cell"].specificity) for row in shown}
    kinds = {kind: "coarse masks" if kind == "r" else words for kind, words in kinds.items()}
    data = _data(source, priced, shown, offers, marks)
    text = json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return {
        "explore": {
            "chart": frontier_svg(marks, kinds, methods),
            "data": text,
            "script": script(),
            "draws": data["draws"],
        }
    }


@cache
def script() -> str:
    """Return the page's script."""
    return (Path(__file__).parent / "explore.js").read_text()


@cache
def style() -> str:
    """Return the page's style sheet."""
    return (Path(__file__).parent / "page.css").read_text()


def policy() -> str:
    """Return the page's Content-Security-Policy: its own style and script, pictures in the page."""
    named = {"style-src": style(), "script-src": script()}
    hashes = [f"{where} '{hash_of(text)}'" for where, text in named.items()]
    return "; ".join(["default-src 'none'", "img-src data:", *hashes])


def hash_of(text: str) -> str:
    """Return what a Content-Security-Policy calls a text by."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _mark(row: Cell, methods: Sequence[str]) -> Mark:
    cell, robust = row["cell"], row["robust"]
    name = f"{describe_cell(cell)}{without(row['holes'])}"
    reason: str = "" if pd.isna(row["unlearned"]) else f", not ranked: {row['unlearned']}"
    return Mark(
        name=name,
        kind=cell.specificity.kind,
        budget=images(cell.budget),
        method=methods.index(str(row["method"])),
        dollars=float(row["dollars_mean"]),
        mean=float(row["robust_auroc_mean"]),
        low=float(robust.low),
        high=float(robust.high),
        words=f"{name}: {dollars(row['dollars_mean'])}, robust AUROC {_robust(row)}, "
        f"overall AUROC {_overall(row)}{reason}",
        is_ranked=not reason,
    )


def _robust(row: Cell) -> str:
    return f"{number(row['robust_auroc_mean'])} ({limits(row['robust'])})"


def _overall(row: Cell) -> str:
    return f"{number(row['auroc_mean'])} ({limits(row['overall'])})"


def _data(
    source: ReportInput,
    priced: pd.DataFrame,
    shown: Sequence[Cell],
    offers: Offers | None,
    marks: Sequence[Mark],
) -> dict[str, Any]:
    """Return what the script computes from; draws are by purchase, little-endian 16-bit numbers."""
    items, chart = mean_items(priced), context_of(marks)
    places = [] if offers is None else [offers.place_of(row) for row in shown]
    drawn = [i for i, place in enumerate(places) if place is not None]
    codes = np.empty((0, 0), np.int64)
    if offers is not None and drawn:
        codes = _carried(offers.draws[:, [p for p in places if p is not None]])
    of_rows = [items[row["specificity"], row["budget"], row["method"]] for row in shown]
    used = {name for each in of_rows for _, name, _ in each}
    prices = dataclasses.asdict(source.prices)
    has_compute = source.compute is not None
    return {
        "prices": prices,
        "priced": {name: words for name, words in PRICE_WORDS.items()
                   if name in used or name in ("wage_per_hour", "seconds_per_click")},
        "axis": list(source.axis),
        "parts": {part: words for part, words in AXIS_WORDS.items()
                  if part != "compute" or has_compute},
        "left": chart["left"],
        "right": chart["right"],
        "offers": [
            {
                "name": mark.name,
                "kind": annotation(row["cell"].specificity),
                "method": str(row["method"]),
                "items": [list(each) for each in of],
                "compute": float(np.nan_to_num(row["compute_dollars"])),
                "mean": mark.mean,
                "is_named": row["robust_auroc_interval"] != "none",
                "robust": _robust(row),
                "overall": _overall(row),
                "seeds": ", ".join(number(value, 2) for value in row["robust"].seeds),
                "reason": None if mark.is_ranked else row["unlearned"],
                "y": height,
            }
            for row, mark, of, height in zip(shown, marks, of_rows, chart["heights"], strict=True)
        ],
        "drawn": drawn,
        "draws": len(codes),
        "codes": base64.b64encode(codes.T.astype("<u2").tobytes()).decode(),
    }  # fmt: skip


def _carried(draws: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the draws that the page carries: all, or the first of them."""
    return draws[: MOST_BYTES // (2 * draws.shape[1])]
