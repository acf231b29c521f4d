"""Workers that die between two trials: the next one, which Tune gives them, is not lost."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from faulty_runs import Notes, tasks_here
from ray_here import RayHere
from tiny_sweeps import wait_until

from sweeps.driver.queue import TrialQueue
from sweeps.driver.tuner import run_tasks
from sweeps.trial.events import Control, Outcome, TaskName
from sweeps.trial.tasks import Task


def note_process(folder: Path, task: Task, progress: Any, control: Control) -> Outcome:
    """An attempt that tells whose process it is, and how long Tune waits for its thread there."""
    note = folder / f"{task.label}-{os.getpid()}"
    note.write_text(os.environ.get("TUNE_FUNCTION_THREAD_TIMEOUT_S", ""))
    return Outcome(task.trial_id, "committed", 0.0)


def kill(process: int) -> None:
    """Kill a process, and wait for its end."""
    os.kill(process, signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{process}").exists())


class KillBetween(Notes):
    """Kills the worker of a trial that has ended, and gives out the next one when it is dead.

    A search does so, whose next trials follow from results: meanwhile the worker has nothing to do.
    """

    def __init__(self, tasks: list[Task], folder: Path, kills: int) -> None:
        super().__init__()
        self.tasks, self.folder, self.kills = tasks, folder, kills
        self.ended: list[tuple[str, str]] = []
        self._ready: list[Task] = []

    def on_ended(self, task: TaskName, outcome: Outcome | None, message: str) -> None:
        self.ended.append((task.label, "lost" if outcome is None else outcome.state))
        if self.tasks:
            threading.Thread(target=self._go_on, args=(task.label,)).start()

    def _go_on(self, label: str) -> None:
        notes = list(self.folder.glob(f"{label}-*")) if self.kills else []  # of a lost one none
        for note in notes:
            self.kills -= 1
            kill(int(note.name.rpartition("-")[2]))
        self._ready.append(self.tasks.pop(0))

    def take_ready(self) -> Iterable[Task]:
        ready, self._ready = self._ready, []
        return ready

    @property
    def is_exhausted(self) -> bool:
        return not self.tasks and not self._ready


def test_the_trial_that_a_dead_worker_was_given_runs_elsewhere(
    ray_here: RayHere, tmp_path: Path
) -> None:
    """Told as an attempt that was lost; a limit of trials counts it once."""
    first, *later = tasks_here(tmp_path, ["first", "second", "third"])
    watcher = KillBetween(later, tmp_path, kills=2)
    queue = TrialQueue([first], most=3, source=watcher)
    attempt = partial(note_process, tmp_path)
    tally = run_tasks("killed", queue, cpus=2, gpus=0, watcher=watcher, attempt=attempt)
    assert watcher.ended == [(name, "committed") for name in ("first", "second", "third")]
    assert len(watcher.retried) == len(watcher.lost) == 2
    assert all("infrastructure: the worker process was lost" in told for told in watcher.retried)
    assert tally.failed == {}
    assert tally.attempts == {"infrastructure": 2}
    assert {note.read_text() for note in tmp_path.glob("*-*")} == {"120"}
