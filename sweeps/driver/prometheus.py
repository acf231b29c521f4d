"""The driver's metrics: trials by state, losses and failures, compute and annotation cost."""

from __future__ import annotations

import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from cluster.stores.base import Store
from spurious.data.mask_of import MaskOf
from sweeps.driver.board import Board
from sweeps.driver.cell_scores import CellScores
from sweeps.plan.cell import Cell
from sweeps.plan.packing import Share, default_share
from sweeps.plan.plan import Plan, Trial
from sweeps.plan.spending import compute_dollars
from sweeps.results.tables import decode, trial_key
from sweeps.spec.model import Spec
from sweeps.trial import telemetry as metrics
from sweeps.trial.events import Outcome, TaskName, Watcher
from sweeps.trial.telemetry import PULSE, STATES, harmless, ray_runs, record

_STATE_OF = {
    "committed": "committed",
    "already done": "already_done",
    "lost the race": "already_done",
    "failed": "failed",
    "stopped": "stopped",
}
_SAMPLE = 500
"""Results that are read for their price at most, or one a cell: its seeds cost nearly the same."""
_READ_EVERY_S, _LAST_READ_S = 4.0, 5.0


class SweepTelemetry(Watcher):
    """What the driver exports of a run; does nothing where Ray does not run.


    Args:
        spec, plan, store: The sweep, its plan, and where results are.
        board: Where the run stands: the time left is its.
    """

    def __init__(
        self,
        spec: Spec,
        plan: Plan,
        store: Store,
        board: Board,
    ) -> None:
        self._tags = {"sweep": spec.name}
        self._default_share = default_share(spec.resources)
        self._trials = [trial.id for trial in plan.trials]
        self._board, self._is_over = board, False
        self._cells = {trial.id: trial.cell for trial in plan.trials}
        self._scores = CellScores(self._cells)
        self._purchases = Purchases(spec, plan, store, self._scores, self._cells)
        self._running: dict[str, tuple[float, Share]] = {}
        """Trial id to when its attempt began, and what it has of its node."""
        self._ended: dict[str, str] = dict.fromkeys(plan.done, "already_done")

    @contextmanager
    def shown(self) -> Iterator[SweepTelemetry]:
        """Export while the block runs; what has not ended by then was stopped."""
        if not ray_runs():
            yield self
            return
        with self._purchases.read():
            PULSE.add(self._beat, at_once=True)
            try:
                yield self
            finally:
                PULSE.remove(self._beat)
                self._is_over = True
                self._running.clear()
                for trial_id in self._trials:
                    self._ended.setdefault(trial_id, "stopped")
        with harmless():
            self._beat()

    def on_added(self, trials: Sequence[Trial]) -> None:
        """See `Watcher`."""
        known = set(self._trials)
        self._trials += [trial.id for trial in trials if trial.id not in known]
        self._cells |= {trial.id: trial.cell for trial in trials if trial.suggestion is None}

    def counts(self) -> dict[str, int]:
        """Return trials in each of `telemetry.STATES`; what searches will name waits."""
        running, ended = len(self._running), Counter(tuple(self._ended.values()))
        unnamed = 0 if self._is_over else self._board.unnamed
        waiting = len(self._trials) + unnamed - ended.total() - running
        return {**dict.fromkeys(STATES, 0), **ended, "running": running, "waiting": waiting}

    def on_started(self, task: TaskName, share: Share) -> None:
        """See `Watcher`."""
        self._running[task.trial_id] = time.monotonic(), share

    def on_retried(self, task: TaskName, message: str) -> None:
        """See `Watcher`."""
        with harmless():
            self._spent(task, None)
            record(metrics.ATTEMPTS_LOST, 1, self._tags | {"failure_class": _class_in(message)})

    def on_ended(self, task: TaskName, outcome: Outcome | None, message: str) -> None:
        """See `Watcher`."""
        with harmless():
            self._spent(task, outcome)
            if outcome is None:
                self._ended[task.trial_id] = "failed"
                tags = self._tags | {"failure_class": _class_in(message)}
                record(metrics.ATTEMPTS_LOST, 1, tags)
                record(metrics.FAILURES, 1, tags)
                return
            if outcome.state == "at a rung":
                self._ended.pop(task.trial_id, None)  # it waits for the others at its rung
                return
            self._ended[task.trial_id] = state = _STATE_OF[outcome.state]
            if state == "failed":
                record(metrics.FAILURES, 1, self._tags | {"failure_class": outcome.failure_class})
            elif state != "stopped":
                self._purchases.add(task.trial_id)
            if state == "committed":
                self._scores.add(task.trial_id, outcome.robust_auroc)
                record(metrics.TRIAL_SECONDS, outcome.seconds, self._tags)

    def _spent(self, task: TaskName, outcome: Outcome | None) -> None:
        """Count an attempt's resources; one that told no seconds took those since its start."""
        now = time.monotonic()
        began, share = self._running.pop(task.trial_id, (now, self._default_share))
        seconds = outcome.seconds if outcome and outcome.seconds else now - began
        record(metrics.CPU_SECONDS, seconds * share.cpus, self._tags)
        record(metrics.GPU_SECONDS, seconds * share.gpus, self._tags)

    def _beat(self) -> None:
        for state, count in self.counts().items():
            record(metrics.TRIALS, count, self._tags | {"state": state})
        record(metrics.DOLLARS, self._purchases.dollars, self._tags)
        seconds = None if self._is_over else self._board.seconds_left()
        if seconds is not None:
            record(metrics.SECONDS_LEFT, seconds, self._tags)
        for cell, (mean, count) in self._scores.means().items():
            tags = self._tags | {"cell": "-".join(cell.key)}
            record(metrics.CELL_AUROC, mean, tags)
            record(metrics.CELL_RESULTS, count, tags)


class Purchases:
    """What the annotations of a sweep's cells cost, read from results in a thread of its own.

    What the results of earlier runs scored is passed on to `scores`.
    """

    def __init__(
        self,
        spec: Spec,
        plan: Plan,
        store: Store,
        scores: CellScores,
        cells: Mapping[str, Cell],
    ) -> None:
        self._spec, self._store, self._scores, self._cells = spec, store, scores, cells
        self._mask_of: MaskOf = "abnormality" if plan.facts is None else plan.facts.mask_of
        self._per_cell = max(1, _SAMPLE // max(1, len(plan.cells)))
        self._taken: Counter[Cell] = Counter()
        self._unread: list[str] = []
        self._dollars: dict[Cell, list[float]] = {}
        for trial in plan.trials:
            if trial.id in plan.done:
                self.add(trial.id)

    def add(self, trial_id: str) -> None:
        """Take note of a trial that has a result."""
        cell = self._cells.get(trial_id)
        if cell is None:  # a search's: nobody buys it
            return
        if self._taken[cell] < self._per_cell:
            self._taken[cell] += 1
            self._unread.append(trial_id)

    @property
    def dollars(self) -> float:
        """Sum over cells with a result of the mean over their seeds, as the report prices them."""
        return sum(statistics.fmean(seeds) for seeds in tuple(self._dollars.values()))

    @contextmanager
    def read(self) -> Iterator[None]:
        """Read results now and then while the block runs, and what is left within seconds after."""
        over = threading.Event()

        def work() -> None:
            last = False
            while not last:
                last = over.is_set()
                with harmless():
                    self._read_all()
                over.wait(_READ_EVERY_S)

        reader = threading.Thread(target=work, name="purchases", daemon=True)
        reader.start()
        try:
            yield
        finally:
            over.set()
            reader.join(_LAST_READ_S)  # a store that is away is not waited for

    def _read_all(self) -> None:
        """Read what is noted; what cannot be read is noted again, after the others."""
        rows: list[dict[str, Any]] = []
        try:
            while self._unread:
                trial_id = self._unread.pop(0)
                try:
                    key = trial_key(trial_id)
                    rows += decode(self._store.get(key), key).to_pylist()
                except Exception:
                    self._unread.append(trial_id)
                    raise
        finally:
            self._price(rows)

    def _price(self, rows: list[dict[str, Any]]) -> None:
        if not rows:
            return
        import pandas as pd

        from sweeps.report.trials import price_trials

        for row in rows:
            self._scores.add(row["trial_id"], row.get("test_robust_auroc"))
        options = self._spec.cost
        priced = price_trials(
            pd.DataFrame(rows),
            options.prices,
            self._spec.select_rule,
            options.axis,
            self._mask_of,
            self._spec.search_rule,
            compute_dollars(self._spec, rows),
        )
        for trial_id, dollars in zip(priced["trial_id"], priced["dollars"], strict=True):
            self._dollars.setdefault(self._cells[trial_id], []).append(float(dollars))


def _class_in(message: str) -> str:
    """Return the failure class that a lost attempt's message begins with."""
    return message.partition(":")[0]
