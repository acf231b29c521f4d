"""What the store remembers of a sweep by name: its YAML and its plan.

Written by `run`, read by `plan`, `pull` and `report`; no trial depends on it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cluster.errors import NotFound
from sweeps.errors import ResultError
from sweeps.plan.plan import Plan
from sweeps.plan.render import as_dict, damaged_dicts
from sweeps.plan.searched import searches_dict
from sweeps.spec.model import Spec

if TYPE_CHECKING:
    from cluster.stores.base import Store

SWEEPS = "sweeps/"


@dataclass(frozen=True)
class Archived:
    """An archived sweep; empty where none of that name was run.

    Attributes:
        spec_text: The YAML as it was run.
        overrides: Overrides it was run with.
        searches: What the plan said of searches, see `sweeps.plan.searched.searches_dict`.
        trials: Ids of its trials, those that searches tried included.
        planned: Ids of those that its report is of.
        is_searching: Whether a search of some cell was not over.
    """

    spec_text: str | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    searches: Mapping[str, Any] | None = None
    trials: frozenset[str] = frozenset()
    planned: frozenset[str] = frozenset()
    is_searching: bool = False


def spec_key(name: str) -> str:
    """Return the key of a sweep's YAML."""
    return f"{SWEEPS}{name}/spec.yaml"


def plan_key(name: str) -> str:
    """Return the key of a sweep's plan."""
    return f"{SWEEPS}{name}/plan.json"


def archive(store: Store, spec: Spec, plan: Plan) -> None:
    """Write a sweep's YAML and plan.

    The plan holds all that is read again, so that two commands at once cannot mix; the YAML beside
    it is for people. Both stay as they are where they say the same of every trial: prices of
    thousands of trials take long.
    """
    if _is_archived(store, spec, plan):
        return
    document = {
        **as_dict(plan, spec),
        "spec": spec.text,
        "overrides": dict(spec.overrides),
    }
    store.put(plan_key(spec.name), (json.dumps(document, indent=1) + "\n").encode())
    store.put(spec_key(spec.name), spec.text.encode())


def _is_archived(store: Store, spec: Spec, plan: Plan) -> bool:
    """Return whether the store has this plan of this very spec already."""
    try:
        archived = json.loads(store.get(plan_key(spec.name)))
        states = [(trial["id"], trial["done"]) for trial in archived["trials"]]
        has_spec = archived["spec"] == spec.text and archived["overrides"] == dict(spec.overrides)
        is_searched = archived.get("searches") == json.loads(
            json.dumps(searches_dict(spec, plan.searches))
        )
    except (NotFound, ValueError, KeyError, TypeError):
        return False
    is_same = states == [(trial.id, trial.id in plan.done) for trial in plan.trials]
    has_yaml = has_spec and store.exists(spec_key(spec.name))
    return is_same and has_yaml and is_searched and archived.get("damaged") == damaged_dicts(plan)


def read_archive(store: Store, name: str) -> Archived:
    """Return what `archive` wrote under a name.

    Raises:
        ResultError: the plan is no JSON of this program.
    """
    try:
        plan = json.loads(store.get(plan_key(name)))
        searched = (plan.get("searches") or {}).get("cells", ())
        tried = [ids for cell in searched for each in cell["tried"] for ids in each["ids"]]
        planned = frozenset(trial["id"] for trial in plan["trials"])
        return Archived(
            plan["spec"],
            plan["overrides"],
            plan.get("searches"),
            trials=planned.union(tried),
            planned=planned,
            is_searching=not all(cell["is_over"] for cell in searched),
        )
    except NotFound:
        return Archived()
    except (ValueError, KeyError, TypeError) as error:
        raise ResultError(
            f"{store.url}/{plan_key(name)} is damaged ({error}); run the sweep again to rewrite it"
        ) from None
