"""What a running sweep can say of its end and of its cells, from what it has seen so far."""

from __future__ import annotations

import heapq
import math
import statistics
import threading
from collections import deque
from collections.abc import Mapping

from sweeps.plan.cell import Cell

_WINDOW_S = 60.0
"""How long a number of running trials counts: between two trials a slot is empty for a moment."""
MOST_CELLS = 500
"""Cells whose scores are kept: each is a series in Prometheus."""


class TimeLeft:
    """Estimates when a run ends, from the time that its trials took.

    A waiting trial is expected to take the mean of its cell, else of all that ended; the trials are
    then laid out in their order on as many slots as were busy at once in the last minute.
    """

    def __init__(self, cells: Mapping[str, Cell]) -> None:
        """Begin with the trials to run, by id and in their order, and their cells."""
        self._waiting = dict(cells)
        self._running: dict[str, tuple[Cell, float]] = {}
        self._seconds: dict[Cell, list[float]] = {}
        self._busy: deque[tuple[float, int]] = deque()
        self._lock = threading.Lock()  # the driver takes notes, another thread asks

    def start(self, trial_id: str, now: float) -> None:
        """Take note of a trial that began on a slot, at a time in seconds of any clock."""
        with self._lock:
            if (cell := self._waiting.pop(trial_id, None)) is not None:
                self._running[trial_id] = (cell, now)
                self._busy.append((now, len(self._running)))

    def end(self, trial_id: str, now: float, *, counts: bool) -> None:
        """Take note of a trial that ended; `counts` where it trained to its end."""
        with self._lock:
            self._waiting.pop(trial_id, None)
            if trial_id in self._running:
                cell, began = self._running.pop(trial_id)
                self._busy.append((now, len(self._running)))
                if counts:
                    self._seconds.setdefault(cell, []).append(now - began)

    def retry(self, trial_id: str, now: float) -> None:
        """Take note of a trial that lost its worker and waits again."""
        with self._lock:
            if trial_id in self._running:
                cell, _ = self._running.pop(trial_id)
                self._waiting[trial_id] = cell
                self._busy.append((now, len(self._running)))

    def estimate(self, now: float) -> float | None:
        """Estimate the seconds left; None before a trial has ended that others compare with."""
        with self._lock:
            return self._estimate(now)

    def _estimate(self, now: float) -> float | None:
        if not self._waiting and not self._running:
            return 0.0
        if not self._seconds:
            return None
        means = {cell: statistics.fmean(seconds) for cell, seconds in self._seconds.items()}
        overall = statistics.fmean(s for seconds in self._seconds.values() for s in seconds)
        free = [
            max(0.0, means.get(cell, overall) - (now - began))
            for cell, began in self._running.values()
        ]
        free += [0.0] * (self._slots(now) - len(free))
        heapq.heapify(free)
        for cell in self._waiting.values():
            heapq.heapreplace(free, free[0] + means.get(cell, overall))
        return max(free)

    def _slots(self, now: float) -> int:
        """Return how many trials ran at once in the last minute, at least one."""
        while len(self._busy) > 1 and self._busy[1][0] <= now - _WINDOW_S:
            self._busy.popleft()  # the first that stays is the number at the window's beginning
        return max(1, *(number for _, number in self._busy), len(self._running))


class CellScores:
    """Robust AUROC on test of trials that have a result, by cell; an undefined one is left out."""

    def __init__(self, cells: Mapping[str, Cell]) -> None:
        """Begin with the cell of each trial, by id."""
        self._cells = cells
        self._scores: dict[Cell, dict[str, float]] = {}

    def add(self, trial_id: str, robust_auroc: float | None) -> None:
        """Take note of a result, once; of more cells than are kept, of none."""
        cell = self._cells[trial_id]
        if robust_auroc is None or math.isnan(robust_auroc):
            return
        if cell in self._scores or len(self._scores) < MOST_CELLS:
            self._scores.setdefault(cell, {}).setdefault(trial_id, robust_auroc)

    def means(self) -> dict[Cell, tuple[float, int]]:
        """Return mean and number of trials of each cell that has one."""
        scores = {cell: tuple(by_trial.values()) for cell, by_trial in tuple(self._scores.items())}
        return {cell: (statistics.fmean(values), len(values)) for cell, values in scores.items()}
