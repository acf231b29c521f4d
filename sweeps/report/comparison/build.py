"""`build_comparison`: from the inputs of two reports to the files of their comparison."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sweeps.report.cells import cell_keys
from sweeps.report.comparison.drawing import MOST_ROWS, draw_differences
from sweeps.report.comparison.frame import Side, comparison_frame, names
from sweeps.report.comparison.words import answer, caveats, find_differences
from sweeps.report.explore import hash_of, style
from sweeps.report.figure import Drawing
from sweeps.report.output import to_parquet, write_files
from sweeps.report.rendering import render_markdown, render_page
from sweeps.report.tables import ReportInput
from sweeps.report.wording import NONE, annotation, describe_cell, dollars, images, interval, number

STEPS = 4


@dataclass(frozen=True)
class ComparisonFiles:
    """The files of a comparison, all in one folder.

    Attributes:
        page: HTML, self-contained.
        paths: All files, the page among them.
        answer: The page's answer, as text.
        caveats: What limits it, one sentence or more each.
    """

    page: Path
    paths: list[Path]
    answer: str
    caveats: tuple[str, ...]


def build_comparison(
    first: ReportInput,
    second: ReportInput,
    out: Path,
    created_at: str,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> ComparisonFiles:
    """Write how the second sweep differs from the first, purchase by purchase.

    Args:
        first, second: Inputs of their reports, each at its own rule, prices and axis.
        out: Folder, made where it is missing.
        created_at: When, ISO 8601 in UTC.
        on_step: Receives how many steps are done, and of how many.

    Raises:
        ResultError: a sweep has no committed trial, or tables that contradict each other.
    """
    on_step(0, STEPS)
    sides = Side.of(first), Side.of(second)
    on_step(1, STEPS)
    called, frame = names(sides), comparison_frame(*sides)
    on_step(2, STEPS)
    drawing = draw_differences(frame, *called)
    on_step(3, STEPS)
    message, limits = answer(frame, *called), caveats(frame, *sides, called)
    context = {
        "first": called[0],
        "second": called[1],
        "created_at": created_at,
        "answer": message,
        "caveats": limits,
        "differing": find_differences(*sides),
        "rows": [_row(row) for row in _joined(frame) if _is_shown(row)],
        "rest": [_rest(row, called) for row in _joined(frame) if not _is_shown(row)],
        "figure": "" if drawing is None else base64.b64encode(drawing.png).decode(),
        "left_out": max(len(set(cell_keys(frame[frame["difference"].notna()]))) - MOST_ROWS, 0),
        "style": style(),
        "policy": f"default-src 'none'; img-src data:; style-src '{hash_of(style())}'",
    }
    contents = {
        "comparison.parquet": to_parquet(frame, "comparison"),
        **_drawn(drawing),
        "comparison.md": render_markdown(context, "comparison/comparison.md").encode(),
        "comparison.html": render_page(context, "comparison/comparison.html").encode(),
    }
    paths = write_files(out, contents)
    on_step(STEPS, STEPS)
    page = out / "comparison.html"
    return ComparisonFiles(page, paths, message, tuple(limits))


def _drawn(drawing: Drawing | None) -> dict[str, bytes]:
    if drawing is None:
        return {}
    kinds = {"png": drawing.png, "svg": drawing.svg, "pdf": drawing.pdf}
    return {f"comparison.{kind}": data for kind, data in kinds.items()}


def _joined(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a row per purchase with the row of each metric."""
    robust, overall = (_records(frame, name) for name in ("robust_auroc", "auroc"))
    return [{**one, "overall": other} for one, other in zip(robust, overall, strict=True)]


def _records(frame: pd.DataFrame, metric: str) -> list[dict[str, Any]]:
    rows = frame[frame["metric"] == metric].to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in rows]


def _is_shown(row: Mapping[str, Any]) -> bool:
    return any(isinstance(of["verdict"], str) for of in (row, row["overall"]))


def _rest(row: Mapping[str, Any], called: tuple[str, str]) -> str:
    """Say why a purchase is not compared."""
    if row["in_sweeps"] != "both":
        name = called[0] if row["in_sweeps"] == "first" else called[1]
        return f"{describe_cell(row['cell'])}: in the plan of {name} alone"
    return f"{describe_cell(row['cell'])}: {row['reason']}"


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    cell = row["cell"]
    return {
        "annotation": annotation(cell.specificity),
        "images": images(cell.budget),
        "method": str(cell.method),
        "robust": _metric(row),
        "overall": _metric(row["overall"]),
        "dollars": [dollars(row[f"{side}_dollars"]) for side in ("first", "second")],
        "unlearned": [
            f"{side}: {row[f'{side}_unlearned']}"
            for side in ("first", "second")
            if isinstance(row[f"{side}_unlearned"], str)
        ],
    }


def _text(value: object) -> str:
    """Return a text; empty for none, which pandas holds as NaN."""
    return value if isinstance(value, str) else ""


def _metric(row: Mapping[str, Any]) -> dict[str, Any]:
    limits = interval(row["low"], row["high"])
    return {
        "sides": [
            {
                "mean": number(row[f"{side}_mean"]),
                "interval": interval(row[f"{side}_low"], row[f"{side}_high"]),
                "seeds": row[f"{side}_seeds"],
            }
            for side in ("first", "second")
        ],
        "difference": number(row["difference"]),
        "interval": limits if limits != NONE else _text(row["reason"]),
        "verdict": _text(row["verdict"]) or "not compared",
        "paired": "yes" if row["paired"] else "no",
    }
