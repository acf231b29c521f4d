"""Runs of faulty attempts on a pool: what they told, and where each attempt was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tiny_sweeps import one, prepared

from cluster.stores.folder import FolderStore
from sweeps.driver.queue import TrialQueue
from sweeps.driver.trainable import Attempt
from sweeps.driver.tuner import run_tasks
from sweeps.plan.packing import Share
from sweeps.trial.events import LostWorker, Tally, TaskName, Watcher
from sweeps.trial.tasks import Task


class Notes(Watcher):
    """What a run told."""

    def __init__(self) -> None:
        self.retried: list[str] = []
        self.notes: list[str] = []
        self.lost: list[LostWorker] = []
        self.shares: list[Share] = []

    def on_started(self, task: TaskName, share: Share) -> None:
        self.shares.append(share)

    def on_retried(self, task: TaskName, message: str) -> None:
        self.retried.append(message)

    def on_note(self, message: str) -> None:
        self.notes.append(message)

    def on_lost_worker(self, loss: LostWorker) -> None:
        self.lost.append(loss)


def tasks_here(folder: Path, labels: Sequence[str]) -> list[Task]:
    """Tasks with these labels; their ids are 0, 1 and so on, in 16 digits."""
    cache = folder / "cache"
    cache.mkdir(exist_ok=True)
    task = prepared(FolderStore(folder / "store"), one(), cache)[1]
    return [replace(task, trial_id=f"{i:016x}", label=label) for i, label in enumerate(labels)]


def run_faulty(
    folder: Path, labels: Sequence[str], attempt: Attempt, **options: Any
) -> tuple[Tally, Notes]:
    """Run tasks with these labels, of one CPU each.

    Args:
        folder: Its `cache` has the notes of attempts.
        labels: See `tasks_here`.
        attempt: What runs each.
        options: Of `run_tasks`.
    """
    notes = Notes()
    queue = TrialQueue(tasks_here(folder, labels))
    chosen = {"cpus": 1, "gpus": 0, **options}
    return run_tasks("pool", queue, watcher=notes, attempt=attempt, **chosen), notes


def places(folder: Path) -> dict[str, list[str]]:
    """Trial id to the nodes of its attempts, in their order."""
    found: dict[str, list[str]] = {}
    for path in sorted((folder / "cache").glob("place-*")):
        found.setdefault(path.name.split("-")[1], []).append(path.read_text())
    return found
