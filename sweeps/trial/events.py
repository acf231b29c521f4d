"""How trials end and who is told; imports neither Ray nor torch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sweeps.plan.packing import Share
    from sweeps.plan.plan import Trial
    from sweeps.plan.searched import CellSearch

HAS_RESULT = frozenset({"committed", "already done", "lost the race"})
"""States of an `Outcome` after which the store has the trial's result."""
UNFINISHED = frozenset({"stopped", "at a rung"})
"""States after which the trial may go on from its checkpoint."""


@dataclass(frozen=True)
class TaskName:
    """A trial as progress shows it."""

    trial_id: str
    label: str


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended.

    `committed`, `already done`, `lost the race`, `failed`, `stopped`, or `at a rung`, where a
    search compares it before it goes on.
    `warnings` are for the user of `sweeps run`, who does not see the worker's log. Bytes of GPU
    memory are 0 where it used no GPU.
    """

    trial_id: str
    state: str
    seconds: float
    failure_class: str = ""
    message: str = ""
    images: int = 0
    robust_auroc: float = float("nan")
    warnings: tuple[str, ...] = ()
    gpu_peak_bytes: int = 0
    gpu_total_bytes: int = 0


@dataclass(frozen=True)
class LostWorker:
    """A worker that died with a trial, so that only the driver can tell of it."""

    trial_id: str
    message: str
    details: str
    at: datetime
    failure_class: str = "infrastructure"
    node: str = ""


@dataclass
class Tally:
    """How the trials of a run ended.

    Attributes:
        outcomes: By trial id, as the workers told them.
        lost: Trial id to failure class and message, where no attempt could tell an outcome.
        attempts: Attempts that failed, by class, also where a later one succeeded.
        retried: Ids of trials of which an attempt was lost, perhaps after it had committed.
    """

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)
    attempts: Counter[str] = field(default_factory=Counter)
    retried: set[str] = field(default_factory=set)

    @property
    def committed_here(self) -> set[str]:
        """Return the ids of trials whose result is an attempt's of this run."""
        return {
            trial_id
            for trial_id, outcome in self.outcomes.items()
            if outcome.state == "committed"
            or (outcome.state == "already done" and trial_id in self.retried)
        }

    @property
    def failed(self) -> dict[str, str]:
        """Trial id to failure class and message."""
        failures = {
            outcome.trial_id: f"{outcome.failure_class}: {outcome.message}"
            for outcome in self.outcomes.values()
            if outcome.state == "failed"
        }
        return {**failures, **self.lost}


class Control:
    """What a trial asks of the outside between epochs; by default nothing ever comes."""

    def stop(self) -> bool:
        """Return whether to save a checkpoint and end."""
        return False

    def leaving(self) -> bool:
        """Return whether this node will go away, so that every epoch is worth a checkpoint."""
        return False

    def notice_s(self) -> float:
        """Return seconds from the notice that this node will go away to its end."""
        return math.inf

    def retried(self, trial_id: str) -> bool:
        """Return whether an earlier attempt of the trial was lost in this run."""
        return False

    def limit_s(self) -> float:
        """Return seconds that the trial may take, those of earlier attempts with it."""
        return math.inf

    def took(self, seconds: float) -> None:
        """The trial has taken so many seconds by now: it begins, or goes on from a checkpoint."""


class Watcher:
    """What wants to know how a run goes; every method does nothing by default."""

    def on_started(self, task: TaskName, share: Share) -> None:
        """A trial was placed on a worker, with a share of its node."""

    def on_epoch(
        self, task: TaskName, epoch: int, epochs: int, values: dict[str, float], since: int = 0
    ) -> None:
        """A trial reached an epoch; told at most every two seconds a trial.

        This attempt trained the epochs after `since`, an earlier one those before.
        """

    def on_retried(self, task: TaskName, message: str) -> None:
        """An attempt was lost, another one follows."""

    def on_lost_worker(self, loss: LostWorker) -> None:
        """A worker died; its trial goes on elsewhere or has no attempt left."""

    def on_stopping(self) -> None:
        """The user asked to stop: running trials save a checkpoint at the end of their epoch."""

    def on_store_away(self, message: str) -> None:
        """The store does not answer, or the sweep stops since it did not."""

    def on_note(self, message: str) -> None:
        """Something changed in how later trials run, which the user should know."""

    def on_ended(self, task: TaskName, outcome: Outcome | None, message: str) -> None:
        """A trial ended; without an outcome no attempt came to an end of its own."""

    def on_added(self, trials: Sequence[Trial]) -> None:
        """A search gave out trials."""

    def on_searched(self, search: CellSearch) -> None:
        """A search went on, or is over; trials of what does not wait are not run any more."""


class Watchers(Watcher):
    """Tells several watchers, one after the other."""

    def __init__(self, *watchers: Watcher) -> None:
        self.watchers = watchers

    def on_started(self, task: TaskName, share: Share) -> None:
        """See `Watcher`."""
        for watcher in self.watchers:
            watcher.on_started(task, share)

    def on_epoch(
        self, task: TaskName, epoch: int, epochs: int, values: dict[str, float], since: int = 0
    ) -> None:
        """See `Watcher`."""
        for watcher in self.watchers:
            watcher.on_epoch(task, epoch, epochs, values, since)

    def on_retried(self, task: TaskName, message: str) -> None:
        """See `Watcher`."""
        for watcher in self.watchers:
            watcher.on_retried(task, message)

    def on_lost_worker(self, loss: LostWorker) -> None:
        """See `Watcher`."""
        for watcher in self.watchers:
            watcher.on_lost_worker(loss)

    def on_stopping(self) -> None:
        """See `Watcher`."""
        for watcher in self.watchers:
            watcher.on_stopping()

    def on_store_away(self, message: str) -> None:
        """See `Watcher`."""
        for watcher in self.watchers:
            watcher.on_store_away(message)

    def on_note(self, message: str) -> None:
        """See `Watcher`."""
        for watcher in self.watchers:
            watcher.on_note(message)

    def on_ended(self, task: TaskName, outcome: Outcome | None, message: str) -> None:
        """See `Watcher`."""
        for watcher in self.watchers:
            watcher.on_ended(task, outcome, message)

    def on_added(self, trials: Sequence[Trial]) -> None:
        """See `Watcher`."""
        for watcher in self.watchers:
            watcher.on_added(trials)

    def on_searched(self, search: CellSearch) -> None:
        """See `Watcher`."""
        for watcher in self.watchers:
            watcher.on_searched(search)
