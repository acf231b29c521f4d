"""The table of a comparison: each purchase in both sweeps, and the difference."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sweeps.report.cells import cell_keys, cells
from sweeps.report.comparison.columns import REPORT_COMPARISON
from sweeps.report.evidence import Evidence, Key, paired_difference
from sweeps.report.inference.intervals import (
    CONFIDENCE,
    FEWEST_SEEDS,
    Interval,
    independent_difference,
)
from sweeps.report.inference.orders import holm, p_value
from sweeps.report.readings import READ_METRICS
from sweeps.report.tables import (
    REPORT_SCHEMA_VERSION,
    ReportInput,
    budget_order,
    specificity_order,
)
from sweeps.report.trials import select_and_price

METRICS = tuple(sorted(READ_METRICS, reverse=True))
"""Robust AUROC first."""
SAME, NOT_DECIDED = "the same trials", "not decided"


@dataclass(frozen=True)
class Side:
    """One of the two sweeps.

    Attributes:
        source: Its report's input.
        cells: The result of `sweeps.report.cells.cells`.
        evidence: What they rest on.
        trials: Ids of the finished trials of each cell.
    """

    source: ReportInput
    cells: pd.DataFrame
    evidence: Evidence
    trials: Mapping[Key, frozenset[str]]

    @classmethod
    def of(cls, source: ReportInput) -> Side:
        """Return what its own report says of each purchase."""
        priced = select_and_price(source, source.rule)
        evidence = Evidence(priced, source.readings)
        planned, failures = source.planned, source.failures
        table = cells(priced, planned, failures, evidence, source.margin, source.tune)
        trials: dict[Key, set[str]] = {}
        for key, trial_id in zip(cell_keys(priced), priced["trial_id"], strict=True):
            trials.setdefault(key, set()).add(trial_id)
        frozen = {key: frozenset(ids) for key, ids in trials.items()}
        return cls(source, table, evidence, frozen)

    @property
    def name(self) -> str:
        """The sweep's name."""
        return self.source.provenance.sweep

    @property
    def rows(self) -> Mapping[Key, Mapping[Any, Any]]:
        """Rows of `cells` by key."""
        return dict(zip(cell_keys(self.cells), self.cells.to_dict("records"), strict=True))


def comparison_frame(first: Side, second: Side) -> pd.DataFrame:
    """Return each metric of each purchase of either sweep.

    A purchase is the same in both where specificity, budget and method with its options are.
    Differences of one metric are judged together, by Holm's step-down rule at 5 %. Where both
    sweeps have the very same trials there is none.

    Returns:
        Columns of `REPORT_COMPARISON` and `cell` as a `Cell`; robust AUROC first, then from coarse
        to fine specificity and small to large budget.
    """
    of_first, of_second = first.rows, second.rows
    known = {key: row["cell"] for key, row in {**of_second, **of_first}.items()}
    ordered = sorted(
        known.items(),
        key=lambda item: (
            specificity_order(item[1].specificity), budget_order(item[1].budget), item[0]
        ),
    )  # fmt: skip
    rows: list[dict[str, Any]] = []
    for metric in METRICS:
        mine = [
            {"cell": cell} | _row(first, second, key, metric, of_first.get(key), of_second.get(key))
            for key, cell in ordered
        ]
        both = [row for row in mine if "interval" in row]
        values = [p_value(row.pop("interval")) for row in both]
        for row, is_decided in zip(both, holm(values, 1.0 - CONFIDENCE), strict=True):
            row["verdict"] = NOT_DECIDED
            if is_decided:
                row["verdict"] = "higher" if row["difference"] > 0 else "lower"
        rows += mine
    columns = [column.name for column in REPORT_COMPARISON]
    return pd.DataFrame(rows, columns=[*columns, "cell"])


def _row(
    first: Side,
    second: Side,
    key: Key,
    metric: str,
    of_first: Mapping[Any, Any] | None,
    of_second: Mapping[Any, Any] | None,
) -> dict[str, Any]:
    in_sweeps = "second" if of_first is None else "first" if of_second is None else "both"
    row: dict[str, Any] = {
        "schema_version": REPORT_SCHEMA_VERSION,
        **dict(zip(("specificity", "budget", "method"), key, strict=True)),
        **{"in_sweeps": in_sweeps, "metric": metric, "paired": False, "verdict": None},
        **{"difference": math.nan, "low": math.nan, "high": math.nan, "reason": None},
        **_side("first", first, key, metric, of_first),
        **_side("second", second, key, metric, of_second),
    }
    if in_sweeps == "both" and first.trials.get(key) == second.trials.get(key):
        row |= {"paired": True, "verdict": SAME}
    elif in_sweeps == "both" and (lacking := _lacking(row)):
        row["reason"] = f"no result in the {lacking}"
    elif in_sweeps == "both":
        interval, paired = _difference(first, second, key, metric)
        row |= {"interval": interval, "paired": paired, "difference": interval.mean}
        row |= {"low": interval.low, "high": interval.high, "reason": interval.reason or None}
    return row


def _lacking(row: Mapping[str, Any]) -> str:
    """Return which sweep has no seed with a value, both perhaps; empty where each has one."""
    lacking = [side for side in ("first", "second") if not row[f"{side}_seeds"]]
    return " and in the ".join(lacking)


def _side(
    name: str, side: Side, key: Key, metric: str, row: Mapping[Any, Any] | None
) -> dict[str, Any]:
    of = Interval((), math.nan) if row is None else side.evidence.interval(key, metric)
    return {
        f"{name}_seeds": len(of.seeds),
        f"{name}_mean": of.mean,
        f"{name}_low": of.low,
        f"{name}_high": of.high,
        f"{name}_dollars": math.nan if row is None else row["dollars_mean"],
        f"{name}_unlearned": None if row is None else row["unlearned"],
    }


def _difference(first: Side, second: Side, key: Key, metric: str) -> tuple[Interval, bool]:
    """Return second minus first, and whether it is paired: on the same images, by common seeds."""
    paired = paired_difference((first.evidence, key), (second.evidence, key), metric)
    if len(paired.seeds) >= FEWEST_SEEDS and paired.kind != "none":
        return paired, True
    sides = [side.evidence.interval(key, metric) for side in (first, second)]
    if not _same_images(first, second, key, metric) or len(paired.seeds) < FEWEST_SEEDS:
        return independent_difference(*sides), False
    return paired, True


def _same_images(first: Side, second: Side, key: Key, metric: str) -> bool:
    readings = [
        side.evidence.reading(key, seed, metric)
        for side in (first, second)
        for seed in side.evidence.values(key, metric)
    ]
    return len({None if reading is None else reading.images for reading in readings}) == 1


def names(sides: Sequence[Side]) -> tuple[str, str]:
    """Return what the two are called: their sweeps' names, told apart where they are equal."""
    one, other = (side.name for side in sides)
    return (one, other) if one != other else (f"{one} (first)", f"{other} (second)")
