"""Published beside measured in words: the page's tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from spurious.config.options import Budget, Specificity
from spurious.scoring.registry import METRICS
from sweeps.plan.cell import Cell
from sweeps.report.cells import CELL
from sweeps.report.evidence import Evidence
from sweeps.report.published import ByRule
from sweeps.report.published_orders import print_number, table_orders
from sweeps.report.wording import (
    NONE,
    annotation,
    describe_cell,
    images,
    interval,
    limits,
    number,
    sentence,
)
from sweeps.spec.papers import PublishedTable, PublishedValue

SIZES = {
    "siim-acr": (
        "SIIM-ACR's robust AUROC rests on 85 negatives and 66 positives: a 95 % half-width of "
        "0.066 at an AUROC of 0.82 for one model, wider than the spreads that the paper prints."
    )
}
"""Dataset to what a reader of its published numbers must know beside each of them."""
_COUNTERPARTS = {"both": "", "sweep": "not in the paper", "paper": "not in this sweep"}

Row = Mapping[str, Any]


def published_sections(
    tables: Sequence[PublishedTable], frame: pd.DataFrame, judged: ByRule
) -> list[dict[str, Any]]:
    """Return what the page shows of each table, in words.

    Args:
        tables: Each once.
        frame: The result of `published_frame` for them.
        judged: As for that.
    """
    return [
        _section(table, _records(frame[_of(frame, table)]), judged[table.epoch].evidence)
        for table in tables
    ]


def _of(frame: pd.DataFrame, table: PublishedTable) -> pd.Series[bool]:
    dataset = table.values[0].dataset
    return (frame["table"] == table.name) & (frame["published_dataset"] == dataset)


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return rows with None for every null that is not a float."""
    plain = {"published_seeds", "published_rank", "note", *CELL}
    return [
        {str(key): None if key in plain and pd.isna(value) else value for key, value in row.items()}
        for row in frame.to_dict("records")
    ]


def _section(
    table: PublishedTable, rows: list[dict[str, Any]], evidence: Evidence
) -> dict[str, Any]:
    of_paper = {_cell(row) for row in rows if row["counterpart"] != "sweep"}
    alone = {_cell(row): describe_cell(row["cell"]) for row in rows if _cell(row) not in of_paper}
    shown = [row for row in rows if _cell(row) in of_paper]
    by_metric = {m: [row for row in shown if row["metric"] == m] for m in table.metrics}
    sentences = table_orders(table.where, by_metric, evidence)
    return {
        **{"where": table.where, "paper": table.paper, "shows": table.shows},
        **{"dataset": table.values[0].dataset, "notes": table.notes, "rule": _rule(table)},
        "metrics": [
            _metric(table, metric, of, sentences[metric]) for metric, of in by_metric.items()
        ],
        "alone": list(alone.values()),
    }


def _rule(table: PublishedTable) -> str:
    """Say which epochs both sides' numbers are of; empty where the report's own rule counts."""
    if table.epoch is None:
        return ""
    epoch = "the last epoch"
    if table.epoch.metric is not None:
        better = "lowest" if METRICS[table.epoch.metric].better == "lower" else "highest"
        split = {"val": "validation", "test": "test"}[str(table.epoch.split)]
        words = METRICS[table.epoch.metric].words
        epoch = f"the evaluated epoch with the {better} {words} on {split} images"
    return (
        f"Judged at {epoch} ('{table.epoch}'), as the paper does, whatever the rule of this report."
    )


def _cell(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in CELL)


def _metric(
    table: PublishedTable, metric: str, rows: list[dict[str, Any]], orders: list[str]
) -> dict[str, Any]:
    ranks = max((row["published_rank"] or 0 for row in rows), default=0)
    rests_on = SIZES.get(table.values[0].dataset, "")
    return {
        "name": sentence(METRICS[metric].words),
        "rows": [_format(row, ranks, rests_on) for row in rows],
        "orders": orders,
    }


def _format(row: Row, ranks: int, rests_on: str) -> dict[str, str]:
    digits = METRICS[row["metric"]].digits
    rank = row["published_rank"]
    published = print_number(row)
    specificity, budget = _bought(row)
    here = "not measured" if row["counterpart"] == "both" else NONE
    return {
        "annotation": annotation(specificity),
        "images": NONE if budget is None else images(budget),
        "method": NONE if row["method"] is None else row["method"],
        "published": published if rank is None else f"place {rank} of {ranks}, 1 the lowest",
        "measured": number(row["measured_mean"], digits) if row["measured_n"] else here,
        "interval": _limits(row),
        "n": str(row["measured_n"]),
        "difference": _format_signed(row["difference"], digits),
        "counterpart": _COUNTERPARTS[row["counterpart"]],
        "note": " ".join(part for part in (row["note"], rests_on) if part),
    }


def _limits(row: Row) -> str:
    """Return a row's interval; of AUROCs without one the seeds and the reason."""
    digits = METRICS[row["metric"]].digits
    if row["interval"] is not None:
        return limits(row["interval"], digits)
    return interval(row["measured_low"], row["measured_high"], digits)


def _bought(row: Row) -> tuple[Specificity, Budget | None]:
    """Return what is annotated in the sweep's cell, or in the paper's where only that has it."""
    cell: Cell | None = row["cell"]
    if cell is not None:
        return cell.specificity, cell.budget
    value: PublishedValue = row["value"]
    return value.bought


def _format_signed(value: float, digits: int) -> str:
    return f"{'+' if value > 0 else ''}{number(value, digits)}"
