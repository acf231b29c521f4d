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
from sweeps.plan.render import as_dict
from sweeps.spec.model import Spec

if TYPE_CHECKING:
    from cluster.stores.base import Store


@dataclass(frozen=True)
class Archived:
    """An archived sweep; empty where none of that name was run.

    Attributes:
        spec_text: The YAML as it was run.
        overrides: Overrides it was run with.
        searches: What the plan said of searches, see `sweeps.plan.searched.searches_dict`.
    """

    spec_text: str | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    searches: Mapping[str, Any] | None = None


def spec_key(name: str) -> str:
    """Return the key of a sweep's YAML."""
    return f"sweeps/{name}/spec.yaml"


def plan_key(name: str) -> str:
    """Return the key of a sweep's plan."""
    return f"sweeps/{name}/plan.json"


def archive(store: Store, spec: Spec, plan: Plan) -> None:
    """Write a sweep's YAML and plan.

    The plan holds all that is read again, so that two commands at once cannot mix; the YAML beside
    it is for people.
    """
    document = {
        **as_dict(plan, spec),
        "spec": spec.text,
        "overrides": dict(spec.overrides),
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
        return Archived(plan["spec"], plan["overrides"], plan.get("searches"))
    except NotFound:
        return Archived()
    except (ValueError, KeyError, TypeError) as error:
        raise ResultError(
            f"{store.url}/{plan_key(name)} is damaged ({error}); run the sweep again to rewrite it"
        ) from None
