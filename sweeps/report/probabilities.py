"""What the draws of all cells together say: of each cell, and of each sum of dollars."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeps.report.evidence import Evidence, Key
from sweeps.report.inference.attainment import attainment
from sweeps.report.inference.joint import frontier_probability, non_inferiority
from sweeps.report.tables import REPORT_ATTAINMENT, REPORT_SCHEMA_VERSION

Floats = NDArray[np.float64]
_ROBUST, _MEAN = "robust_auroc", "robust_auroc_mean"
_PROBABILITIES = (
    *("frontier_probability", "best_probability"),
    *("non_inferior_probability", "expected_regret"),
)


def cell_probabilities(table: pd.DataFrame, evidence: Evidence, margin: float) -> dict[str, Floats]:
    """Return the columns of `REPORT_CELLS` that come from draws; NaN for cells without an interval.

    Args:
        table: The cells, with their costs, intervals and whether they learned.
        evidence: What they rest on.
        margin: How far below the best cell one may be that is called not inferior.
    """
    columns = {name: np.full(len(table), np.nan) for name in _PROBABILITIES}
    rows, draws = _draw(table, evidence)
    if draws is None:
        return columns
    dollars, means = (
        table[name].to_numpy(dtype=np.float64)[rows] for name in ("dollars_mean", _MEAN)
    )
    best = int(np.lexsort((dollars, -means))[0])
    reached = attainment(dollars, draws)
    nothing = np.full(len(rows), np.nan)
    values = (
        frontier_probability(dollars, draws),
        reached.best[-1] if len(reached.dollars) else nothing,
        non_inferiority(draws, best, margin),
        reached.regret[-1] if len(reached.dollars) else nothing,
    )
    for name, value in zip(_PROBABILITIES, values, strict=True):
        columns[name][rows] = value
    has_interval = _has_interval(table)
    return {name: np.where(has_interval, column, np.nan) for name, column in columns.items()}


def attainment_frame(table: pd.DataFrame, evidence: Evidence) -> pd.DataFrame:
    """Return what each sum reaches and with which cell, from the draws of `cell_probabilities`.

    Args:
        table: The result of `cells`.
        evidence: What they rest on.

    Returns:
        Columns of `REPORT_ATTAINMENT`: a row per cost of a cell and cell that costs no more, with
        an interval and a probability above 0; dollars ascending, cells in the order of `table`.
    """
    columns = [column.name for column in REPORT_ATTAINMENT]
    rows, draws = _draw(table, evidence)
    if draws is None:
        return pd.DataFrame(columns=columns)
    drawn = table.iloc[rows]
    reached = attainment(drawn["dollars_mean"], draws)
    sums, cells = np.nonzero((reached.best > 0) & _has_interval(drawn))
    frame = pd.DataFrame(
        {
            "schema_version": REPORT_SCHEMA_VERSION,
            "dollars": reached.dollars[sums],
            "attained_low": reached.low[sums],
            "attained_median": reached.median[sums],
            "attained_high": reached.high[sums],
            **{name: drawn[name].to_numpy()[cells] for name in ("specificity", "budget", "method")},
            "best_probability": reached.best[sums, cells],
            "expected_regret": reached.regret[sums, cells],
        }
    )
    return frame[columns]


def count_undrawn(table: pd.DataFrame, evidence: Evidence) -> int:
    """Return how many cells that learned and have a robust AUROC are in no draw."""
    rows, draws = _draw(table, evidence)
    scored = table[_MEAN].notna().to_numpy()[rows]
    return int((scored & np.isnan(draws).any(axis=0)).sum() if draws is not None else scored.sum())


def _draw(table: pd.DataFrame, evidence: Evidence) -> tuple[NDArray[np.intp], Floats | None]:
    """Return the rows of the cells that learned, and (N, rows) draws of their robust AUROCs."""
    rows = np.flatnonzero(table["unlearned"].isna() & table["dollars_mean"].notna())
    names = (table[name].to_numpy()[rows] for name in ("specificity", "budget", "method"))
    keys: list[Key] = list(zip(*names, strict=True))
    return rows, evidence.draws(keys, _ROBUST)


def _has_interval(table: pd.DataFrame) -> NDArray[np.bool_]:
    return table["robust_auroc_interval"].ne("none").to_numpy(dtype=bool)
