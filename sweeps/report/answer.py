"""The report's answer in plain words. Computed from the table of cells and their evidence."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cluster.common.wording import count_of
from spurious.scoring.cost import PARTS
from sweeps.report.evidence import Evidence, Key
from sweeps.report.gate import HAS_LEARNED
from sweeps.report.inference.intervals import Interval
from sweeps.report.tuned import NOT_CHOSEN
from sweeps.report.wording import (
    describe_cell,
    dollars,
    interval,
    limits,
    number,
    probability,
    seed_values,
    sentence,
    without,
)

WIDEST = 0.5
"""Width of the best cell's interval above which no cheaper alternative is named."""

Cell = Mapping[Any, Any]


def best_cell(cells: pd.DataFrame) -> Cell | None:
    """The cell with the highest mean robust AUROC among those whose models learned something.

    The cheapest of equals; None where there is none with a defined robust AUROC.
    """
    ranked = learned_cells(cells).sort_values(
        ["robust_auroc_mean", "dollars_mean"], ascending=[False, True], kind="stable"
    )
    return ranked.iloc[0].to_dict() if len(ranked) else None


def learned_cells(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the cells that may be named: a defined robust AUROC, and models that learned."""
    return cells[cells["robust_auroc_mean"].notna() & cells["unlearned"].isna()]


@dataclass(frozen=True)
class Choice:
    """What is recommended.

    Attributes:
        best: The cell with the highest mean robust AUROC.
        chosen: The cheapest that is not inferior to it; the best itself where there is none.
        difference: Of a cheaper one, its paired difference to the best; None for the best.
        not_inferior: The best and all that are not inferior to it, dearer ones included.
    """

    best: Cell
    chosen: Cell
    difference: Interval | None
    not_inferior: Sequence[Cell]


def choose(cells: pd.DataFrame, evidence: Evidence, margin: float) -> Choice | None:
    """Return the best cell and the cheapest that is not inferior to it; None without any.

    Not inferior: the lower 95 % limit of the paired difference to the best one, by seed on the same
    images, is above -margin. There is none where the best one's own interval is missing or
    wider than `WIDEST`, which says that it may be anything itself.
    """
    best = best_cell(cells)
    if best is None:
        return None
    if not best["robust"].width <= WIDEST:
        return Choice(best, best, None, [best])
    ordered = learned_cells(cells).sort_values(
        ["dollars_mean", "robust_auroc_mean"], ascending=[True, False], kind="stable"
    )
    equals: list[tuple[Cell, Interval]] = []
    for cell in ordered.to_dict("records"):
        if key_of(cell) != key_of(best) and not math.isnan(cell["dollars_mean"]):
            difference = evidence.difference(key_of(best), key_of(cell), "robust_auroc")
            if difference.low > -margin:
                equals.append((cell, difference))
    known = [best, *(cell for cell, _ in equals)]
    if equals and equals[0][0]["dollars_mean"] < best["dollars_mean"]:
        return Choice(best, equals[0][0], equals[0][1], known)
    return Choice(best, best, None, known)


def key_of(cell: Cell) -> Key:
    """Return specificity, budget and method."""
    return cell["specificity"], cell["budget"], cell["method"]


def answer(
    cells: pd.DataFrame, evidence: Evidence, margin: float, axis: Collection[str] = PARTS
) -> str:
    """Return which purchase reaches the best robust AUROC, and which cheaper one is as good.

    Args:
        cells: The result of `cells`.
        evidence: What they rest on.
        margin: How far below the best one a purchase may be that is called not inferior.
        axis: Parts of the price that dollars count.
    """
    choice = choose(cells, evidence, margin)
    if choice is None:
        return _nothing(cells)
    best = choice.best
    compared = len(learned_cells(cells))
    text = (
        f"{sentence(describe_cell(best['cell']))}, {_place(cells, compared)}: "
        f"{_figures(best)}, for {dollars(best['dollars_mean'])} of {_bought(axis)}."
    )
    robust: Interval = best["robust"]
    if len(robust.seeds) < 2:
        return f"{text} One seed gives no interval, so any difference may be chance."
    if compared == 1:
        return text
    if robust.kind == "none":
        return f"{text} Without an interval no cheaper alternative is named."
    if robust.width > WIDEST:
        return f"{text} That interval is wider than {WIDEST}: no cheaper alternative is named."
    if choice.difference is None:
        return (
            f"{text} No cheaper one is shown to be at most {margin:g} lower{_nearest(cells, best)}."
        )
    return f"{text} {_cheaper_sentence(choice.chosen, choice.difference, margin)}"


def _bought(axis: Collection[str]) -> str:
    """Return what the dollars are of."""
    parts = ["annotation"] if set(axis) & set(PARTS) else []
    return " and ".join([*parts, *(["compute"] if "compute" in axis else [])])


def _place(cells: pd.DataFrame, compared: int) -> str:
    """Return what the best cell is, of `compared` ones; the only one is the best of nothing."""
    if compared > 1:
        return f"reached the highest mean robust AUROC of the {compared} purchases compared"
    finished = cells[cells["seeds_done"] > 0]
    unranked = finished[finished["unlearned"].notna()]
    if len(finished) == 1:
        which = "purchase with a result so far"
    elif len(unranked) < len(finished) - 1:
        ranked = "ranked " if len(unranked) else ""
        which = f"{ranked}purchase with a defined robust AUROC"
    else:
        which = f"purchase that is {HAS_LEARNED}"
        if unranked["unlearned"].str.startswith(NOT_CHOSEN).any():
            which += " and was chosen on validation"
    return f"is the only {which}; its mean robust AUROC"


def _nothing(cells: pd.DataFrame) -> str:
    """Return why nothing is recommended."""
    if cells["robust_auroc_mean"].notna().any():
        finished = cells[cells["seeds_done"] > 0]
        lost = finished["unlearned"].fillna(NOT_CHOSEN).str.startswith(NOT_CHOSEN)
        why = "with a defined robust AUROC is ranked" if lost.any() else f"is {HAS_LEARNED}"
        return f"No purchase {why}, so nothing can be recommended; the reasons are marked below."
    return (
        "No purchase has a defined robust AUROC yet, so nothing can be recommended; the "
        "reasons are listed below."
    )


def _figures(cell: Cell) -> str:
    """Return robust and overall AUROC of a cell, each with its interval, and its seeds."""
    text = f"{_auroc(cell['robust_auroc_mean'])} over {_seeds(cell)} ({_limits(cell['robust'])})"
    overall = cell["overall"]
    spread = f" ({limits(overall, 2)})" if overall.kind != "none" else ""
    return f"{text}, with an overall AUROC of {_auroc(cell['auroc_mean'])}{spread}"


def _auroc(value: float) -> str:
    """Return an AUROC with two decimals, three where two would make it 0 or 1."""
    text = number(value, 2)
    return number(value) if text in ("0.00", "1.00") and float(text) != value else text


def _limits(of: Interval) -> str:
    if of.kind == "none":
        return f"{seed_values(of.seeds, 2)}; no interval: {of.reason}"
    if of.kind == "two-sided":
        return f"95 % interval {limits(of, 2)}"
    return f"one-sided 95 % bound: {limits(of, 2)}"


def _seeds(cell: Cell) -> str:
    """Return the number of seeds; of an incomplete cell which ones are missing, too."""
    done, planned = int(cell["robust_auroc_n"]), int(cell["seeds_planned"])
    if done == planned:
        return count_of(done, "seed")
    return f"{done} of {count_of(planned, 'planned seed')}{without(cell['holes'])}"


def _nearest(cells: pd.DataFrame, best: Cell) -> str:
    """Return the cheaper cell that is most probably not inferior; empty where nobody knows."""
    cheaper = learned_cells(cells)
    cheaper = cheaper[cheaper["dollars_mean"] < best["dollars_mean"]]
    cheaper = cheaper[cheaper["non_inferior_probability"].notna()]
    if cheaper.empty:
        return ""
    ranked = cheaper.sort_values(
        ["non_inferior_probability", "dollars_mean"], ascending=[False, True], kind="stable"
    )
    cell = ranked.iloc[0].to_dict()
    return (
        f"; the likeliest is {describe_cell(cell['cell'])}{without(cell['holes'])}, for "
        f"{dollars(cell['dollars_mean'])}, with a probability of "
        f"{probability(cell['non_inferior_probability'])}"
    )


def _cheaper_sentence(cheaper: Cell, difference: Interval, margin: float) -> str:
    return (
        f"The cheapest purchase that is not inferior to it by more than {margin:g} is "
        f"{describe_cell(cheaper['cell'])}, for {dollars(cheaper['dollars_mean'])}: "
        f"{_figures(cheaper)}. Paired by seed on the same images it differs by "
        f"{number(difference.mean, 3)} (95 % interval "
        f"{interval(difference.low, difference.high)})."
    )
