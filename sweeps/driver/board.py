"""Where a run stands: cells by seeds, who runs, the best so far, and the time left."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from sweeps.plan.cell import Cell
from sweeps.plan.packing import Share
from sweeps.plan.plan import Trial
from sweeps.plan.searched import CellSearch
from sweeps.trial.events import HAS_RESULT, UNFINISHED, Outcome, TaskName, Watcher

STATES = ("done", "done before", "running", "failed", "waiting")
"""Of trials; `done before` had a result when the run began."""


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
        foreseen: Trials that searches are going to run, see `sweeps.search.assumed`. Each counts
            until one of its cell, number and seed is there, or the cell's search is over.
        batch: Trials that a search runs at once.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        done: frozenset[str] = frozenset(),
        seconds: Mapping[str, float] = MappingProxyType({}),
        at_once: int = 1,
        foreseen: Sequence[Trial] = (),
        batch: int = 1,
    ) -> None:
        self.cells: dict[str, CellState] = {}
        self._cell: dict[str, CellState] = {}
        self.running: dict[str, tuple[str, int, int]] = {}
        """Trial id to short name, epoch and number of epochs; in the order they began."""
        self.ended = self.failed = self.to_run = self.done_before = 0
        self._expected = dict(seconds)
        self._typical = sum(seconds.values()) / len(seconds) if seconds else 1.0
        self._waiting: set[str] = set()
        self._foreseen = {_place(trial): trial.id for trial in foreseen}
        self.add(trials, done)
        self._at_once, self._batch = at_once, batch
        self._began: dict[str, float] = {}
        self._earlier: dict[str, float] = {}
        """Trial id to the share of its epochs that its attempt of now found in a checkpoint."""
        self._spent = self._expected_of_spent = 0.0

    @property
    def unnamed(self) -> int:
        """Return how many trials searches are expected to run beside those that are known."""
        return len(self._foreseen)

    @property
    def total(self) -> int:
        """Return how many trials there are to run, known ones and others."""
        return self.to_run + self.unnamed

    def add(self, trials: Sequence[Trial], done: frozenset[str] = frozenset()) -> None:
        """Take trials in, those of a search under a cell of their own; known ones stay."""
        for trial in trials:
            foreseen = self._foreseen.pop(_place(trial), None)
            if foreseen is not None:
                self._expected.setdefault(trial.id, self._work(foreseen))
            if trial.id in self._cell:
                continue
            is_search = trial.suggestion is not None
            name = str(trial.cell) + (", search" if is_search else "")
            state = CellState(name, is_search=is_search)
            cell = self._cell[trial.id] = self.cells.setdefault(name, state)
            cell.seeds[trial.id] = "done before" if trial.id in done else "waiting"
            if trial.id in done:
                self.done_before += 1
            else:
                self.to_run += 1
                self._waiting.add(trial.id)

    def on_added(self, trials: Sequence[Trial]) -> None:
        """See `Watcher`."""
        self.add(trials)

    def on_searched(self, search: CellSearch) -> None:
        """See `Watcher`; some of what has ended never ran here, as it had a result before."""
        for tried in search.tried:
            for trial in () if tried.state == "waiting" else tried.trials:
                self._foreseen.pop(_place(trial), None)
                if trial.id in self._waiting:
                    self._waiting.remove(trial.id)
                    self.ended += 1
                    self._cell[trial.id].seeds[trial.id] = "done"
        if search.is_over:  # what it has chosen is known by now, and perhaps not to be run
            for place in [place for place in self._foreseen if place[0] == search.cell]:
                del self._foreseen[place]

    def on_started(self, task: TaskName, share: Share) -> None:
        """See `Watcher`."""
        self._set(task, "running")
        self.running[task.trial_id] = (task.label, 0, 0)
        self._earlier[task.trial_id] = 0.0
        self._began[task.trial_id] = time.monotonic()

    def on_epoch(
        self, task: TaskName, epoch: int, epochs: int, values: dict[str, float], since: int = 0
    ) -> None:
        """See `Watcher`."""
        self.running[task.trial_id] = (task.label, epoch, epochs)
        self._earlier[task.trial_id] = since / epochs

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
            here = 1 - self._earlier[task.trial_id]
            self._expected_of_spent += self._work(task.trial_id) * here
        cell = self._cell.get(task.trial_id)
        if cell is None or cell.is_search:
            return
        if not outcome.robust_auroc <= cell.best:  # nan is beaten by all
            cell.best = outcome.robust_auroc

    def seconds_left(self) -> float | None:
        """Return seconds to the end, None before anything tells how fast the pool is.

        From what the trials that ended took against what was expected, or before the first end from
        the epochs of those that run. The pool is taken to stay as it is; of each search that is not
        over a batch runs at once.
        """
        left = self.sum_left(lambda _: 1.0)
        to_come = Counter(cell for cell, _, _ in tuple(self._foreseen)).values()
        searching = sum(min(self._batch, trials) for trials in to_come)
        slots = min(self._at_once, max(len(self._waiting), searching))
        return None if left is None else left / max(1, len(self.running), slots)

    def sum_left(self, per_second: Callable[[str], float]) -> float | None:
        """Return the sum over what is left of trials, of their seconds times what one is worth.

        Trials that searches are expected to run count, each of them whole.

        Args:
            per_second: Trial id to what a second of it is worth, such as its dollars.

        Returns:
            None before anything tells how fast the pool is.
        """
        now, progress = time.monotonic(), 0.0
        spent, expected = self._spent, self._expected_of_spent
        # copies: threads that draw and export ask while the driver takes notes
        for trial_id, (_, epoch, epochs) in tuple(self.running.items()):
            share = epoch / epochs if epochs else 0.0
            progress += self._work(trial_id) * share * per_second(trial_id)
            here = share - self._earlier.get(trial_id, 0.0)
            if not self._expected_of_spent and here > 0:
                spent += now - self._began[trial_id]
                expected += self._work(trial_id) * here
        if not expected:
            return None
        ids = (*self._waiting, *self._foreseen.values())
        left = sum(self._work(key) * per_second(key) for key in ids) - progress
        return max(0.0, left) * spent / expected

    def _work(self, trial_id: str) -> float:
        return self._expected.get(trial_id, self._typical)

    def _set(self, task: TaskName, state: str) -> None:
        cell = self._cell.get(task.trial_id)
        if cell is not None:
            cell.seeds[task.trial_id] = state


def _place(trial: Trial) -> tuple[Cell, int | None, int]:
    """Return cell, number of the configuration and seed, which name a trial before it has an id."""
    return trial.cell, trial.suggestion, trial.config.seed
