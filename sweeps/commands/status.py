"""`sweeps status`: count a sweep's results in its store, which needs no cluster."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cluster.common.wording import count_of
from cluster.errors import ClusterError
from cluster.jobs.requests import Job, api_address
from cluster.stores.base import Store
from spurious.scoring.operating_point import OperatingPoint
from sweeps.commands.context import (
    SpecSource,
    choose_store_url_of,
    note_damaged,
    open_results,
    read_spec_and_plan,
    store_session,
)
from sweeps.commands.counted_reads import count_reads
from sweeps.commands.output import note, print_json
from sweeps.commands.ray_job import connect
from sweeps.errors import ResultError
from sweeps.plan.cell import Cell
from sweeps.plan.plan import Plan
from sweeps.plan.render import cell_dict
from sweeps.plan.searched import count_searches, describe_counts
from sweeps.results import tables as results
from sweeps.results.reader import ResultReader

if TYPE_CHECKING:
    import pyarrow as pa

_SHOWN = 4
"""Trials that a caution names."""
_COLUMNS = ("specificity", "budget", "method", "done", "failed", "missing")
_HEADER = {name: name for name in _COLUMNS}


def status(
    source: SpecSource,
    store_url: str | None,
    address: str | None,
    *,
    check: bool = False,
    as_json: bool = False,
) -> int:
    """Print how many trials of a sweep and its cells are done, failed and missing.

    Its newest job follows where a cluster is named; one without an answer is noted and skipped.

    Args:
        source: The sweep.
        store_url: The store; None is the specification's, $SWEEPS_STORE's or the embedded one.
        address: The cluster, or None.
        check: Read the results, too: damaged ones are not done, and cautions are listed.
        as_json: Print a JSON document instead of text.
    """
    with store_session(choose_store_url_of(source, store_url)) as store:
        reader = open_results(store)
        spec, plan = read_spec_and_plan(source, reader, verify=check)
        note_damaged(plan, source, store_url)
        failures = results.read_failures(reader, [trial.id for trial in plan.trials])
        written = [reader.listing.trials[trial_id].modified for trial_id in plan.done]
        cautions = _find_cautions(reader, plan) if check else None
    summary = count_trials(plan, max(written, default=None), failures)
    summary["cautions"] = cautions
    summary["search"] = None if spec.search is None else count_searches(spec, plan.searches)
    summary["job"] = _find_job(spec.name, address)
    if as_json:
        print_json(summary)
    else:
        print(format_summary(summary))
    return 0


def count_trials(plan: Plan, last: float | None, failures: pa.Table) -> dict[str, Any]:
    """Count the trials of a plan, over all and by cell.

    A trial has failed where an attempt failed and none has a result, also while it is retried.
    Failures are counted by attempt, also those of trials that have a result by now.

    Args:
        plan: The plan.
        last: When its newest result was written, seconds since 1970-01-01 UTC; None without one.
        failures: Columns of `sweeps.results.schemas.FAILURES`.
    """
    tried = set(failures.column("trial_id").to_pylist()) - plan.done
    by_cell: dict[Cell, set[str]] = {cell: set() for cell in plan.cells}
    for trial in plan.trials:
        by_cell[trial.cell].add(trial.id)
    cells: list[dict[str, Any]] = []
    for cell, ids in by_cell.items():
        # a search that has chosen nothing yet has no ids
        planned = len(plan.seeds) if plan.searches else len(ids)
        done_here, failed = len(ids & plan.done), len(ids & tried)
        counts = {"done": done_here, "failed": failed, "missing": planned - done_here - failed}
        cells.append({**cell_dict(cell), "trials": planned, **counts})
    written = None if last is None else datetime.fromtimestamp(last, UTC)
    return {
        "sweep": plan.name,
        "trials": sum(cell["trials"] for cell in cells),
        **{key: sum(cell[key] for cell in cells) for key in ("done", "failed", "missing")},
        "last_result_at": None if written is None else written.isoformat(timespec="seconds"),
        "failures": dict(sorted(Counter(failures.column("failure_class").to_pylist()).items())),
        "cells": cells,
    }


def format_summary(summary: dict[str, Any]) -> str:
    """Format the counts for people."""
    lines = [
        f"sweep {summary['sweep']}: {count_of(summary['trials'], 'trial')}, "
        f"{summary['done']} done, {summary['failed']} failed, {summary['missing']} missing",
        f"last result: {summary['last_result_at'] or 'none yet'}",
    ]
    if summary["job"] is not None:
        job = summary["job"]
        lines.append(f"job: {job['id']} {job['state']}")
    if summary["search"] is not None:
        lines.append(f"search: {describe_counts(summary['search'])}")
    lines.append("")
    for cell in [_HEADER, *summary["cells"]]:
        numbers = "".join(f"{cell[key]:>8}" for key in ("done", "failed", "missing"))
        lines.append(f"{cell['specificity']:<12} {cell['budget']:>8} {cell['method']:<16}{numbers}")
    if summary["failures"]:
        by_class = ", ".join(f"{number} {kind}" for kind, number in summary["failures"].items())
        lines += ["", f"failed attempts so far: {by_class}"]
    if summary["cautions"]:
        lines.append("")
    for caution in summary["cautions"] or ():
        shown = caution["trials"][:_SHOWN]
        more = len(caution["trials"]) - len(shown)
        names = ", ".join([*shown, *([f"{more} more"] if more else [])])
        lines.append(f"caution: {names}: {caution['meaning']}")
    return "\n".join(lines)


def _find_cautions(reader: ResultReader, plan: Plan) -> list[dict[str, Any]]:
    """Find finished trials whose numbers say little; none where a table cannot be read."""
    try:
        return list_cautions(reader, plan) if plan.done else []
    except (ClusterError, ResultError) as error:
        note(f"note: whether trials trained as they should is unknown: {error}")
        return []


def list_cautions(source: Store | ResultReader, plan: Plan) -> list[dict[str, Any]]:
    """List finished trials whose numbers say little, by what happened to them.

    Predictions are read where they may all be the same, which an AUROC of one half may come from.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from sweeps.report.epochs import gather
    from sweeps.report.scored import score_epochs
    from sweeps.report.soundness import MEANINGS, find_events

    reader = ResultReader.of(source)
    with count_reads(reader, "reading trials", len(plan.done)):
        done = results.read_trials(reader, plan.done)
    auroc = done.column("test_auroc")
    suspects = done.filter(pc.or_(pc.equal(auroc, 0.5), pc.is_nan(auroc)))
    with count_reads(reader, "scoring predictions", suspects.num_rows):
        scored = results.reduce_attempts(
            reader,
            "predictions",
            suspects,
            lambda trial, table: score_epochs(table, False, {}, OperatingPoint()),
        )
    trials = done.to_pandas()
    with count_reads(reader, "reading epochs", done.num_rows):
        parts = results.iterate_attempts(reader, "epochs", done)
        epochs = gather(trials, parts, pa.concat_tables(scored) if scored else None, [])
    events = find_events(trials, epochs)
    labels = {trial.id: trial.label for trial in plan.trials}
    return [
        {
            "kind": kind,
            "meaning": meaning,
            "trials": sorted(events["trial_id"][events["metric"] == kind].map(labels)),
        }
        for kind, meaning in MEANINGS.items()
        if (events["metric"] == kind).any()
    ]


def _find_job(name: str, address: str | None) -> dict[str, Any] | None:
    """Find the sweep's newest job on the cluster; None where none is known."""
    if address is None and api_address(None) is None:
        return None
    try:
        job = connect(address, waits=False).newest("sweep", name)
    except ClusterError as error:
        note(f"note: the cluster does not answer: {error}")
        return None
    return None if job is None else _describe_job(job)


def _describe_job(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "state": job.state,
        "exit_code": job.exit_code,
        "message": job.message.partition("\n")[0],
    }
