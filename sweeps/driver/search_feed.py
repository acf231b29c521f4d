"""Searches in a run: as results come, the next configurations of each cell go into its queue.

Cells do not wait for each other; a batch, or a rung of it, is a barrier within its cell alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from cluster.stores.base import Store
from sweeps.driver.gpu_shares import GpuShares
from sweeps.plan.plan import Plan, Trial
from sweeps.plan.searched import CellSearch
from sweeps.search.cell_run import CellRun, Request, chosen_trials
from sweeps.search.stored import StoredObservations
from sweeps.spec.model import Spec
from sweeps.trial.events import Outcome, TaskName, Watcher
from sweeps.trial.tasks import Task

MakeTask = Callable[[Trial], Task]


@dataclass
class _Cell:
    """A cell's search, what of it was requested, and what of that runs."""

    run: CellRun
    requested: set[tuple[str, int | None]] = field(default_factory=set)
    running: set[str] = field(default_factory=set)


class SearchFeed(Watcher):
    """Gives a queue what searches want next; hears of ended trials as a watcher does.

    Results are read and suggestions made in a thread, so that the driver never waits for them.

    Args:
        spec: The sweep, with a search.
        plan: Its plan.
        store: Where results are.
        make_task: Returns what a worker is sent for a trial.
        watcher: Hears of trials before they are given out, and of searches as they go on.
        shares: Likewise, where what trials need of a GPU is measured.
    """

    def __init__(
        self,
        spec: Spec,
        plan: Plan,
        store: Store,
        make_task: MakeTask,
        watcher: Watcher,
        shares: GpuShares | None = None,
    ) -> None:
        self.shares = shares
        self.spec, self.facts, self.make_task, self.watcher = spec, plan.facts, make_task, watcher
        self.observe = StoredObservations(store)
        self.unfinished = [search.cell for search in plan.searches if not search.is_over]
        self.settled: set[str] = set()
        """Ids of trials that searches are done with, with or without a result."""
        self._error: Exception | None = None
        self._lock = threading.Lock()
        self._ready: list[tuple[Trial, Task]] = []
        self._went_on: list[CellSearch] = []
        self._at_work = 0
        self._is_stopping = False
        self._cells: dict[str, _Cell] = {}
        self._thread = ThreadPoolExecutor(1, "search")

    def __enter__(self) -> SearchFeed:
        """Ask every search that is not over for its next configurations."""
        assert self.facts is not None
        for cell in list(self.unfinished):
            self._submit(_Cell(CellRun(self.spec, cell, self.facts)))
        return self

    def __exit__(self, *error: object) -> None:
        self._thread.shutdown()
        if self._error is not None and error[0] is None:
            raise self._error

    def take_ready(self) -> list[Task]:
        """Return the tasks that have become ready since the last call."""
        with self._lock:
            ready, self._ready = self._ready, []
            went_on, self._went_on = self._went_on, []
        if self.shares is not None:
            self.shares.add(task for _, task in ready)
        if ready:
            self.watcher.on_added([trial for trial, _ in ready])
        for search in went_on:
            self.watcher.on_searched(search)
        return [task for _, task in ready]

    @property
    def is_exhausted(self) -> bool:
        """Return whether nothing more will come."""
        with self._lock:
            waits = any(cell.running for cell in self._cells.values())
            is_open = self._ready or self._went_on or self._at_work or waits
            return not is_open or self._is_stopping

    def on_stopping(self) -> None:
        """See `Watcher`."""
        self._is_stopping = True

    def on_ended(self, task: TaskName, outcome: Outcome | None, message: str) -> None:
        """See `Watcher`."""
        with self._lock:
            cell = self._cells.pop(task.trial_id, None)
            if cell is None:
                return
            cell.running.discard(task.trial_id)
            is_due = not cell.running and not self._is_stopping
            self._at_work += is_due
        if is_due:
            self._thread.submit(self._work, cell)

    def _submit(self, cell: _Cell) -> None:
        with self._lock:
            self._at_work += 1
        self._thread.submit(self._work, cell)

    def _work(self, cell: _Cell) -> None:
        try:
            if self._error is None:
                self._advance(cell)
        except Exception as error:  # noqa: BLE001 (raised at the end, in the driver's own thread)
            self._error = error
        finally:
            with self._lock:
                self._at_work -= 1

    def _advance(self, cell: _Cell) -> None:
        """Give out what a search wants next, or what it has chosen.

        Where all of that was given out before and ended without a result, the search stays where
        it is: another run continues it.
        """
        assert self.facts is not None
        requests = cell.run.advance(self.observe)
        search = cell.run.state()
        self.settled |= {
            trial.id for each in search.tried if each.state != "waiting" for trial in each.trials
        }
        if requests:
            self._give_out(
                [r for r in requests if (r.trial.id, r.until) not in cell.requested], search, cell
            )
            return
        self.unfinished.remove(search.cell)
        chosen: list[Request] = []
        if search.chosen is not None:
            _, trials = chosen_trials(self.spec, search, self.facts)
            seen = self.observe([trial.id for trial in trials])
            chosen = [Request(t, None) for t in trials if seen[t.id].kept_epoch is None]
        self._give_out(chosen, search)

    def _give_out(
        self, requests: list[Request], search: CellSearch, cell: _Cell | None = None
    ) -> None:
        """Make tasks ready, each once; those of a cell's search are waited for."""
        unique = {(request.trial.id, request.until): request for request in requests}
        ran = set() if cell is None else {trial_id for trial_id, _ in cell.requested}
        ready = []
        for request in unique.values():
            task = self.make_task(request.trial)
            has_checkpoint = task.has_checkpoint or request.trial.id in ran
            task = replace(task, until_epoch=request.until, has_checkpoint=has_checkpoint)
            ready.append((request.trial, task))
        with self._lock:
            self._ready += ready
            self._went_on.append(search)
            if cell is not None:
                cell.requested |= unique.keys()
                cell.running |= {trial_id for trial_id, _ in unique}
                self._cells |= dict.fromkeys(cell.running, cell)
