"""What a reader must know before trusting the answer."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from cluster.common.wording import count_of, has_or_have, is_or_are
from sweeps.report.answer import Cell, best_cell, learned_cells
from sweeps.report.gate import CHANCE, HAS_LEARNED
from sweeps.report.inference.intervals import FEWEST_SEEDS
from sweeps.report.tuned import NOT_CHOSEN, describe_tuning
from sweeps.report.wording import describe_cell, number, probability, without

FEW_SEEDS = 5
_NAMED = 4


def caveats(cells: pd.DataFrame, priced: pd.DataFrame, tune: Sequence[str] = ()) -> list[str]:
    """Return what limits the answer, most serious first.

    Args:
        cells: The result of `cells`.
        priced: The result of `price_trials`.
        tune: Options of methods whose values are a grid.
    """
    notes = []
    oracles = sorted(rule for rule in set(priced["rule"]) if rule.startswith("best test."))
    if oracles:
        notes.append(
            f"ORACLE: the epochs were chosen with the rule '{', '.join(oracles)}', which reads the "
            f"test split. No deployed model can be chosen so."
        )
    notes += _about_groups(cells)
    notes += describe_tuning(cells, tune)
    notes += _about_unlearned(cells)
    planned, done = int(cells["seeds_planned"].sum()), int(cells["seeds_done"].sum())
    if done < planned:
        unequal = ", so purchases rest on unequal numbers of seeds"
        notes.append(
            f"Provisional: {planned - done} of {count_of(planned, 'planned trial')} "
            f"{has_or_have(planned - done)} no result"
            f"{unequal if cells['seeds_done'].nunique() > 1 else ''}."
        )
    undefined = int(cells["robust_auroc_undefined"].sum())
    if undefined:
        notes.append(
            f"{count_of(undefined, 'finished trial')} {has_or_have(undefined)} no "
            f"defined robust AUROC; left out of every mean, never counted as 0."
        )
    best = best_cell(cells)
    if best is not None:
        notes += _about_best(cells, best)
    if priced["versions"].nunique() > 1:
        notes.append("The trials ran with different software versions; see the provenance.")
    return notes


def _about_groups(cells: pd.DataFrame) -> list[str]:
    """Name methods that are given the groups, and where a method without them is above one."""
    methods = sorted(set(cells.loc[cells["oracle"], "method"]))
    if not methods:
        return []
    text = (
        f"{', '.join(methods)} {is_or_are(len(methods))} given the groups of the "
        f"training images, for which spurious labels are bought. That is not a limit for methods "
        f"without them"
    )
    above = [
        (other, oracle)
        for _, same in learned_cells(cells).groupby(["specificity", "budget"], sort=False)
        for oracle in same[same["oracle"]].to_dict("records")
        for other in same[~same["oracle"]].to_dict("records")
        if other["robust_auroc_mean"] > oracle["robust_auroc_mean"]
    ]
    if not above:
        return [f"{text}."]
    other, oracle = max(above, key=lambda pair: pair[0]["robust_auroc_mean"])
    return [
        f"{text}: on the same annotation a mean without them is above one with them in "
        f"{count_of(len(above), 'pair')}, e.g. {describe_cell(other['cell'])}, "
        f"{number(other['robust_auroc_mean'], 2)}{without(other['holes'])}, above "
        f"{oracle['method']}, {number(oracle['robust_auroc_mean'], 2)}"
        f"{without(oracle['holes'])}."
    ]


def _about_unlearned(cells: pd.DataFrame) -> list[str]:
    """Name the cells that the gate keeps from being an answer."""
    lost = cells["unlearned"].str.startswith(NOT_CHOSEN).fillna(False).astype(bool)
    marked = cells[cells["unlearned"].notna() & ~lost]
    if marked.empty:
        return []
    names = [
        f"{describe_cell(cell['cell'])} ({cell['unlearned']})" for cell in marked.to_dict("records")
    ]
    remaining = [f"{len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return [
        f"{count_of(len(names), 'purchase')} of {len(cells)} {is_or_are(len(names))} not "
        f"{HAS_LEARNED}, and {is_or_are(len(names))} neither ranked nor on the "
        f"frontier: {'; '.join(names[:_NAMED] + remaining)}."
    ]


def _about_best(cells: pd.DataFrame, best: Cell) -> list[str]:
    notes = []
    if best["robust_auroc_mean"] <= CHANCE:
        notes.append("No ranked purchase does better than chance (0.5) on average.")
    elif best["robust"].kind != "none" and best["robust_auroc_low"] <= CHANCE:
        notes.append("The best purchase's interval includes 0.5, which is chance.")
    learned = learned_cells(cells)
    if len(learned) > 1:
        first = best["best_probability"]
        chance = ""
        if first >= 0:
            chance = f" It is the best with a probability of {probability(first)}."
        notes.append(
            f"The best of {len(learned)} is picked by the numbers that are shown, so it tends to "
            f"look better than it will be; confirm it with new seeds before spending.{chance}"
        )
    most = int(learned["robust_auroc_n"].max())
    if most == FEWEST_SEEDS - 1:
        notes.append(
            f"{count_of(most, 'seed')} per purchase give no interval, which needs {FEWEST_SEEDS}: "
            f"any difference may be chance."
        )
    elif 1 < most < FEW_SEEDS:
        at_most = "At most " if learned["robust_auroc_n"].min() < most else ""
        notes.append(
            f"{at_most}{count_of(most, 'seed')} per purchase are few: where training differs much "
            f"from seed to seed, 95 % intervals of 3 seeds held the truth in 91 to 95 % of "
            f"simulations. A difference whose interval includes 0 is not established."
        )
    return notes + _about_weak(learned)


def _about_weak(learned: pd.DataFrame) -> list[str]:
    """Name the cells whose interval is known to be somewhat too narrow."""
    names = [
        f"{describe_cell(cell['cell'])}{without(cell['holes'])}"
        for cell in learned.to_dict("records")
        if cell["robust"].is_near_end
    ]
    if not names:
        return []
    more = [f"{len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return [
        f"An AUROC near 0 or 1 on few images has an interval that is somewhat too narrow (91 to "
        f"95 % in simulations): {'; '.join(names[:_NAMED] + more)}."
    ]
