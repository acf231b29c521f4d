"""How busy a pool is to the end of a sweep of unequal trials: on Ray, and on a virtual clock."""

from __future__ import annotations

import itertools
import os
import random
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "sweeps"))
from virtual_pool import simulate

from sweeps.driver.queue import TrialQueue
from sweeps.plan.packing import Share
from sweeps.trial.events import Outcome, TaskName, Watcher
from sweeps.trial.tasks import Task

BUDGETS = (600, 1100, 2200, 4400)
TRIALS_A_SLOT = 16
NOISE = 0.2
SECONDS = "@"
"""In a task's label: its length follows."""


def tasks_of(number: int, longest: float) -> tuple[list[Task], dict[str, float], dict[str, float]]:
    """Make tasks with the shipped budgets; what is expected of each, and its true seconds."""
    from drivers import SPEC

    from cluster.stores.folder import FolderStore
    from sweeps.plan.facts import plan_on
    from sweeps.spec.model import parse_spec
    from sweeps.trial.tasks import task_for

    spec, draw = parse_spec(SPEC), random.Random(0)
    with tempfile.TemporaryDirectory() as empty:
        [trial] = plan_on(spec, FolderStore(Path(empty))).trials
    template = task_for(trial, spec, "", Path())
    tasks, expected, seconds = [], {}, {}
    for i, budget in zip(range(number), itertools.cycle(BUDGETS), strict=False):
        key = f"{i:016x}"
        expected[key] = longest * budget / BUDGETS[-1]
        seconds[key] = expected[key] * draw.uniform(1 - NOISE, 1 + NOISE)
        label = f"label-{budget}-erm{SECONDS}{seconds[key]:.3f}"
        tasks.append(replace(template, trial_id=key, label=label))
    return tasks, expected, seconds


def run_virtual(pools: tuple[int, ...]) -> list[str]:
    """Simulate pools with the queue of real runs, and with waves of 200 as a comparison."""
    lines = [
        "| slots | trials | one queue: busy share | waves of 200 |",
        "| --- | --- | --- | --- |",
    ]
    for slots in pools:
        tasks, expected, seconds = tasks_of(slots * TRIALS_A_SLOT, 60.0)
        busy = simulate(TrialQueue(tasks, expected), slots, seconds).busy
        waves = [tasks[i : i + 200] for i in range(0, len(tasks), 200)]
        taken = sum(simulate(TrialQueue(wave), slots, seconds).seconds for wave in waves)
        in_waves = sum(seconds.values()) / (slots * taken)
        lines.append(f"| {slots} | {len(tasks)} | {busy:.3f} | {in_waves:.3f} |")
    return lines


def sleep(task: Task, progress: Any, control: Any) -> Outcome:
    """An attempt that sleeps as long as its label says."""
    time.sleep(float(task.label.partition(SECONDS)[2]))
    return Outcome(task.trial_id, "committed", 0.0)


class Times(Watcher):
    """When each trial began and ended, as the driver heard."""

    def __init__(self) -> None:
        self.began: dict[str, float] = {}
        self.ended: dict[str, float] = {}

    def on_started(self, task: TaskName, share: Share) -> None:
        self.began[task.trial_id] = time.monotonic()

    def on_ended(self, task: TaskName, outcome: Outcome | None, message: str) -> None:
        self.ended[task.trial_id] = time.monotonic()


def run_real(slots: int, longest: float) -> list[str]:
    """Run trials that sleep on Ray with so many logical CPUs, without torch."""
    from cluster.jobs.session import ray_session

    tasks, expected, seconds = tasks_of(slots * TRIALS_A_SLOT, longest)
    times = Times()
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)  # its workers import this file
    with ray_session("bench", cpus=slots):
        from sweeps.driver.tuner import run_tasks  # imports Ray, which the session sets up

        run_tasks(
            "bench", TrialQueue(tasks, expected), cpus=1, gpus=0, watcher=times, attempt=sleep
        )
    if times.ended.keys() != seconds.keys():
        raise SystemExit("some trials did not end")
    span = max(times.ended.values()) - min(times.began.values())
    busy = sum(seconds.values()) / (slots * span)
    return [
        "| slots | trials | first start to last end s | busy share | on a virtual clock |",
        "| --- | --- | --- | --- | --- |",
        f"| {slots} | {len(tasks)} | {span:.1f} | {busy:.3f} "
        f"| {simulate(TrialQueue(tasks, expected), slots, seconds).busy:.3f} |",
    ]
