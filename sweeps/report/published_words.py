"""Published beside measured in words: the page's tables, and which orders are confirmed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from spurious.config.options import Budget, Specificity
from spurious.scoring.registry import METRICS
from sweeps.plan.cell import Cell
from sweeps.report.cells import CELL
from sweeps.report.statistics import t_interval
from sweeps.report.wording import (
    NONE,
    annotation,
    count,
    describe_cell,
    images,
    interval,
    number,
    sentence,
)
from sweeps.spec.papers import PublishedTable, PublishedValue

_COUNTERPARTS = {"both": "", "sweep": "not in the paper", "paper": "not in this sweep"}

Row = Mapping[str, Any]


def published_sections(
    tables: Sequence[PublishedTable], frame: pd.DataFrame
) -> list[dict[str, Any]]:
    """Return what the page shows of each table, in words.

    Args:
        tables: Each once.
        frame: The result of `published_frame` for them.
    """
    return [_section(table, _records(frame[_of(frame, table)])) for table in tables]


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


def _section(table: PublishedTable, rows: list[dict[str, Any]]) -> dict[str, Any]:
    of_paper = {_cell(row) for row in rows if row["counterpart"] != "sweep"}
    alone = {_cell(row): describe_cell(row["cell"]) for row in rows if _cell(row) not in of_paper}
    shown = [row for row in rows if _cell(row) in of_paper]
    return {
        **{"where": table.where, "paper": table.paper, "shows": table.shows},
        **{"dataset": table.values[0].dataset, "notes": table.notes},
        "metrics": [
            _metric(table, metric, [row for row in shown if row["metric"] == metric])
            for metric in table.metrics
        ],
        "alone": list(alone.values()),
    }


def _cell(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in CELL)


def _metric(table: PublishedTable, metric: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    ranks = max((row["published_rank"] or 0 for row in rows), default=0)
    return {
        "name": sentence(METRICS[metric].words),
        "rows": [_format(row, ranks) for row in rows],
        "orders": orders(table.where, metric, rows),
    }


def _format(row: Row, ranks: int) -> dict[str, str]:
    digits = METRICS[row["metric"]].digits
    rank = row["published_rank"]
    published = _spread(row["published_mean"], row["published_sd"], digits)
    specificity, budget = _bought(row)
    here = "not measured" if row["counterpart"] == "both" else NONE
    return {
        "annotation": annotation(specificity),
        "images": NONE if budget is None else images(budget),
        "method": NONE if row["method"] is None else row["method"],
        "published": published if rank is None else f"place {rank} of {ranks}, 1 the lowest",
        "measured": number(row["measured_mean"], digits) if row["measured_n"] else here,
        "interval": interval(row["measured_low"], row["measured_high"], digits),
        "n": str(row["measured_n"]),
        "difference": _format_signed(row["difference"], digits),
        "counterpart": _COUNTERPARTS[row["counterpart"]],
        "note": row["note"] or "",
    }


def _bought(row: Row) -> tuple[Specificity, Budget | None]:
    """Return what is annotated in the sweep's cell, or in the paper's where only that has it."""
    cell: Cell | None = row["cell"]
    if cell is not None:
        return cell.specificity, cell.budget
    value: PublishedValue = row["value"]
    return value.bought


def _spread(mean: float, sd: float, digits: int) -> str:
    more = "" if math.isnan(sd) else f" \N{PLUS-MINUS SIGN} {number(sd, digits)}"
    return number(mean, digits) + more


def _format_signed(value: float, digits: int) -> str:
    return f"{'+' if value > 0 else ''}{number(value, digits)}"


def orders(where: str, metric: str, rows: Sequence[Row]) -> list[str]:
    """Compare pairs of cells with the paper's order: a count, and a sentence per reversed pair.

    A pair is confirmed or contradicted where its measured intervals do not overlap, else left open.
    What is a property of the images has one value per specificity and budget, whatever the method:
    such pairs are counted once, and where all seeds have the same images they stay open.

    Args:
        where: What the paper calls its table.
        metric: One of `spurious.scoring.registry.METRICS`.
        rows: Rows of `published_frame` of one table and metric.
    """
    confirmed, left_open, reversed_pairs = 0, 0, []
    matched = [row for row in rows if row["counterpart"] == "both" and row["measured_n"]]
    of_images, words = METRICS[metric].of_images, METRICS[metric].words
    if of_images:
        matched = list({(row["specificity"], row["budget"]): row for row in matched}.values())
    paper_pairs = list(_paper_pairs(matched, of_images))
    for low, high in paper_pairs:
        if high["measured_low"] > low["measured_high"]:
            confirmed += 1
        elif low["measured_low"] > high["measured_high"]:
            reversed_pairs.append(_reversal(where, metric, low, high))
        else:
            left_open += 1
    pairs = len(paper_pairs)
    if not pairs:
        return []
    if of_images and all(math.isnan(row["measured_low"]) for row in matched):
        alike = sum(high["measured_mean"] > low["measured_mean"] for low, high in paper_pairs)
        return [
            f"{count(pairs, 'pair')} of annotations have an order by {words} in {where}. "
            f"Every seed has the same images, so the measured values are one draw without an "
            f"interval: {pairs} left open; the values are in the paper's order in {alike}."
        ]
    return [
        f"{count(pairs, 'pair')} of cells have an order by {words} in {where}: the "
        f"measured 95 % intervals confirm {confirmed}, contradict {len(reversed_pairs)}, and "
        f"overlap, or are missing, in {left_open}.",
        *reversed_pairs,
    ]


def _paper_pairs(rows: Sequence[Row], of_one_budget: bool) -> Iterator[tuple[Row, Row]]:
    """Pairs of rows that the paper orders, the lower one first."""
    for one, other in itertools.combinations(rows, 2):
        if of_one_budget and one["budget"] != other["budget"]:
            continue
        places = [row["published_rank"] or row["published_mean"] for row in (one, other)]
        if places[0] != places[1]:
            yield (one, other) if places[0] < places[1] else (other, one)


def _reversal(where: str, metric: str, low: Row, high: Row) -> str:
    digits, words = METRICS[metric].digits, METRICS[metric].words
    measured = [
        f"{number(row['measured_mean'], digits)} "
        f"({interval(row['measured_low'], row['measured_high'], digits)})"
        for row in (low, high)
    ]
    text = (
        f"{sentence(describe_cell(low['cell']))}: measured {words} {measured[0]}, above "
        f"{measured[1]} of {describe_cell(high['cell'])}, and the intervals do not overlap. "
        f"{where} has it the other way round"
    )
    if low["published_rank"] is not None:
        return f"{text}, without numbers."
    printed = [_spread(row["published_mean"], row["published_sd"], digits) for row in (low, high)]
    text += f": {printed[0]} below {printed[1]}"
    ends = [
        t_interval(row["published_mean"], row["published_sd"], row["published_seeds"] or 0)
        for row in (low, high)
    ]
    if ends[0][1] >= ends[1][0]:
        return f"{text}, where the paper's own 95 % intervals overlap."
    return f"{text}."
