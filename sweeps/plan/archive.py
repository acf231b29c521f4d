"""What the store remembers of a sweep by name: its YAML, its plan and how long trials took.

Written by `run`, read by `plan`, `pull` and `report`; no trial depends on it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cluster.errors import NotFound
from sweeps.errors import ResultError
from sweeps.plan.cell import Cell
from sweeps.plan.plan import Plan
from sweeps.plan.render import as_dict
from sweeps.spec.model import Spec

if TYPE_CHECKING:
    from cluster.stores.base import Store

_TIMED = 500
"""Trials whose duration is read: an estimate needs no more of a sweep of thousands."""


@dataclass(frozen=True)
class Archived:
    """An archived sweep; empty where none of that name was run.

    Attributes:
        spec_text: The YAML as it was run.
        overrides: Overrides it was run with.
        seconds: Mean seconds of a finished trial by cell, and under '' over all.
    """

    spec_text: str | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)


def spec_key(name: str) -> str:
    """Return the key of a sweep's YAML."""
    return f"sweeps/{name}/spec.yaml"


def plan_key(name: str) -> str:
    """Return the key of a sweep's plan."""
    return f"sweeps/{name}/plan.json"


def archive(store: Store, spec: Spec, plan: Plan) -> None:
    """Write a sweep's YAML and plan, with the durations of its finished trials.

    The plan holds all that is read again, so that two commands at once cannot mix; the YAML beside
    it is for people.
    """
    document = {
        **as_dict(plan, spec),
        "spec": spec.text,
        "overrides": dict(spec.overrides),
        "seconds": _seconds(store, plan),
    }
    store.put(plan_key(spec.name), (json.dumps(document, indent=1) + "\n").encode())
    store.put(spec_key(spec.name), spec.text.encode())


def read_archive(store: Store, name: str) -> Archived:
    """Return what `archive` wrote under a name.

    Raises:
        ResultError: the plan is no JSON of this program.
    """
    try:
        plan = json.loads(store.get(plan_key(name)))
        return Archived(plan["spec"], plan["overrides"], plan["seconds"])
    except NotFound:
        return Archived()
    except (ValueError, KeyError, TypeError) as error:
        raise ResultError(
            f"{store.url}/{plan_key(name)} is damaged ({error}); run the sweep again to rewrite it"
        ) from None


def _seconds(store: Store, plan: Plan) -> dict[str, float]:
    """Return the mean seconds of some finished trials of each cell, and of all of them under ''."""
    from sweeps.results.tables import read_trials

    cells: dict[str, Cell] = {}
    taken: Counter[Cell] = Counter()
    for trial in plan.trials:
        if trial.id in plan.done and taken[trial.cell] < max(1, _TIMED // len(plan.cells)):
            cells[trial.id] = trial.cell
            taken[trial.cell] += 1
    table = read_trials(store, cells)
    durations: dict[str, list[float]] = {}
    for trial_id, seconds in zip(
        table.column("trial_id").to_pylist(), table.column("seconds_total").to_pylist(), strict=True
    ):
        for key in (str(cells[trial_id]), ""):
            durations.setdefault(key, []).append(seconds)
    return {key: sum(values) / len(values) for key, values in durations.items()}
