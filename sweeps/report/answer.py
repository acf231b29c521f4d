"""The report's answer in plain words, and what limits it. Computed from the table of cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from sweeps.report.cells import by_seed, cell_keys
from sweeps.report.statistics import paired_difference
from sweeps.report.wording import count, describe_cell, dollars, interval, number, sentence

CHANCE = 0.5
FEW_SEEDS = 5

Cell = Mapping[Any, Any]


def best_cell(cells: pd.DataFrame) -> Cell | None:
    """The cell with the highest mean robust AUROC, the cheapest of equals; None if all are NaN."""
    defined = cells[cells["robust_auroc_mean"].notna()]
    ranked = defined.sort_values(
        ["robust_auroc_mean", "dollars_mean"], ascending=[False, True], kind="stable"
    )
    return ranked.iloc[0].to_dict() if len(ranked) else None


def cheapest_within(cells: pd.DataFrame, best: Cell) -> Cell | None:
    """The cheapest cell whose mean is inside the best cell's 95 % interval; None if that is best.

    Of equally cheap cells the one with the higher mean, so it is always on the frontier.
    """
    inside = cells[cells["robust_auroc_mean"] >= best["robust_auroc_low"]]
    cheaper = inside[inside["dollars_mean"] < best["dollars_mean"]].sort_values(
        ["dollars_mean", "robust_auroc_mean"], ascending=[True, False], kind="stable"
    )
    return cheaper.iloc[0].to_dict() if len(cheaper) else None


def answer(cells: pd.DataFrame, priced: pd.DataFrame) -> str:
    """Return which purchase reaches the best robust AUROC, and which cheaper one is close to it."""
    best = best_cell(cells)
    if best is None:
        return (
            "No purchase has a defined robust AUROC yet, so nothing can be recommended; the "
            "reasons are listed below."
        )
    compared = int(cells["robust_auroc_mean"].notna().sum())
    reached = f"the highest mean robust AUROC of the {compared} purchases compared"
    text = (
        f"{sentence(describe_cell(best['cell']))}, reached "
        f"{reached if compared > 1 else 'the only result so far, a robust AUROC of'}: "
        f"{number(best['robust_auroc_mean'], 2)} over {_seeds(best)}"
    )
    money = f"for {dollars(best['dollars_mean'])} of annotation"
    if best["robust_auroc_n"] < 2:
        return f"{text}, {money}. One seed gives no interval, so any difference may be chance."
    text += f" (95 % interval {_interval(best)}), {money}."
    cheaper = cheapest_within(cells, best)
    if cheaper is None:
        return text if compared == 1 else f"{text} No cheaper one has its mean in that interval."
    return f"{text} {_cheaper_sentence(cheaper, best, priced)}"


def caveats(cells: pd.DataFrame, priced: pd.DataFrame) -> list[str]:
    """Return what a reader must know before trusting the answer, most serious first."""
    notes = []
    oracles = sorted(rule for rule in set(priced["rule"]) if rule.startswith("best test."))
    if oracles:
        notes.append(
            f"ORACLE: the epochs were chosen with the rule '{', '.join(oracles)}', which reads the "
            f"test split. These numbers are an upper bound that no deployed model can claim."
        )
    oracle_methods = sorted(set(cells.loc[cells["oracle"], "method"]))
    if oracle_methods:
        notes.append(
            f"ORACLE: {', '.join(oracle_methods)} "
            f"{'is' if len(oracle_methods) == 1 else 'are'} given the groups of the training "
            f"images, whose spurious labels are in the price: an upper bound for "
            f"methods that have to guess them."
        )
    planned, done = int(cells["seeds_planned"].sum()), int(cells["seeds_done"].sum())
    if done < planned:
        notes.append(
            f"Provisional: {planned - done} of {count(planned, 'planned trial')} "
            f"{'has' if planned - done == 1 else 'have'} no result, so purchases rest on unequal "
            f"numbers of seeds."
        )
    undefined = int(cells["robust_auroc_undefined"].sum())
    if undefined:
        notes.append(
            f"{count(undefined, 'finished trial')} {'has' if undefined == 1 else 'have'} no "
            f"defined robust AUROC; left out of every mean, never counted as 0."
        )
    best = best_cell(cells)
    if best is not None:
        notes += _about_best(cells, best)
    if priced["versions"].nunique() > 1:
        notes.append("The trials ran with different software versions; see the provenance.")
    return notes


def _about_best(cells: pd.DataFrame, best: Cell) -> list[str]:
    notes = []
    if best["robust_auroc_mean"] <= CHANCE:
        notes.append("No purchase does better than chance (0.5) on average.")
    elif best["robust_auroc_low"] <= CHANCE:
        notes.append("The best purchase's interval includes 0.5, which is chance.")
    compared = int(cells["robust_auroc_mean"].notna().sum())
    if compared > 1:
        notes.append(
            f"The best of {compared} is picked by the numbers that are shown, so it tends to look "
            f"better than it will be; confirm it with new seeds before spending."
        )
    most = int(cells["robust_auroc_n"].max())
    if 1 < most < FEW_SEEDS:
        notes.append(
            f"With {count(most, 'seed')} per purchase the intervals are wide; a difference smaller "
            f"than they are is not established."
        )
    return notes


def _interval(cell: Cell) -> str:
    return interval(cell["robust_auroc_low"], cell["robust_auroc_high"], 2)


def _seeds(cell: Cell) -> str:
    done, planned = int(cell["robust_auroc_n"]), int(cell["seeds_planned"])
    return count(done, "seed") if done == planned else f"{done} of {planned} planned seeds"


def _cheaper_sentence(cheaper: Cell, best: Cell, priced: pd.DataFrame) -> str:
    keys = cell_keys(pd.DataFrame([best, cheaper]))
    of_best, of_cheaper = by_seed(priced, keys, "test_robust_auroc")
    lower = paired_difference(of_cheaper, of_best)
    text = (
        f"The cheapest purchase whose mean lies inside that interval is "
        f"{describe_cell(cheaper['cell'])}, for {dollars(cheaper['dollars_mean'])}: "
        f"{number(cheaper['robust_auroc_mean'], 2)} over {_seeds(cheaper)}"
    )
    if lower.n < 2:
        return f"{text}."
    return (
        f"{text}. Compared seed by seed it is {number(lower.mean, 2)} lower (95 % interval "
        f"{interval(lower.low, lower.high, 2)})."
    )
