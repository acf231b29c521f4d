"""Numbers of papers beside the measured ones, matched cell by cell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from spurious.config.datasets import GaussianSquares
from spurious.scoring.registry import METRICS
from spurious.scoring.selection import SelectionRule
from sweeps.plan.cell import Cell
from sweeps.report.cells import CELL, cell_keys
from sweeps.report.evidence import Evidence, Key
from sweeps.report.inference.intervals import Interval
from sweeps.report.measures import squares_measured
from sweeps.report.readings import READ_METRICS
from sweeps.report.statistics import Summary, summarize, summarize_images, within
from sweeps.report.tables import REPORT_PUBLISHED, REPORT_SCHEMA_VERSION, ReportInput
from sweeps.report.trials import select_and_price
from sweeps.spec.papers import PublishedTable, PublishedValue

OBJECTS = ["value", "cell", "holes", "seeds", "interval", "decimals"]
"""Columns that are not written: what sentences are made from."""


@dataclass(frozen=True)
class Judged:
    """Trials at the epochs of one rule.

    Attributes:
        priced: The result of `price_trials`.
        evidence: What cells rest on at these epochs.
    """

    priced: pd.DataFrame
    evidence: Evidence


ByRule = Mapping[SelectionRule | None, Judged]
"""Rule of a published table to the trials at its epochs; None to those at the report's own."""


def judge_by_rule(source: ReportInput, priced: pd.DataFrame, evidence: Evidence) -> ByRule:
    """Return the trials at the epochs of every rule that a published table has.

    Args:
        source: The report's input.
        priced: Its trials at its own rule.
        evidence: Of these.
    """
    judged: dict[SelectionRule | None, Judged] = {None: Judged(priced, evidence)}
    for rule in dict.fromkeys(table.epoch for table in source.published):
        if rule is not None:
            at_rule = select_and_price(source, rule)
            judged[rule] = Judged(at_rule, Evidence(at_rule, source.readings))
    return judged


def published_frame(
    tables: Sequence[PublishedTable],
    cells: pd.DataFrame,
    judged: ByRule,
    epochs: pd.DataFrame,
    squares: GaussianSquares | None = None,
) -> pd.DataFrame:
    """Every planned cell and every published one of each table and metric, matched where both are.

    A published specificity `box` matches one box per image, too, and a published method any
    options of it. A number without a budget or a method matches every one.

    Args:
        tables: What papers say of this sweep's dataset.
        cells: The result of `cells`.
        judged: Trials at the epochs of every rule that a table has.
        epochs: Columns of `sweeps.results.schemas.EPOCHS`.
        squares: The generator's options where the sweep is on squares, whose mutual information
            is measured on the images; elsewhere nobody knows where the spurious pixels are.

    Returns:
        Columns of `REPORT_PUBLISHED`, `value` as a `PublishedValue` and `cell` as a `Cell`, None
        where there is none, `holes` as the planned seeds without a result, `seeds` as seed to
        defined value, `interval` as an `Interval` of metrics with readings, else None, and
        `decimals` of the published number; per table and metric the cells of the sweep first.
    """
    rows: list[dict[str, Any]] = []
    for table in tables:
        for metric in table.metrics:
            values = [value for value in table.values if value.metric == metric]
            measured = _measured(metric, cells, judged[table.epoch], epochs, squares)
            matched = set()
            for cell, holes in zip(cells["cell"], cells["holes"], strict=True):
                value = next((value for value in values if _covers(value, cell)), None)
                matched.add(value)
                row = _row(table, metric, cell.key, value, measured.get(cell.key))
                rows.append(row | {"cell": cell, "holes": holes})
            for value in values:
                if value not in matched:
                    of_paper = (value.specificity, value.budget, value.method)
                    row = _row(table, metric, of_paper, value, None)
                    rows.append(row | {"counterpart": "paper", "cell": None, "holes": ()})
    columns = [column.name for column in REPORT_PUBLISHED]
    frame = pd.DataFrame(rows, columns=[*columns, *OBJECTS])
    return frame.astype({"published_seeds": "Int64", "published_rank": "Int64"})


def _covers(value: PublishedValue, cell: Cell) -> bool:
    coarse = "box" if cell.specificity.kind == "box" else str(cell.specificity)
    return (
        value.specificity == coarse
        and value.budget in (None, str(cell.budget))
        and value.method in (None, cell.method.name)
    )


@dataclass(frozen=True)
class Measured:
    """What a sweep has of one metric of one cell.

    Attributes:
        summary: Over seeds; its interval is that for new seeds and patients where there is one.
        seeds: Seed to defined value; empty for what is measured once.
        interval: Of metrics with readings; None for others.
    """

    summary: Summary
    seeds: Mapping[int, float] = field(default_factory=dict)
    interval: Interval | None = None


def _measured(
    metric: str,
    cells: pd.DataFrame,
    judged: Judged,
    epochs: pd.DataFrame,
    squares: GaussianSquares | None,
) -> dict[Key, Measured]:
    """Return it per cell; cells without a result are left out."""
    if metric == "mutual_information":
        return _information(squares, cells)
    if metric in READ_METRICS:
        return {key: _read(judged.evidence, key, metric) for key in cell_keys(cells)}
    summaries = summarize_images if METRICS[metric].of_images else summarize
    return {
        key: Measured(
            within(summaries(values), METRICS[metric]),
            dict(zip(values.dropna().index.astype(int), values.dropna(), strict=True)),
        )
        for key, values in _by_seed(metric, judged.priced, epochs).items()
    }


def _read(evidence: Evidence, key: Key, metric: str) -> Measured:
    seeds, interval = evidence.values(key, metric), evidence.interval(key, metric)
    summary = summarize(list(seeds.values()))
    return Measured(replace(summary, low=interval.low, high=interval.high), seeds, interval)


def _by_seed(metric: str, priced: pd.DataFrame, epochs: pd.DataFrame) -> dict[Key, pd.Series[Any]]:
    """Return seed to value, per cell; empty where no trial has the metric."""
    once = METRICS[metric].once
    if METRICS[metric].whole and once is None:
        values = priced[[*CELL, "seed"]].assign(value=priced[f"test_{metric}"])
    else:
        mine = (epochs["metric"] == metric) & (epochs["split"] == (once or "test"))
        keys = ["trial_id", "attempt"] if once else ["trial_id", "attempt", "epoch"]
        values = priced[[*keys, *CELL, "seed"]].merge(epochs[mine], on=keys)
        if values["attribute"].nunique() > 1:  # a paper speaks of one spurious feature
            return {}
    grouped = {tuple(map(str, key)): group for key, group in values.groupby(CELL)}
    return {
        (key[0], key[1], key[2]): group.set_index("seed")["value"].sort_index()
        for key, group in grouped.items()
    }


def _information(squares: GaussianSquares | None, cells: pd.DataFrame) -> dict[Key, Measured]:
    """Measured on the generator's training images: one draw, whatever the budget and the seed."""
    if squares is None:
        return {}
    by_specificity = squares_measured(squares, cells).by_specificity
    values = {cell.key: by_specificity[cell.specificity].mi for cell in cells["cell"]}
    return {key: Measured(summarize([value])) for key, value in values.items()}


def _row(
    table: PublishedTable,
    metric: str,
    cell: tuple[str, str | None, str | None],
    value: PublishedValue | None,
    measured: Measured | None,
) -> dict[str, Any]:
    mean = value.mean if value is not None and value.mean is not None else math.nan
    measured = measured or Measured(summarize([]))
    summary = measured.summary
    return {
        "schema_version": REPORT_SCHEMA_VERSION,
        "table": table.name,
        "published_dataset": table.values[0].dataset,
        "rule": None if table.epoch is None else str(table.epoch),
        "metric": metric,
        **dict(zip(CELL, cell, strict=True)),
        "counterpart": "sweep" if value is None else "both",
        "published_mean": mean,
        "published_sd": math.nan if value is None or value.sd is None else value.sd,
        "published_seeds": None if value is None or value.sd is None else table.seeds,
        "published_rank": None if value is None else value.rank,
        "note": None if value is None else value.note,
        "measured_n": summary.n,
        "measured_mean": summary.mean,
        "measured_sd": summary.sd,
        "measured_low": summary.low,
        "measured_high": summary.high,
        "difference": summary.mean - mean,
        "value": value,
        "seeds": measured.seeds,
        "interval": measured.interval,
        "decimals": METRICS[metric].digits if table.decimals is None else table.decimals,
    }
