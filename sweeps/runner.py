"""Runs the missing trials of a plan on a Ray session and says how it went."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cluster.session import Session
from cluster.store import Store
from spurious.fit import Machine
from sweeps.plan import Plan, Trial
from sweeps.progress import RunProgress
from sweeps.rows import Task
from sweeps.spec import Spec
from sweeps.tuner import how_many_at_once, run_tasks
from sweeps.watching import Tally


def task_for(trial: Trial, spec: Spec, store_url: str, cache: Path) -> Task:
    """What a worker is sent for a trial."""
    resources = spec.resources
    machine = Machine(
        device="cuda" if resources.gpus else "cpu",
        threads=resources.threads,
        workers=max(1, int(resources.cpus)),
    )
    return Task(
        trial_id=trial.id,
        label=trial.label,
        dataset=trial.dataset,
        dataset_digest=trial.dataset_digest,
        config=trial.config,
        store_url=store_url,
        cache_dir=str(cache),
        machine=machine,
        checkpoint_every=spec.checkpoint.every_epochs,
        keep_checkpoint=spec.checkpoint.keep,
    )


def run_plan(
    spec: Spec, plan: Plan, store: Store, session: Session, cache: Path, console: Any
) -> int:
    """Run a plan's missing trials.

    Returns:
        0 where all have a result, 1 where some failed, 130 where the user interrupted it.
    """
    tasks = [task_for(trial, spec, store.url, cache) for trial in plan.missing]
    resources = spec.resources
    concurrent = how_many_at_once(resources.cpus, resources.gpus, session.cpus, session.gpus)
    console.print(
        f"sweep '{spec.name}': {len(plan.trials)} trials, {len(plan.done)} done, "
        f"{len(tasks)} to run, {min(concurrent, len(tasks))} at once",
        highlight=False,
    )
    with RunProgress(len(tasks), console).shown() as progress:
        tally = run_tasks(
            spec.name,
            tasks,
            cpus=resources.cpus,
            gpus=resources.gpus,
            concurrent=concurrent,
            watcher=progress,
        )
    return _conclude(spec, tasks, tally, console)


def _conclude(spec: Spec, tasks: list[Task], tally: Tally, console: Any) -> int:
    missing = [task for task in tasks if task.trial_id not in tally.ended]
    failed = tally.failed
    good = len(tasks) - len(missing) - len(failed)
    console.print(f"sweep '{spec.name}': {good} trials finished", highlight=False)
    labels = {task.trial_id: task.label for task in tasks}
    for trial_id, reason in failed.items():
        console.print(f"failed: {labels[trial_id]} {trial_id}: {reason}", markup=False)
    if missing:
        console.print(
            f"interrupted: {len(missing)} trials are not done; the same command continues",
            highlight=False,
        )
        return 130
    return 1 if failed else 0
