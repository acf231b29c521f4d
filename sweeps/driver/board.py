"""Where a run stands: cells by seeds, who runs, the best so far, and the time left."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from sweeps.plan.packing import Share
from sweeps.plan.plan import Trial
from sweeps.trial.events import HAS_RESULT, UNFINISHED, Outcome, TaskName, Watcher

STATES = ("done", "running", "failed", "waiting")


@dataclass
class CellState:
    """One cell: the state of each of its seeds, and what its trials reached.

    Attributes:
        name: As people read it.
        seeds: Trial id to one of `STATES`, in the order of the plan.
        best: Best robust AUROC on test of the trials that ended in this run; NaN before.
        is_search: Whether its trials are configurations that are tried. Nothing is best of these
            then: a choice that people made by test images would be no test.
    """

    name: str
    seeds: dict[str, str] = field(default_factory=dict)
    best: float = math.nan
    is_search: bool = False

    def count(self, state: str) -> int:
        """Return its trials in a state."""
        return sum(each == state for each in self.seeds.values())


class Board(Watcher):
    """Keeps the state of every trial of a sweep.

    Args:
        trials: All trials of the sweep.
        done: Ids of those that had a result before.
        seconds: Trial id to its expected seconds, in any unit; their mean where unknown.
        at_once: Trials that the pool runs at once; 0 where no node is there yet.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        done: frozenset[str] = frozenset(),
        seconds: Mapping[str, float] = MappingProxyType({}),
        at_once: int = 1,
    ) -> None:
        self.cells: dict[str, CellState] = {}
        self._cell: dict[str, CellState] = {}
        self.running: dict[str, tuple[str, int, int]] = {}
        """Trial id to short name, epoch and number of epochs; in the order they began."""
        self.ended = self.failed = self.to_run = 0
        self._expected = seconds
        self._typical = sum(seconds.values()) / len(seconds) if seconds else 1.0
        self._waiting: set[str] = set()
        self.add(trials, done)
        self._at_once = at_once
        self._began: dict[str, float] = {}
        self._spent = self._foreseen = 0.0

    def add(self, trials: Sequence[Trial], done: frozenset[str] = frozenset()) -> None:
        """Take trials in, those of a search under a cell of their own; known ones stay."""
        for trial in trials:
            if trial.id in self._cell:
                continue
            is_search = trial.suggestion is not None
            name = str(trial.cell) + (", search" if is_search else "")
            state = CellState(name, is_search=is_search)
            cell = self._cell[trial.id] = self.cells.setdefault(name, state)
            cell.seeds[trial.id] = "done" if trial.id in done else "waiting"
            if trial.id not in done:
                self.to_run += 1
                self._waiting.add(trial.id)

    def on_added(self, trials: Sequence[Trial]) -> None:
        """See `Watcher`."""
        self.add(trials)

    def on_settled(self, trial_ids: Collection[str]) -> None:
        """See `Watcher`."""
        for trial_id in self._waiting & set(trial_ids):
            self._waiting.remove(trial_id)
            self.ended += 1
            self._cell[trial_id].seeds[trial_id] = "done"

    def on_started(self, task: TaskName, share: Share) -> None:
        """See `Watcher`."""
        self._set(task, "running")
        self.running[task.trial_id] = (task.label, 0, 0)
        self._began[task.trial_id] = time.monotonic()

    def on_epoch(self, task: TaskName, epoch: int, epochs: int, values: dict[str, float]) -> None:
        """See `Watcher`."""
        self.running[task.trial_id] = (task.label, epoch, epochs)

    def on_retried(self, task: TaskName, message: str) -> None:
        """See `Watcher`."""
        self._set(task, "waiting")
        self.running.pop(task.trial_id, None)

    def on_ended(self, task: TaskName, outcome: Outcome | None, message: str) -> None:
        """See `Watcher`."""
        self.running.pop(task.trial_id, None)
        if outcome is not None and outcome.state in UNFINISHED:
            self._set(task, "waiting")
            return
        self.ended += 1
        self._waiting.discard(task.trial_id)
        is_done = outcome is not None and outcome.state in HAS_RESULT
        self._set(task, "done" if is_done else "failed")
        self.failed += not is_done
        if outcome is None or not is_done:
            return
        if outcome.state == "committed" and task.trial_id in self._began:
            self._spent += time.monotonic() - self._began[task.trial_id]
            self._foreseen += self._work(task.trial_id)
        cell = self._cell.get(task.trial_id)
        if cell is None or cell.is_search:
            return
        if not outcome.robust_auroc <= cell.best:  # nan is beaten by all
            cell.best = outcome.robust_auroc

    def seconds_left(self) -> float | None:
        """Return seconds to the end, None before anything tells how fast the pool is.

        From what the trials that ended took against what was expected, or before the first end from
        the epochs of those that run. The pool is taken to stay as it is.
        """
        left = self.sum_left(lambda _: 1.0)
        slots = max(1, len(self.running), min(self._at_once, len(self._waiting)))
        return None if left is None else left / slots

    def sum_left(self, per_second: Callable[[str], float]) -> float | None:
        """Return the sum over what is left of trials, of their seconds times what one is worth.

        Args:
            per_second: Trial id to what a second of it is worth, such as its dollars.

        Returns:
            None before anything tells how fast the pool is.
        """
        now, progress = time.monotonic(), 0.0
        spent, foreseen = self._spent, self._foreseen
        # copies: threads that draw and export ask while the driver takes notes
        for trial_id, (_, epoch, epochs) in tuple(self.running.items()):
            reached = self._work(trial_id) * epoch / epochs if epochs else 0.0
            progress += reached * per_second(trial_id)
            if not self._foreseen and reached:
                spent, foreseen = spent + now - self._began[trial_id], foreseen + reached
        if not foreseen:
            return None
        left = sum(self._work(key) * per_second(key) for key in tuple(self._waiting)) - progress
        return max(0.0, left) * spent / foreseen

    def _work(self, trial_id: str) -> float:
        return self._expected.get(trial_id, self._typical)

    def _set(self, task: TaskName, state: str) -> None:
        cell = self._cell.get(task.trial_id)
        if cell is not None:
            cell.seeds[task.trial_id] = state
