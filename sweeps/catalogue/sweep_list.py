"""The sweeps that a store knows by name, with what each has of its results; from listings alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cluster.stores.base import Store
from sweeps.errors import ResultError
from sweeps.plan.archive import SWEEPS, plan_key
from sweeps.results.keys import SUFFIX, TRIALS, trial_key


@dataclass(frozen=True)
class ListedSweep:
    """One sweep.

    Attributes:
        name: Its name.
        dataset: Name and first digits of the digest of its dataset; empty where the plan of its
            last run did not know it yet.
        cells: Cells of that plan.
        trials: Trials of it, those of searches left out.
        done: Of them, those with a result in this store, which other sweeps may have given.
        last_result_at: When the newest of these was written, ISO 8601; None without one.
        has_report: Whether a report stands beside it.
    """

    name: str
    dataset: str
    cells: int
    trials: int
    done: int
    last_result_at: str | None
    has_report: bool


def list_sweeps(store: Store) -> list[ListedSweep]:
    """Return all named sweeps of a store, the one with the newest result first.

    Results are counted as the store lists them and not read, so that damaged ones count.

    Raises:
        ResultError: the plan of one is damaged.
    """
    keys = list(store.list(SWEEPS))
    names = sorted({key.split("/")[1] for key in keys if key.endswith("/plan.json")})
    reports = {key.split("/")[1] for key in keys if key.endswith("/report/report.html")}
    written = {item.key: item.modified for item in store.scan(TRIALS) if item.key.endswith(SUFFIX)}
    sweeps = [_describe(store, name, written, name in reports) for name in names]
    return sorted(sweeps, key=lambda sweep: sweep.last_result_at or "", reverse=True)


def _describe(
    store: Store, name: str, written: Mapping[str, float], has_report: bool
) -> ListedSweep:
    key = plan_key(name)
    try:
        plan: dict[str, Any] = json.loads(store.get(key))
        ids = [trial["id"] for trial in plan["trials"]]
        dataset = plan["dataset"]
        text = "" if dataset is None else f"{dataset['name']}@{dataset['digest'][:12]}"
        cells = len(plan["cells"])
    except (ValueError, KeyError, TypeError) as error:
        raise ResultError(
            f"{store.url}/{key} is damaged ({error}); run sweep '{name}' again to rewrite it"
        ) from None
    times = [written[at] for at in map(trial_key, ids) if at in written]
    newest = (
        datetime.fromtimestamp(max(times), UTC).isoformat(timespec="seconds") if times else None
    )
    return ListedSweep(name, text, cells, len(ids), len(times), newest, has_report)
