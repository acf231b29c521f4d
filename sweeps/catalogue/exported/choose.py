"""Finds the trial of a sweep that a cell and a seed name."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from sweeps.errors import SweepError
from sweeps.plan.cell import Cell
from sweeps.plan.plan import Plan, Trial


def find_trial(plan: Plan, text: str, seed: int | None) -> Trial:
    """Return the trial of a cell and seed.

    Args:
        plan: The sweep's plan.
        text: The cell, as `mask-600-erm`; a method's options may be left out where one cell alone
            has the rest.
        seed: None for the only one of the sweep.

    Raises:
        SweepError: no cell of the plan has that name, or several have; or no such seed.
    """
    cell = _find_cell(plan, text)
    trials = {trial.config.seed: trial for trial in plan.trials if trial.cell == cell}
    if not trials:
        raise SweepError(
            f"cell '{text}' of sweep '{plan.name}' has no trials yet: its search has not chosen, "
            "or its dataset is not staged; run the sweep first"
        )
    seeds = ", ".join(map(str, trials))
    if seed is None and len(trials) > 1:
        raise SweepError(
            f"cell '{text}' has trials of the seeds {seeds}; name one with --seed, e.g. "
            f"--seed {next(iter(trials))}"
        )
    if seed is not None and seed not in trials:
        raise SweepError(f"--seed {seed}: cell '{text}' has trials of the seeds {seeds}")
    return trials[next(iter(trials)) if seed is None else seed]


def _find_cell(plan: Plan, text: str) -> Cell:
    cells = list(dict.fromkeys([*(trial.cell for trial in plan.trials), *plan.cells]))
    names = [cell.label for cell in cells]
    matches = [cell for cell in cells if cell.label == text]
    matches = matches or [cell for cell in cells if _short_label(cell) == text]
    if len(matches) > 1:
        several = ", ".join(cell.label for cell in matches)
        raise SweepError(f"cell '{text}': {several} match; write one of them, in quotes")
    if not matches:
        raise SweepError(
            f"cell '{text}': sweep '{plan.name}' has none of that name; {_hint(text, names)}"
        )
    return matches[0]


def _short_label(cell: Cell) -> str:
    return f"{cell.specificity}-{cell.budget}-{cell.method.name}"


def _hint(text: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(text, names, n=3)
    if near:
        return f"nearest: {', '.join(near)}"
    return f"expected SPECIFICITY-BUDGET-METHOD, e.g. {names[0]}" if names else "it has no cells"
