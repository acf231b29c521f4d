"""`sweeps status`: how far a sweep is, from its store alone, also when its cluster is gone."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from cluster.errors import ClusterError
from cluster.jobs.requests import Job, api_address
from sweeps.commands.context import SpecSource, opened_store, trials_of, url_of
from sweeps.commands.ray_job import connected, note
from sweeps.plan.plan import Plan
from sweeps.plan.render import cell_dict
from sweeps.results import tables as results

if TYPE_CHECKING:
    import pyarrow as pa

_COLUMNS = ("specificity", "budget", "method", "done", "failed", "missing")
_HEADER = {name: name for name in _COLUMNS}


def status(source: SpecSource, store_url: str | None, address: str | None, *, as_json: bool) -> int:
    """Print a sweep's cells with what is done, failed and missing, and its job where one is known.

    A cluster that cannot be asked is noted and does no harm.
    """
    with opened_store(url_of(source, store_url)) as store:
        spec, plan = trials_of(source, store)
        done = results.read_trials(store, plan.done)
        failures = results.read_failures(store, [trial.id for trial in plan.trials])
    found = progress(plan, done, failures)
    found["job"] = _job(spec.name, address)
    print(json.dumps(found, indent=1) if as_json else as_text(found))
    return 0


def progress(plan: Plan, done: pa.Table, failures: pa.Table) -> dict[str, Any]:
    """What the tables say of a plan's trials.

    A trial has failed where an attempt of it failed and none has a result, also while it is tried
    again. Failures are counted by attempt, also those of trials that have a result by now.
    """
    tried = set(failures.column("trial_id").to_pylist()) - plan.done
    cells: list[dict[str, Any]] = []
    for cell in plan.cells:
        ids = {trial.id for trial in plan.trials if trial.cell == cell}
        done_here, failed = len(ids & plan.done), len(ids & tried)
        counts = {"done": done_here, "failed": failed, "missing": len(ids) - done_here - failed}
        cells.append({**cell_dict(cell), "trials": len(ids), **counts})
    finished = [when for when in done.column("finished_at").to_pylist() if when is not None]
    return {
        "sweep": plan.name,
        "trials": len(plan.trials),
        **{key: sum(cell[key] for cell in cells) for key in ("done", "failed", "missing")},
        "last_result_at": max(finished).isoformat(timespec="seconds") if finished else None,
        "failures": dict(sorted(Counter(failures.column("failure_class").to_pylist()).items())),
        "cells": cells,
    }


def as_text(found: dict[str, Any]) -> str:
    """The same for people."""
    lines = [
        f"sweep {found['sweep']}: {found['trials']} trials, {found['done']} done, "
        f"{found['failed']} failed, {found['missing']} missing",
        f"last result: {found['last_result_at'] or 'none yet'}",
    ]
    if found["job"] is not None:
        job = found["job"]
        lines.append(f"job: {job['id']} {job['state']}")
    lines.append("")
    for cell in [_HEADER, *found["cells"]]:
        numbers = "".join(f"{cell[key]:>8}" for key in ("done", "failed", "missing"))
        lines.append(f"{cell['specificity']:<12} {cell['budget']:>8} {cell['method']:<16}{numbers}")
    if found["failures"]:
        by_class = ", ".join(f"{number} {kind}" for kind, number in found["failures"].items())
        lines += ["", f"failed attempts so far: {by_class}"]
    return "\n".join(lines)


def _job(name: str, address: str | None) -> dict[str, Any] | None:
    """The sweep's newest job on the cluster, or None where none is known."""
    if address is None and api_address(None) is None:
        return None
    try:
        job = connected(address).newest("sweep", name)
    except ClusterError as error:
        note(f"note: the cluster is not asked: {error}")
        return None
    return None if job is None else _job_dict(job)


def _job_dict(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "state": job.state,
        "exit_code": job.exit_code,
        "message": job.message.partition("\n")[0],
    }
