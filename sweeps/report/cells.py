"""The table of cells (what was bought, and how well it worked) and the trials without a result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeps.errors import ResultError
from sweeps.plan.cell import Cell
from sweeps.report.evidence import Evidence, Key
from sweeps.report.frontier import frontier_share, on_frontier
from sweeps.report.gate import find_unlearned
from sweeps.report.inference.intervals import Interval
from sweeps.report.probabilities import cell_probabilities
from sweeps.report.statistics import Summary, summarize
from sweeps.report.tables import (
    REPORT_CELLS,
    REPORT_SCHEMA_VERSION,
    PlannedTrial,
    budget_order,
    specificity_order,
)
from sweeps.report.tuned import find_not_chosen

CELL = ["specificity", "budget", "method"]
SECONDS_PER_HOUR = 3600.0
OBJECTS = ["cell", "robust", "overall", "holes"]
"""Columns that are not written: objects that sentences are made from."""
_DIGITS = 8
"""Of mean dollars: sums in another order differ in last bits, and would not tie."""
_STATISTICS = ("mean", "sd", "min", "max")
_INTERVALS = ("robust_auroc", "auroc")


def cells(
    priced: pd.DataFrame,
    planned: Sequence[PlannedTrial],
    failures: pd.DataFrame,
    evidence: Evidence,
    margin: float,
    tune: Sequence[str] = (),
) -> pd.DataFrame:
    """Return one row per planned cell with its statistics over seeds and its place on the frontier.

    Args:
        priced: The result of `price_trials`: one dataset, trials of the plan only.
        planned: Every trial of the plan.
        failures: Columns of `sweeps.results.schemas.FAILURES`.
        evidence: The same trials with their readings.
        margin: How far below the best cell one may be that is called not inferior.
        tune: Options of methods whose values are a grid, see `sweeps.report.tuned`.

    Returns:
        Columns of `REPORT_CELLS`, `cell` as a `Cell`, `robust` and `overall` as an `Interval` and
        `holes`, the planned seeds without a defined robust AUROC; from coarse to fine
        specificity, small to large budget.

    Raises:
        ResultError: a trial that is not planned, two trials of one seed in a cell, or trials of
            several datasets, models or balances in one cell.
    """
    _check(priced, planned)
    by_cell = dict(list(priced.sort_values("seed").groupby(CELL, sort=False)))
    seeds = _seeds(priced, planned, failures)
    rows = [
        _row(priced, cell, by_cell.get(cell.key, priced.iloc[:0]), seeds[cell.key], evidence)
        for cell in _order(planned)
    ]
    table = pd.DataFrame(rows)
    table["unlearned"] = _mark_not_chosen(table, priced, tune)
    table["complete"] = table["robust_auroc_n"] == table["seeds_planned"]
    learned = table["unlearned"].isna()
    scores = table["robust_auroc_mean"].where(learned)
    table["on_frontier"] = on_frontier(table["dollars_mean"], scores)
    keys = cell_keys(table)
    table["frontier_share"] = frontier_share(
        by_seed(priced, keys, "dollars"), by_seed(priced, keys, "test_robust_auroc")
    )
    table = table.assign(
        **cell_probabilities(table, evidence, margin), schema_version=REPORT_SCHEMA_VERSION
    )
    return table[[*(column.name for column in REPORT_CELLS), *OBJECTS]]


def _mark_not_chosen(table: pd.DataFrame, priced: pd.DataFrame, tune: Sequence[str]) -> list[Any]:
    """Return why each cell is not ranked, those that lost on validation included."""
    on_validation: dict[Key, dict[int, float]] = {}
    seeds, values = priced["seed"].tolist(), priced["val_auroc"].tolist()
    for key, seed, value in zip(cell_keys(priced), seeds, values, strict=True):
        on_validation.setdefault(key, {})[int(seed)] = float(value)
    reasons = find_not_chosen(list(table["cell"]), on_validation, tune)
    pairs = zip(table["cell"], table["unlearned"], strict=True)
    return [reasons.get(cell.key, reason) for cell, reason in pairs]


def _seeds(
    priced: pd.DataFrame, planned: Sequence[PlannedTrial], failures: pd.DataFrame
) -> dict[Key, tuple[list[int], int]]:
    """Return each cell's planned seeds, and how many of those without a result failed."""
    failed = set(failures["trial_id"])
    lost = Counter(trial.key for trial in _missing(priced, planned) if trial.trial_id in failed)
    seeds: dict[Key, list[int]] = {}
    for trial in planned:
        seeds.setdefault(trial.key, []).append(trial.seed)
    return {key: (of, lost[key]) for key, of in seeds.items()}


def _row(
    priced: pd.DataFrame,
    cell: Cell,
    trials: pd.DataFrame,
    seeds: tuple[list[int], int],
    evidence: Evidence,
) -> dict[str, Any]:
    """Return what a cell's row says of it alone."""
    planned, failed = seeds
    robust, overall = (evidence.interval(cell.key, name) for name in _INTERVALS)
    known = evidence.values(cell.key, "robust_auroc")
    return {
        "dataset": priced["dataset"].iloc[0],
        "dataset_digest": priced["dataset_digest"].iloc[0],
        **dict(zip(CELL, cell.key, strict=True)),
        "cell": cell,
        "oracle": cell.method.options.oracle,
        "balance": trials["balance"].iloc[0] if len(trials) else None,
        "model": trials["model"].iloc[0] if len(trials) else None,
        "seeds_planned": len(planned),
        "seeds_done": len(trials),
        "seeds_failed": failed,
        **_measures(trials, robust, overall),
        "unlearned": find_unlearned(trials, overall, cell.segments),
        "robust": robust,
        "overall": overall,
        "holes": tuple(sorted(set(planned) - set(known))),
    }


def cell_keys(table: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Specificity, budget and method of every row."""
    return list(zip(*(table[name].tolist() for name in CELL), strict=True))


def by_seed(
    priced: pd.DataFrame, keys: Sequence[tuple[str, str, str]], column: str
) -> NDArray[np.float64]:
    """(C, S) values of a column, cells in the order of `keys` by ascending seeds; NaN if absent."""
    wide = priced.pivot(index=CELL, columns="seed", values=column).sort_index(axis=1)
    return wide.reindex(pd.MultiIndex.from_tuples(keys, names=CELL)).to_numpy(dtype=np.float64)


def find_unfinished(
    priced: pd.DataFrame, planned: Sequence[PlannedTrial], failures: pd.DataFrame
) -> pd.DataFrame:
    """Planned trials without a result, each with its last failure where there is one.

    Returns:
        Columns of `CELL`, `cell`, `seed`, `trial_id`, `failure_class`, `message`, `node`,
        `failed_at` (these four null without a failure), `attempts` (failed ones).
    """
    attempts = failures["trial_id"].value_counts()
    last = failures.sort_values("failed_at").drop_duplicates("trial_id", keep="last")
    missing = pd.DataFrame(
        [
            (*trial.key, trial.cell, trial.seed, trial.trial_id)
            for trial in _missing(priced, planned)
        ],
        columns=[*CELL, "cell", "seed", "trial_id"],
    )
    kept = ["trial_id", "failure_class", "message", "node", "failed_at"]
    table = missing.merge(last[kept], on="trial_id", how="left")
    return table.assign(attempts=table["trial_id"].map(attempts).fillna(0).astype(int))


def _missing(priced: pd.DataFrame, planned: Sequence[PlannedTrial]) -> list[PlannedTrial]:
    done = set(zip(*(priced[name] for name in [*CELL, "seed"]), strict=True))
    return [trial for trial in planned if (*trial.key, trial.seed) not in done]


def _order(planned: Sequence[PlannedTrial]) -> list[Cell]:
    return sorted(
        {trial.key: trial.cell for trial in planned}.values(),
        key=lambda cell: (
            *(specificity_order(cell.specificity), budget_order(cell.budget)),
            str(cell.method),
        ),
    )


def _measures(trials: pd.DataFrame, of_robust: Interval, of_overall: Interval) -> dict[str, Any]:
    """Return everything in a cell's row that is computed from its finished trials, one per seed."""
    robust = summarize(trials["test_robust_auroc"])
    dollars = summarize(trials["dollars"])
    hours = trials["seconds_total"] / SECONDS_PER_HOUR
    on_cpu = trials["device"] == "cpu"
    items = ("training", "spurious_label", "validation", "compute")
    return {
        "dollars_mean": round(dollars.mean, _DIGITS),
        "dollars_min": dollars.min,
        "dollars_max": dollars.max,
        **{f"{item}_dollars": summarize(trials[f"{item}_dollars"]).mean for item in items},
        "robust_auroc_n": robust.n,
        "robust_auroc_undefined": robust.undefined,
        **_named("robust_auroc", robust, of_robust),
        "auroc_n": summarize(trials["test_auroc"]).n,
        **_named("auroc", summarize(trials["test_auroc"]), of_overall),
        "dice_mean": summarize(trials["test_dice"]).mean,
        "gap_mean": summarize(trials["test_auroc"] - trials["test_robust_auroc"]).mean,
        "gpu_hours": float(hours[~on_cpu].sum()),
        "cpu_hours": float(hours[on_cpu].sum()),
    }


def _named(metric: str, summary: Summary, interval: Interval) -> dict[str, Any]:
    return {
        **{f"{metric}_{name}": getattr(summary, name) for name in _STATISTICS},
        **{f"{metric}_low": interval.low, f"{metric}_high": interval.high},
        f"{metric}_interval": interval.kind,
        f"{metric}_reason": interval.reason or None,
    }


def _check(priced: pd.DataFrame, planned: Sequence[PlannedTrial]) -> None:
    if priced["dataset_digest"].nunique() != 1:
        names = sorted(set(priced["dataset"] + "@" + priced["dataset_digest"]))
        raise ResultError(
            f"a report covers one dataset, these trials are of {', '.join(names)}; "
            f"report on one plan's trials at a time"
        )
    ids = {(*trial.key, trial.seed): trial.trial_id for trial in planned}
    seeds, trial_ids = priced["seed"].tolist(), priced["trial_id"].tolist()
    for of, seed, trial_id in zip(cell_keys(priced), seeds, trial_ids, strict=True):
        if ids.get((*of, seed), "") not in (None, trial_id):
            raise ResultError(
                f"trial {trial_id} ({_spoken((*of, seed))}) is not in the plan; report on the "
                f"plan's own trials"
            )
    twice = priced[priced.duplicated([*CELL, "seed"])]
    if len(twice):
        key = tuple(twice.iloc[0][[*CELL, "seed"]])
        raise ResultError(
            f"two trials have the same {_spoken(key)}; a cell has one trial per seed, so report "
            f"on one plan's trials"
        )
    mixed = priced.groupby(CELL)[["balance", "model"]].nunique().gt(1).any(axis=1)
    if mixed.any():
        cell = mixed[mixed].index[0]
        raise ResultError(
            f"the trials of {_spoken((*cell, 'any'))} differ in model or balance and cannot be "
            f"averaged over seeds; report on one plan's trials"
        )


def _spoken(key: Sequence[Any]) -> str:
    specificity, budget, method, seed = key
    return f"specificity {specificity}, budget {budget}, method {method}, seed {seed}"
