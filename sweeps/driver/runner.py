"""Runs the missing trials of a plan on a Ray session and says how it went."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.common.wording import count_of, is_or_are
from cluster.jobs.session import Session
from cluster.stores.base import Store
from sweeps.driver.bill import Bill
from sweeps.driver.board import Board
from sweeps.driver.capacity import how_many_at_once, most_cpus
from sweeps.driver.compactor import Compactor
from sweeps.driver.gpu_shares import GpuShares, read_measured, write_measured
from sweeps.driver.limit_watch import LimitWatch
from sweeps.driver.lost_workers import read_lost_workers
from sweeps.driver.prometheus import SweepTelemetry
from sweeps.driver.queue import TrialQueue
from sweeps.driver.run_progress import RunProgress
from sweeps.driver.search_feed import SearchFeed
from sweeps.driver.store_watch import StoreWatch
from sweeps.driver.trainable import Attempt, attempt_with, run_attempt
from sweeps.driver.tuner import run_tasks
from sweeps.driver.use_record import UseRecord
from sweeps.errors import SweepError
from sweeps.plan.cell import Cell
from sweeps.plan.history import read_history
from sweeps.plan.plan import Plan, Trial
from sweeps.plan.render import damaged_lines, diverged_lines
from sweeps.plan.searched import describe_searches
from sweeps.plan.spending import spending_of
from sweeps.results.pack_cache import PackCache
from sweeps.results.tables import checkpointed_ids, committed_ids
from sweeps.search.assumed import assume_trials
from sweeps.spec.model import Spec
from sweeps.trial.events import HAS_RESULT, Tally, Watcher, Watchers
from sweeps.trial.tasks import Task, task_for

if TYPE_CHECKING:
    from sweeps.trial.run import FitFunction

OnEnd = Callable[[str, Mapping[str, float]], None]
"""Receives which limit stopped a run, empty where none did, and what it used by limits' names."""


def run_plan(
    spec: Spec,
    plan: Plan,
    store: Store,
    session: Session,
    cache: Path,
    console: Any,
    fit_function: FitFunction | None = None,
    *,
    quiet: bool = False,
    on_end: OnEnd = lambda *_: None,
    kept: PackCache | None = None,
) -> int:
    """Run a plan's missing trials.

    Args:
        spec, plan, store: The sweep, its plan against the store, and where results go.
        session: The Ray session to run on.
        cache: Folder of the node cache.
        console: A rich console.
        fit_function: What trains instead of a trial's own method.
        quiet: Tell of failures, warnings and the end alone.
        on_end: Receives which limit stopped the run, and what it used.
        kept: Where packs of results are kept here; None compacts none while the run goes on.

    Returns:
        0 where all have a result, 1 where some failed, 3 stopped by a limit, 130 by the user.

    Raises:
        SweepError: Ray gave up, or the store was away for longer than its bound.
    """
    cpus, gpus = spec.resources.cpus, spec.resources.gpus
    concurrent = how_many_at_once(cpus, gpus, session.nodes, may_grow=session.may_grow)
    expected = assume_trials(plan, spec)
    _print_start(spec, plan, expected, concurrent, session.nodes, console, quiet=quiet)
    history = read_history(store, expected, spec)
    seconds = history.estimate(expected, spec.resources).relative
    run = _Run(
        *(spec, plan, store),
        to_task=partial(_make_task, spec, store.url, cache, checkpointed_ids(store)),
        seconds=seconds,
        board=_make_board(spec, plan, expected, seconds, concurrent),
        expected=expected,
        limits=LimitWatch(spending_of(spec, history.own_rows, history.attempts)),
        scratch=session.folder if os.access(session.folder, os.W_OK) else None,
        attempt=run_attempt if fit_function is None else attempt_with(fit_function),
        kept=kept,
        use=UseRecord(store, spec.name, history.attempts),
    )
    return run.run(console, on_end, quiet=quiet)


def _foresee(plan: Plan, expected: Plan) -> list[Trial]:
    """Return what searches will run beside the trials of the plan."""
    planned = {trial.id for trial in plan.trials}
    return [trial for trial in expected.to_run if trial.id not in planned]


def _make_board(
    spec: Spec, plan: Plan, expected: Plan, seconds: Mapping[str, float], concurrent: int
) -> Board:
    batch = 1 if spec.search is None else spec.search.batch * len(spec.search_seeds)
    trials = [trial for trial in plan.trials if trial.id not in plan.diverged]  # these never run
    return Board(trials, plan.done, seconds, concurrent, _foresee(plan, expected), batch)


@dataclass(frozen=True)
class _Run:
    """One run of a plan: what it was given, and what watches it."""

    spec: Spec
    plan: Plan
    store: Store
    to_task: Callable[[Trial], Task]
    seconds: Mapping[str, float]
    board: Board
    expected: Plan
    limits: LimitWatch
    scratch: Path | None
    attempt: Attempt
    kept: PackCache | None
    use: UseRecord

    def run(self, console: Any, on_end: OnEnd, *, quiet: bool) -> int:
        """Run the trials; return the exit status."""
        spec, plan, store, board = self.spec, self.plan, self.store, self.board
        tasks = [self.to_task(trial) for trial in plan.to_run]
        shares = _find_shares(
            spec, store, [*tasks, *map(self.to_task, _foresee(plan, self.expected))]
        )
        watch, bill = StoreWatch(store), Bill(self.limits.spending, board, shares)
        with (
            RunProgress(spec.name, board, bill, console, quiet=quiet).shown() as progress,
            SweepTelemetry(spec, plan, store, board).shown() as metrics,
            read_lost_workers(store) as losses,
            SearchFeed(
                spec, plan, store, self.to_task, Watchers(board, progress, metrics), shares
            ) as searches,
            self._compacting(progress) as compactor,
            self.use.kept(),
        ):
            queue = TrialQueue(tasks, self.seconds, spec.limits.trials, searches)
            tally = run_tasks(
                spec.name,
                queue,
                cpus=spec.resources.cpus,
                gpus=spec.resources.gpus,
                watcher=Watchers(
                    *(board, progress, metrics, losses, self.limits, searches, compactor),
                    self.use,
                ),
                trial_minutes=spec.limits.trial_minutes,
                shares=shares,
                limits=self.limits,
                store=watch,
                scratch=self.scratch,
                attempt=self.attempt,
            )
        _refuse_lost_store(spec, len(queue.labels), tally, watch)
        if shares is not None:
            write_measured(store, shares)
        reached = self._find_limit(queue)
        on_end(reached, bill.used())
        console.print(f"sweep '{spec.name}': {bill.describe_use()}", highlight=False)
        committed = self._find_done(tally)
        elsewhere = (queue.labels.keys() & committed) - tally.committed_here
        done = committed | searches.settled
        return _conclude(
            spec, queue.labels, tally, done, len(elsewhere), searches.unfinished, reached, console
        )

    def _compacting(self, progress: RunProgress) -> AbstractContextManager[Watcher]:
        if self.kept is None:
            return nullcontext(Watcher())
        return Compactor(self.store.url, self.kept, self.plan.done, progress.on_note)

    def _find_done(self, tally: Tally) -> set[str]:
        """Find the trials with a result, whoever committed it."""
        rerun = {key for key, outcome in tally.outcomes.items() if outcome.state in HAS_RESULT}
        return (committed_ids(self.store) - self.plan.damaged.keys()) | rerun

    def _find_limit(self, queue: TrialQueue) -> str:
        """Return which limit stopped the run, empty where none did."""
        refused = self.limits.spending.refuses_start() if queue.is_spent else None
        return self.limits.reached or refused or ""


def _refuse_lost_store(spec: Spec, n_tasks: int, tally: Tally, watch: StoreWatch) -> None:
    """End a run whose store was given up; its trials are not failed but not done."""
    if watch.error is None:
        return
    committed = sum(outcome.state == "committed" for outcome in tally.outcomes.values())
    left = n_tasks - committed
    raise SweepError(
        f"sweep '{spec.name}' stopped: {count_of(committed, 'trial')} finished, {left} "
        f"{is_or_are(left)} not done; {watch.error}"
    )


def _make_task(spec: Spec, url: str, cache: Path, saved: Collection[str], trial: Trial) -> Task:
    return task_for(trial, spec, url, cache, trial.id in saved)


def _find_shares(spec: Spec, store: Store, tasks: Sequence[Task]) -> GpuShares | None:
    """Return what trials need of a GPU, where that is measured."""
    if not spec.resources.is_measured:
        return None
    return GpuShares(tasks, read_measured(store, tasks))


def _print_start(
    spec: Spec,
    plan: Plan,
    expected: Plan,
    concurrent: int,
    nodes: Sequence[tuple[float, float]],
    console: Any,
    *,
    quiet: bool,
) -> None:
    """Print what is going to run, and where nothing can yet, why.

    Args:
        spec, plan: The sweep and its plan.
        expected: The plan with what its searches will run, see `sweeps.search.assumed`.
        concurrent: Trials that the session runs at once.
        nodes: CPUs and GPUs of each of its nodes.
        console: Where to.
        quiet: Print only what is wrong.
    """
    to_run = len(plan.to_run) + len(plan.searched_next)
    if not quiet:
        searched = ", those of searches with them" if plan.is_searching else ""
        console.print(
            f"sweep '{spec.name}': {count_of(plan.size, 'trial')}, {len(plan.done)} done, "
            f"{len(expected.to_run):,} to run{searched}, {min(concurrent, to_run)} at once",
            highlight=False,
        )
        for line in describe_searches(spec, plan.cells, plan.searches):
            console.print(line, highlight=False, markup=False)
        cpus = most_cpus(min(concurrent, to_run), nodes) if concurrent and to_run else 0
        if cpus > spec.resources.cpus:
            console.print(
                f"CPUs stay idle: with resources.cpus={cpus} as many trials fit, with the same "
                "numbers; resources.threads may be raised, too, which may change last digits",
                highlight=False,
            )
    for line in (*diverged_lines(plan), *damaged_lines(plan, "computed again by this run")):
        console.print(line, highlight=False, markup=False)
    if not concurrent:
        resources = spec.resources
        console.print(
            f"no node of the cluster has {count_of(resources.cpus, 'CPU')} and "
            f"{count_of(resources.gpus, 'GPU')} now: waiting for one (an autoscaler's, or lower "
            "resources.cpus or resources.gpus)",
            highlight=False,
        )


def _conclude(
    spec: Spec,
    labels: Mapping[str, str],
    tally: Tally,
    done: Collection[str],
    elsewhere: int,
    unfinished: Collection[Cell],
    reached: str,
    console: Any,
) -> int:
    """Say how it went; what has a result is done, whoever committed it.

    Args:
        spec: The sweep.
        labels: Trial id to short name, of all that was to run.
        tally: How trials ended.
        done: Trials with a result, and those that searches need no more.
        elsewhere: How many of these another run committed meanwhile.
        unfinished: Cells whose search is not over.
        reached: Which limit stopped the run; empty without one.
        console: Where to.
    """
    failed = {key: reason for key, reason in tally.failed.items() if key not in done}
    missing = labels.keys() - {*done, *failed}
    good = len(labels) - len(missing) - len(failed)
    by = f", {elsewhere:,} of them by another run" if elsewhere else ""
    console.print(f"sweep '{spec.name}': {count_of(good, 'trial')} finished{by}", highlight=False)
    if tally.attempts:
        listed = ", ".join(f"{count} {name}" for name, count in tally.attempts.most_common())
        console.print(f"failed attempts: {listed}", highlight=False)
    for trial_id, reason in failed.items():
        console.print(f"failed: {labels[trial_id]} {trial_id}: {reason}", markup=False)
    open_ones = {"trial": len(missing), "search": len(unfinished)}
    counted = [count_of(number, noun) for noun, number in open_ones.items() if number]
    left = f"{' and '.join(counted)} {is_or_are(sum(open_ones.values()))} not done"
    if reached and counted:
        console.print(f"stopped: {left}; {reached}", markup=False)
        return 3
    if missing or (unfinished and not failed):
        console.print(f"interrupted: {left}; the same command continues", highlight=False)
        return 130
    if unfinished:
        console.print(left, highlight=False)
    return 1 if failed else 0
