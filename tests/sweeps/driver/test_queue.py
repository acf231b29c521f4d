"""One queue for a whole run: its order, and what the pool and the driver make of it."""

from __future__ import annotations

import gc
import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ray_here import RayHere
from tiny_sweeps import one, prepared
from virtual_pool import simulate

from cluster.stores.folder import FolderStore
from sweeps.driver.queue import TrialQueue
from sweeps.driver.tune_queue import TaskTrial, pack_task, unpack_task
from sweeps.driver.tuner import run_tasks
from sweeps.trial.events import Control, Outcome, TaskName, Watcher
from sweeps.trial.tasks import Task

BUDGETS = (600, 1100, 2200, 4400)


@pytest.fixture
def task(tmp_path: Path) -> Task:
    """Any task; tests change its id."""
    return prepared(FolderStore(tmp_path / "store"), one(), tmp_path / "cache")[1]


def numbered(task: Task, number: int) -> list[Task]:
    """Tasks with ids 0 to number - 1."""
    return [replace(task, trial_id=f"{i:016x}", label=f"label-{i}") for i in range(number)]


def test_the_longest_come_first_and_unknown_ones_before_them(task: Task) -> None:
    """Ties and unknown lengths keep the order in which they were given, also when added later."""
    tasks = numbered(task, 6)
    lengths = dict(zip((each.trial_id for each in tasks), (1.0, 5.0, 3.0, 5.0), strict=False))
    queue = TrialQueue(tasks[:5], lengths)
    first = queue.take()
    queue.add(tasks[5:])
    rest = [each for _ in range(5) if (each := queue.take()) is not None]
    assert [tasks.index(each) for each in (first, *rest) if each] == [4, 5, 1, 3, 2, 0]
    assert queue.is_finished
    assert queue.take() is None


def test_what_comes_back_is_next_and_counts_once(task: Task) -> None:
    """Also where the limit of trials was reached with it; others wait for their turn."""
    tasks = numbered(task, 4)
    queue = TrialQueue(tasks, {each.trial_id: 1.0 for each in tasks}, most=2)
    assert [queue.take(), queue.take(), queue.take()] == [*tasks[:2], None]
    queue.give_back(tasks[1])
    assert not queue.is_finished
    assert [queue.take(), queue.take()] == [tasks[1], None]
    assert queue.is_spent
    assert queue.returned == {tasks[1].trial_id: 1}
    assert len(queue) == 2


def test_a_closed_queue_gives_nothing_out(task: Task) -> None:
    """A stop leaves the rest for the next run."""
    queue = TrialQueue(numbered(task, 3))
    queue.take()
    queue.close()
    assert queue.take() is None
    assert queue.is_finished
    assert len(queue) == 2


@pytest.mark.parametrize("slots", [64, 256])
def test_a_pool_is_busy_to_the_end_of_unequal_trials(task: Task, slots: int) -> None:
    """Budgets 600 to 4,400 with 20 % of noise, ten trials a slot; estimates know the budget only.

    The same trials in the order of the plan, seeds last, leave a tail.
    """
    draw = random.Random(0)
    tasks = numbered(task, slots * 10)
    budget = {each.trial_id: float(BUDGETS[i % 4]) for i, each in enumerate(tasks)}
    seconds = {key: value * draw.uniform(0.8, 1.2) for key, value in budget.items()}
    found = simulate(TrialQueue(tasks, budget), slots, seconds)
    assert found.busy > 0.97
    assert sorted(found.order) == sorted(seconds)
    assert [budget[key] for key in found.order] == sorted(budget.values(), reverse=True)
    ascending = sorted(tasks, key=lambda each: budget[each.trial_id])
    assert simulate(TrialQueue(ascending), slots, seconds).busy < found.busy - 0.02


def test_tasks_reach_their_workers_as_they_are(task: Task) -> None:
    """Tune carries text, and replaces nothing in it."""
    packed = pack_task(task)
    assert {type(value) for value in packed.values()} == {str}
    assert unpack_task(packed) == task


class Counting(Watcher):
    """Counts what the driver holds of Tune's trials, at every fiftieth end."""

    def __init__(self) -> None:
        self.ended = 0
        self.trials: list[int] = []

    def on_ended(self, task: TaskName, outcome: Outcome | None, message: str) -> None:
        self.ended += 1
        if self.ended % 50 == 0:
            self.trials.append(sum(type(each) is TaskTrial for each in gc.get_objects()))


def do_nothing(task: Task, progress: Any, control: Control) -> Outcome:
    """An attempt without dataset and store."""
    return Outcome(task.trial_id, "committed", 0.0)


@pytest.mark.slow
def test_the_driver_forgets_the_trials_that_ended(ray_here: RayHere, task: Task) -> None:
    """After 250 trials it holds those that wait for an actor, and no others; each ended once."""
    tasks, watcher = numbered(task, 250), Counting()
    tally = run_tasks(
        "many", TrialQueue(tasks), cpus=1, gpus=0, watcher=watcher, attempt=do_nothing
    )
    assert tally.outcomes.keys() == {each.trial_id for each in tasks}
    assert watcher.ended == 250
    assert 0 < watcher.trials[0] <= 25
    assert max(watcher.trials) <= 25


def read_title(task: Task, progress: Any, control: Control) -> Outcome:
    """An attempt that ends well when its process has the trial's title, after its second epoch."""
    progress(2, 5, {})
    expected = f"ray::{task.label} 2/5 (titles)"
    for _ in range(600):
        if Path("/proc/self/cmdline").read_bytes().rstrip(b"\0").decode() == expected:
            return Outcome(task.trial_id, "committed", 0.0)
        time.sleep(0.05)
    return Outcome(task.trial_id, "failed", 0.0)


def test_a_worker_has_the_title_of_its_trial(ray_here: RayHere, task: Task) -> None:
    """Two trials on reused actors, each with its epoch."""
    queue = TrialQueue(numbered(task, 2))
    tally = run_tasks("titles", queue, cpus=2, gpus=0, watcher=Watcher(), attempt=read_title)
    assert [outcome.state for outcome in tally.outcomes.values()] == ["committed"] * 2
