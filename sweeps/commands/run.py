"""`sweeps run`: run the trials that have no result yet, on Ray."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cluster.common.redaction import redact
from cluster.common.wording import count_of
from cluster.errors import ClusterError
from cluster.stores.base import Store, discard_unfinished
from sweeps.commands.context import (
    SpecSource,
    check_cache_folder,
    check_reachable,
    choose_store_url,
    format_command,
    get_cache_folder,
    get_result_cache,
    open_results,
    plan_sweep,
    read_spec,
    store_session,
)
from sweeps.commands.models_left import note_without_model
from sweeps.commands.notify import choose_notify_url
from sweeps.commands.output import keep_stdout_for_json, note, print_json
from sweeps.commands.run_end import RunEnd
from sweeps.commands.stage import ensure_staged
from sweeps.driver.progress import make_console
from sweeps.errors import ResultError
from sweeps.plan.archive import archive
from sweeps.plan.choices import refuse_impossible_choices
from sweeps.plan.facts import refresh_plan
from sweeps.plan.plan import Plan, Trial
from sweeps.plan.render import describe_nothing_to_run
from sweeps.results.compaction import compact
from sweeps.results.keys import CHECKPOINTS, MODELS, STAGES
from sweeps.results.reader import ResultReader
from sweeps.results.tables import drop_checkpoints, read_failures
from sweeps.spec.model import Spec

if TYPE_CHECKING:
    from rich.console import Console

    from cluster.jobs.session import Session
_DEAD_S = 3600.0
"""Age of an unfinished checkpoint in the store from which whoever wrote it has ended."""


@dataclass(frozen=True)
class _How:
    """What the user wants of a run."""

    keep_logs: bool
    quiet: bool
    retry_numerical: bool

    def decide(self, plan: Plan) -> Plan:
        """Return the plan with what diverged before to be run, where that is wanted."""
        return replace(plan, diverged=frozenset()) if self.retry_numerical else plan


def run(
    source: SpecSource,
    store_url: str | None,
    *,
    keep_logs: bool = False,
    quiet: bool = False,
    notify_url: str | None = None,
    is_limit_ok: bool = False,
    retry_numerical: bool = False,
    as_json: bool = False,
) -> int:
    """Run what is missing and print the next command, or a summary as JSON.

    Args:
        source: The sweep.
        store_url: The store; None is the specification's, $SWEEPS_STORE's or the embedded one.
        keep_logs: Leave the logs of a local Ray session, and print where they are.
        quiet: Print failures, warnings and the end alone.
        notify_url: Where to post how it ended; None is $SWEEPS_NOTIFY's, else nothing is posted.
        is_limit_ok: End with 0 where a limit stopped it, so that nobody runs it again for that.
        retry_numerical: Run those again, too, that diverged in an earlier run.
        as_json: Print a JSON document instead of the next command.

    Returns:
        The exit status: 0 all done, 1 some failed, 3 stopped by a limit, 130 interrupted.
    """
    end = RunEnd(source.target, is_limit_ok)
    target = choose_notify_url(notify_url)
    with end.posted(target):
        spec = source.file_spec if source.names_file else None
        end.sweep = source.target if spec is None else spec.name
        url = choose_store_url(store_url, spec)
        check_reachable(url)
        console = make_console()
        if not quiet:
            _note_opening(console, spec, url)
        with store_session(url) as store:
            spec = spec or read_spec(source, store)
            end.sweep = spec.name
            how = _How(keep_logs, quiet, retry_numerical)
            with keep_stdout_for_json(as_json):
                status, plan = _run_missing(spec, store, console, end, how)
            end.status, end.plan = status, plan
            if as_json or status == 1 or target is not None:
                end.failed, end.classes = _find_failed(store, plan)
            if as_json:
                print_json({"sweep": spec.name, "store": store.url, **end.summary(spec)})
            else:
                _note_next_commands(status, plan, end.failed, source, store_url)
            return end.exit_status


def _note_opening(console: Any, spec: Spec | None, url: str | None) -> None:
    """Print that the store is opened, where it takes seconds to answer."""
    if url is None or url.startswith("s3://"):
        name = "a stored sweep" if spec is None else f"sweep '{spec.name}'"
        where = "the embedded store" if url is None else redact(url)
        console.print(f"{name}: opening {where}", highlight=False, markup=False)


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
        if any(trial.id not in plan.diverged for trial in failed):
            note(f"next: {format_command('run', source, store_url)}  # retries the failed trials")
    elif status == 0 and plan.done:
        note(f"next: {format_command('report', source, store_url, name=plan.name)}")


def _find_failed(store: Store, plan: Plan) -> tuple[list[Trial], list[str]]:
    """Find the trials without a result of which an attempt failed, and the attempts' classes."""
    if not plan.missing:
        return [], []
    failures = read_failures(store, [trial.id for trial in plan.missing])
    ids = set(failures.column("trial_id").to_pylist())
    classes: list[str] = failures.column("failure_class").to_pylist()
    return [trial for trial in plan.missing if trial.id in ids], classes


def _run_missing(
    spec: Spec, store: Store, console: Console, end: RunEnd, how: _How
) -> tuple[int, Plan]:
    """Run the trials that have no result; return the exit status and the plan afterwards."""
    reader = open_results(store)
    plan = how.decide(plan_sweep(spec, reader))
    refuse_impossible_choices(plan)
    note_without_model(spec, plan, reader)
    if plan.unknown is not None or plan.to_run or plan.is_searching:
        return _run_on_ray(spec, plan, store, console, end, how)
    _tidy(spec, reader, plan)
    console.print(describe_nothing_to_run(plan), highlight=False, markup=False)
    return 1 if plan.diverged else 0, plan


def _refresh(plan: Plan, spec: Spec, reader: ResultReader) -> Plan:
    """Return the plan after results were committed; a search may have chosen other trials."""
    return refresh_plan(plan, reader) if spec.search is None else plan_sweep(spec, reader)


def _tidy(spec: Spec, reader: ResultReader, plan: Plan) -> None:
    """Leave a store as later commands want it: the plan archived, results compacted, no leftovers.

    Those are checkpoints of finished trials, unless the spec keeps them, and what a killed trial
    left of one that it was writing.
    """
    store = reader.store
    archive(store, spec, plan)
    if not spec.checkpoint.keep:
        drop_checkpoints(store, [*plan.done, *plan.searched_to_the_end])
    for prefix in (CHECKPOINTS, STAGES, MODELS):
        discard_unfinished(store, prefix, _DEAD_S)
    try:
        compact(reader, {*(trial.id for trial in plan.trials), *plan.searched_to_the_end})
    except (ClusterError, ResultError) as error:
        note(f"note: results are read one by one, since they could not be compacted: {error}")


def _run_on_ray(
    spec: Spec,
    plan: Plan,
    store: Store,
    console: Console,
    end: RunEnd,
    how: _How,
) -> tuple[int, Plan]:
    from cluster.jobs.session import on_cluster, ray_session

    check_cache_folder()
    if not how.quiet:
        console.print(
            f"sweep '{spec.name}': {count_of(plan.size, 'trial')}, {len(plan.done)} done; "
            + ("connecting to Ray" if on_cluster() else "starting Ray on this machine"),
            highlight=False,
        )
    with ray_session(spec.name, keep_logs=how.keep_logs) as session:
        from sweeps.driver.runner import run_plan  # imports Ray, which the session sets up

        if not how.quiet:
            _note_dashboard(console, session)
        ensure_staged(spec, store)
        # counts of a dataset that was staged just now can exclude cells
        is_final = plan.unknown is None
        reader = open_results(store)
        plan = _refresh(plan, spec, reader) if is_final else plan_sweep(spec, reader)
        plan = how.decide(plan)
        refuse_impossible_choices(plan)
        archive(store, spec, plan)
        for text in plan.explaining:
            console.print(f"note: {text}", highlight=False, markup=False)
        status = run_plan(
            spec,
            plan,
            store,
            session,
            get_cache_folder(),
            console,
            quiet=how.quiet,
            on_end=end.note_end,
            kept=get_result_cache(store),
        )
        reader = open_results(store)
        plan = _refresh(plan, spec, reader)
        _tidy(spec, reader, plan)
        if how.keep_logs:
            console.print(f"Ray's logs: {session.folder}/logs", highlight=False, markup=False)
        return (1 if status == 0 and plan.diverged else status), plan


def _note_dashboard(console: Console, session: Session) -> None:
    if session.dashboard:
        token = f" (token in {session.token_file})" if session.token_file else ""
        console.print(f"Ray dashboard: {session.dashboard}{token}", highlight=False, markup=False)
