"""A plan for people and for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from sweeps.plan.plan import Cell, Plan, expected_cost
from sweeps.spec.model import MethodChoice, Spec


def as_dict(plan: Plan) -> dict[str, Any]:
    """The plan as plain JSON values."""
    facts = plan.facts
    return {
        "sweep": plan.name,
        "dataset": None if facts is None else {"name": facts.name, "digest": facts.digest},
        "unknown": plan.unknown,
        "cells": [cell_dict(cell) for cell in plan.cells],
        "seeds": list(plan.seeds),
        "skipped": [{**cell_dict(cell), "reason": reason} for cell, reason in plan.skipped],
        "trials": [
            {
                "id": trial.id,
                **cell_dict(trial.cell),
                "seed": trial.config.seed,
                "done": trial.id in plan.done,
            }
            for trial in plan.trials
        ],
    }


def cell_dict(cell: Cell) -> dict[str, str]:
    """A cell's three coordinates as text."""
    return {
        "specificity": str(cell.specificity),
        "budget": str(cell.budget),
        "method": str(cell.method),
    }


def as_text(plan: Plan, spec: Spec, seconds: Mapping[str, float]) -> str:
    """The plan for people: cells with expected dollars, what is done, what is skipped and why.

    Args:
        plan: The plan.
        spec: Its spec, for prices and resources.
        seconds: Mean seconds of a finished trial by cell, under '' over all; may be empty.
    """
    facts = plan.facts
    name = "dataset unknown" if facts is None else f"dataset {facts.name}@{facts.digest[:12]}"
    planned = len(plan.cells) * len(plan.seeds)
    names = _short_names(spec)
    wide = max([16, *(len(name) for name in names.values())])
    lines = [
        f"sweep {plan.name}: {name}",
        f"{planned} trials = {len(plan.cells)} cells x {len(plan.seeds)} seeds; "
        f"{len(plan.done)} done, {planned - len(plan.done)} to run",
        "",
        f"{'specificity':<12} {'budget':>8} {'method':<{wide}} {'done':>7}  annotation $ per seed",
    ]
    done_in = Counter(trial.cell for trial in plan.trials if trial.id in plan.done)
    for cell in plan.cells:
        done = f"{done_in[cell]}/{len(plan.seeds)}" if plan.trials else "?"
        lines.append(
            f"{cell.specificity!s:<12} {cell.budget!s:>8} {names[cell.method]:<{wide}} {done:>7}  "
            f"{_dollars(plan, spec, cell)}"
        )
    lines += ["", *_compute(plan, spec, seconds)]
    lines += [f"method: {method}" for method, name in names.items() if name != str(method)]
    lines += [
        f"skipped: {cell.specificity} / {cell.budget} / {names[cell.method]}: {reason}"
        for cell, reason in plan.skipped
    ]
    if plan.unknown is not None:
        lines.append(f"note: {plan.unknown}")
    return "\n".join(lines)


def _short_names(spec: Spec) -> dict[MethodChoice, str]:
    """Methods by their name alone, where no other choice of the sweep has it, else with options."""
    counts = Counter(method.name for method in spec.axes.method)
    return {
        method: method.name if counts[method.name] == 1 else str(method)
        for method in spec.axes.method
    }


def _dollars(plan: Plan, spec: Spec, cell: Cell) -> str:
    cost = expected_cost(spec, cell, plan.facts)
    if cost is None:
        return "? (dataset not staged)"
    axis = cost.total if spec.cost.include_validation else cost.axis
    return f"{axis:,.2f} (+ {cost.validation:,.2f} validation)"


def _compute(plan: Plan, spec: Spec, seconds: Mapping[str, float]) -> list[str]:
    """Hours that the missing trials need, from this sweep's finished ones."""
    if not plan.missing:
        return ["compute: nothing left to run"] if plan.trials else []
    if "" not in seconds:
        return ["compute: no estimate before this sweep's first trials have finished"]
    hours = sum(seconds.get(str(trial.cell), seconds[""]) for trial in plan.missing) / 3600.0
    cpu, gpu = hours * spec.resources.cpus, hours * spec.resources.gpus
    return [
        f"compute left: {cpu:.2f} CPU-hours, {gpu:.2f} GPU-hours "
        "(from the mean seconds of this sweep's finished trials)"
    ]
