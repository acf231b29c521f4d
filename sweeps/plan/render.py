"""A plan for people and for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from cluster.common.wording import all_of, count_of, has_or_have, is_or_are
from spurious.config.datasets import GENERATORS
from sweeps.plan.arithmetic import arithmetic_notes
from sweeps.plan.cell import Cell
from sweeps.plan.checkpoints import checkpoint_notes
from sweeps.plan.compute import Compute, compute_dict, compute_lines
from sweeps.plan.evaluation import evaluation_notes
from sweeps.plan.notes import plan_notes
from sweeps.plan.plan import Plan
from sweeps.plan.prices import cell_price
from sweeps.plan.searched import describe_searches, searches_dict
from sweeps.spec.model import MethodChoice, Spec

_MOST_LISTED = 10
"""Damaged results that are named one by one."""


def as_dict(plan: Plan, spec: Spec, compute: Compute | None = None) -> dict[str, Any]:
    """Return the plan as plain JSON values, with the prices that its spec gives each cell.

    Args:
        plan: The plan.
        spec: Its spec.
        compute: What is left to compute; None where nobody estimated it.
    """
    facts = plan.facts
    return {
        "sweep": plan.name,
        "dataset": None
        if facts is None
        else {"name": facts.name, "digest": facts.digest, "synthetic": facts.synthetic},
        "unknown": plan.unknown,
        "notes": [
            *plan_notes(plan),
            *checkpoint_notes(plan, spec),
            *plan.explaining,
            *evaluation_notes(plan, spec),
            *arithmetic_notes(plan, spec),
        ],
        "cells": [{**cell_dict(cell), "cost": _cost(plan, spec, cell)} for cell in plan.cells],
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
        "older": [
            {"id": trial.id, "older_id": old.id, "subject": old.subject, "reason": old.reason}
            for trial, old in plan.older
        ],
        "damaged": damaged_dicts(plan),
        "unverified": len(plan.unverified),
        "diverged": sorted(plan.diverged),
        "compute": compute_dict(compute),
        "searches": searches_dict(spec, plan.searches),
    }


def damaged_dicts(plan: Plan) -> list[dict[str, str]]:
    """Return the trials whose result is damaged as plain JSON values."""
    return [
        {"id": trial.id, "label": trial.label, "reason": reason}
        for trial, reason in plan.list_damaged()
    ]


def damaged_lines(plan: Plan, consequence: str) -> list[str]:
    """Return a line that counts the damaged results, and one for each of the first ten.

    Args:
        plan: The plan.
        consequence: What becomes of them, such as `computed again by this run`.
    """
    damaged = plan.list_damaged()
    if not damaged:
        return []
    more = len(damaged) - _MOST_LISTED
    some = f"{count_of(len(damaged), 'result')} {is_or_are(len(damaged))}"
    do = "does" if len(damaged) == 1 else "do"
    return [
        f"{some} damaged and {do} not count; {consequence}",
        *(f"damaged: {trial.label} {trial.id}: {why}" for trial, why in damaged[:_MOST_LISTED]),
        *([f"damaged: {more} more"] if more > 0 else []),
    ]


def diverged_lines(plan: Plan) -> list[str]:
    """Return a line on the trials that are not run since they diverged, where there are any."""
    labels = [trial.label for trial in plan.trials if trial.id in plan.diverged]
    if not labels:
        return []
    more = [f"{len(labels) - _MOST_LISTED} more"] if len(labels) > _MOST_LISTED else []
    return [
        f"{count_of(len(labels), 'trial')} became NaN or infinite in an earlier run and "
        f"{is_or_are(len(labels))} not run again (`sweeps run --retry-numerical` does): "
        f"{', '.join([*labels[:_MOST_LISTED], *more])}"
    ]


def describe_nothing_to_run(plan: Plan) -> str:
    """Return why a plan has no trials to run."""
    if not plan.diverged:
        every = f"{all_of(plan.size, 'trial')} {has_or_have(plan.size)}"
        return f"sweep '{plan.name}': {every} a result; nothing to run"
    [line] = diverged_lines(plan)
    some = f"{count_of(len(plan.done), 'trial')} {has_or_have(len(plan.done))}"
    return f"sweep '{plan.name}': {some} a result; {line}; nothing to run"


def cell_dict(cell: Cell) -> dict[str, str]:
    """Return a cell's three coordinates as text."""
    return dict(zip(("specificity", "budget", "method"), cell.key, strict=True))


def _cost(plan: Plan, spec: Spec, cell: Cell) -> dict[str, Any] | None:
    """Return a cell's dollars per seed as JSON; None before its dataset is staged."""
    price = cell_price(spec, cell, plan.facts)
    if price is None:
        return None
    return {
        **{"dollars": price.dollars, "low": price.low, "high": price.high},
        **{"exact": price.is_exact, "validation": price.cost.validation},
    }


def as_text(plan: Plan, spec: Spec, compute: Compute | None = None) -> str:
    """The plan for people: cells with expected dollars, what is done, what is skipped and why.

    Args:
        plan: The plan.
        spec: Its spec, for prices and resources.
        compute: What is left to compute; None where nobody estimated it.
    """
    facts = plan.facts
    name = "dataset unknown" if facts is None else f"dataset {facts.name}@{facts.digest[:12]}"
    if facts is not None and facts.synthetic is not None:
        name += f" (synthetic: {facts.synthetic})"
    planned = len(plan.cells) * len(plan.seeds)
    names = _short_names([cell.method for cell in (*plan.cells, *(c for c, _ in plan.skipped))])
    wide = max([16, *(len(name) for name in names.values())])
    lines = [
        f"sweep {plan.name}: {name}",
        f"{count_of(planned, 'trial')} = {count_of(len(plan.cells), 'cell')} x "
        f"{count_of(len(plan.seeds), 'seed')}; {len(plan.done)} done, "
        f"{planned - len(plan.done) - len(plan.diverged)} to run",
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
    lines += ["", *describe_searches(spec, plan.cells, plan.searches)]
    lines += [] if compute is None else compute_lines(compute, spec)
    lines += [f"method: {method}" for method, name in names.items() if name != str(method)]
    lines += [
        f"skipped: {cell.specificity} / {cell.budget} / {names[cell.method]}: {reason}"
        for cell, reason in plan.skipped
    ]
    notes = [*_synthetic(plan, spec), *plan_notes(plan), *checkpoint_notes(plan, spec)]
    notes += [*plan.explaining, *_older(plan), *evaluation_notes(plan, spec)]
    notes += arithmetic_notes(plan, spec)
    lines += [f"note: {line}" for line in notes]
    lines += [f"note: {line}" for line in diverged_lines(plan)]
    lines += [f"note: {line}" for line in damaged_lines(plan, "computed again by `sweeps run`")]
    if plan.unknown is not None:
        lines.append(f"note: {plan.unknown}")
    return "\n".join(lines)


def _short_names(methods: Sequence[MethodChoice]) -> dict[MethodChoice, str]:
    """Methods by their name alone, where no other choice of the sweep has it, else with options."""
    unique = list(dict.fromkeys(methods))
    counts = Counter(method.name for method in unique)
    return {method: method.name if counts[method.name] == 1 else str(method) for method in unique}


def _dollars(plan: Plan, spec: Spec, cell: Cell) -> str:
    price = cell_price(spec, cell, plan.facts)
    if price is None:
        return "? (dataset not staged)"
    dollars = f"{price.dollars:,.2f}"
    if not price.is_exact:
        dollars = f"about {dollars}, {price.low:,.2f} to {price.high:,.2f}"
    validation = f"{price.cost.validation:,.2f}"
    if "validation" in spec.cost.axis:
        return f"{dollars} ({validation} of it for validation images)"
    return f"{dollars} (+ {validation} for validation images, which cost.axis leaves out)"


def _synthetic(plan: Plan, spec: Spec) -> list[str]:
    """Note that published numbers of real images will stand next to a phantom's."""
    facts = plan.facts
    is_phantom = facts is not None and facts.synthetic is not None and facts.name not in GENERATORS
    if facts is None or not is_phantom or not spec.published:
        return []
    return [
        f"dataset '{facts.name}' is not the release but images of the {facts.synthetic}: its "
        f"results say nothing about the published tables ({', '.join(spec.published)}); stage a "
        "phantom under a name of its own, with --name"
    ]


def _older(plan: Plan) -> list[str]:
    """Return one line for each change of numbers that left results under earlier ids."""
    lines = []
    missing = {trial.id for trial in plan.to_run}
    for (subject, reason), n in Counter((old.subject, old.reason) for _, old in plan.older).items():
        of_change = {
            trial.id for trial, old in plan.older if (old.subject, old.reason) == (subject, reason)
        }
        again = "running computes" if of_change & missing else "this version has computed"
        verb, it, is_kept = ("exists", "it", "it is") if n == 1 else ("exist", "them", "they are")
        lines.append(
            f"{count_of(n, 'result')} {verb} under an older revision of {subject} "
            f"({reason}); {is_kept} kept in the store but not counted; {again} {it} again"
        )
    return lines
