"""`sweeps run`: run the trials that have no result yet, on Ray."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from cluster.stores.base import Store, discard_unfinished
from sweeps.commands.context import (
    SpecSource,
    check_cache_folder,
    check_reachable,
    choose_store_url,
    format_command,
    get_cache_folder,
    plan_sweep,
    read_spec,
    store_session,
)
from sweeps.commands.output import keep_stdout_for_json, note, print_json
from sweeps.commands.stage import ensure_staged
from sweeps.plan.archive import archive
from sweeps.plan.choices import refuse_impossible_choices
from sweeps.plan.facts import refresh_plan
from sweeps.plan.plan import Plan, Trial
from sweeps.results.keys import CHECKPOINTS, STAGES
from sweeps.results.tables import drop_checkpoints, read_failures
from sweeps.spec.model import Spec

_DEAD_S = 3600.0
"""Age of an unfinished checkpoint in the store from which whoever wrote it has ended."""


def run(
    source: SpecSource, store_url: str | None, *, keep_logs: bool = False, as_json: bool = False
) -> int:
    """Run what is missing and print the next command, or a summary as JSON.

    Args:
        source: The sweep.
        store_url: The store; None is the specification's, $SWEEPS_STORE's or the embedded one.
        keep_logs: Leave the logs of a local Ray session, and print where they are.
        as_json: Print a JSON document instead of the next command.

    Returns:
        The exit status: 0 all done, 1 some failed, 130 interrupted.
    """
    began = time.monotonic()
    spec = source.file_spec if source.digest is None else None
    url = choose_store_url(store_url, spec)
    check_reachable(url)
    with store_session(url) as store:
        spec = spec or read_spec(source, store)
        with keep_stdout_for_json(as_json):
            status, plan = _run_missing(spec, store, keep_logs=keep_logs)
        failed = _find_failed(store, plan) if as_json or status == 1 else []
        if as_json:
            seconds = time.monotonic() - began
            print_json(_summarize(plan, failed, store.url, seconds))
        else:
            _note_next_commands(status, plan, failed, source, store_url)
        return status


def _summarize(
    plan: Plan, failed: Sequence[Trial], store_url: str, seconds: float
) -> dict[str, Any]:
    """Summarize a run for programs; counts as those of `sweeps status`."""
    return {
        "sweep": plan.name,
        "store": store_url,
        "trials": len(plan.trials),
        "done": len(plan.done),
        "failed": len(failed),
        "missing": len(plan.missing) - len(failed),
        "seconds": round(seconds, 3),
    }


def _note_next_commands(
    status: int, plan: Plan, failed: Sequence[Trial], source: SpecSource, store_url: str | None
) -> None:
    """Print what to do next: look at the failures and retry them, or write the report."""
    if status == 1:
        pull = format_command("pull", source, store_url, name=plan.name)
        note(f"next: {pull}  # failures.parquet has tracebacks and last log lines")
        if failed:
            debug = format_command("run", source, store_url, "--debug", failed[0].label)
            note(f"next: {debug}  # runs one of them in this process")
        note(f"next: {format_command('run', source, store_url)}  # retries the failed trials")
    elif status == 0 and plan.done:
        note(f"next: {format_command('report', source, store_url, name=plan.name)}")


def _find_failed(store: Store, plan: Plan) -> list[Trial]:
    """Find the trials without a result of which an attempt failed."""
    if not plan.missing:
        return []
    failures = read_failures(store, [trial.id for trial in plan.missing])
    ids = set(failures.column("trial_id").to_pylist())
    return [trial for trial in plan.missing if trial.id in ids]


def _run_missing(spec: Spec, store: Store, *, keep_logs: bool) -> tuple[int, Plan]:
    """Run the trials that have no result; return the exit status and the plan afterwards."""
    from sweeps.driver.progress import make_console

    console = make_console()
    plan = plan_sweep(spec, store)
    refuse_impossible_choices(plan)
    if plan.unknown is not None or plan.missing:
        return _run_on_ray(spec, plan, store, console, keep_logs=keep_logs)
    _tidy(spec, store, plan)
    console.print(
        f"sweep '{spec.name}': all {len(plan.trials)} trials have a result; nothing to run",
        highlight=False,
    )
    return 0, plan


def _tidy(spec: Spec, store: Store, plan: Plan) -> None:
    """Archive the spec and the plan after a run, and drop the checkpoints of finished trials.

    So is what a killed trial left of one that it was writing.
    """
    archive(store, spec, plan)
    if not spec.checkpoint.keep:
        drop_checkpoints(store, plan.done)
    for prefix in (CHECKPOINTS, STAGES):
        discard_unfinished(store, prefix, _DEAD_S)


def _run_on_ray(
    spec: Spec, plan: Plan, store: Store, console: Any, *, keep_logs: bool
) -> tuple[int, Plan]:
    from cluster.jobs.session import ray_session

    check_cache_folder()
    with ray_session(spec.name, keep_logs=keep_logs) as session:
        from sweeps.driver.runner import (
            run_plan,  # imports Ray, which the session must set up first
        )

        if session.dashboard:
            token = f" (token in {session.token_file})" if session.token_file else ""
            console.print(
                f"Ray dashboard: {session.dashboard}{token}", highlight=False, markup=False
            )
        ensure_staged(spec, store)
        # counts of a dataset that was staged just now can exclude cells
        is_final = plan.unknown is None
        plan = refresh_plan(plan, store) if is_final else plan_sweep(spec, store)
        refuse_impossible_choices(plan)
        archive(store, spec, plan)
        for text in plan.explaining:
            console.print(f"note: {text}", highlight=False, markup=False)
        status = run_plan(spec, plan, store, session, get_cache_folder(), console)
        plan = refresh_plan(plan, store)
        _tidy(spec, store, plan)
        if keep_logs:
            console.print(f"Ray's logs: {session.folder}/logs", highlight=False, markup=False)
        return status, plan
