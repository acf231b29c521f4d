"""A run's limits: counts what trials use, and stops the run as an interrupt does."""

from __future__ import annotations

import time

from sweeps.plan.packing import Share
from sweeps.plan.spending import Spending
from sweeps.trial.events import Outcome, TaskName, Watcher

_LOOK_EVERY_S = 1.0


class LimitWatch(Watcher):
    """Hears of starts and ends; the driver's loop looks whether a limit is reached.

    Args:
        spending: The sweep's bookkeeping; its times are those of `time.monotonic`.
    """

    def __init__(self, spending: Spending) -> None:
        self.spending = spending
        self.reached = ""
        """Which limit ended the run, by what and what to do; empty while none has."""
        self._looked_at = -float("inf")

    def on_started(self, task: TaskName, share: Share) -> None:
        """See `Watcher`."""
        self.spending.started(task.trial_id, time.monotonic(), share)

    def on_retried(self, task: TaskName, message: str) -> None:
        """See `Watcher`."""
        self.spending.ended(task.trial_id, time.monotonic())

    def on_ended(self, task: TaskName, outcome: Outcome | None, message: str) -> None:
        """See `Watcher`."""
        self.spending.ended(task.trial_id, time.monotonic())

    def is_newly_reached(self) -> bool:
        """Return whether a limit of time or money was reached since the last call."""
        now = time.monotonic()
        if self.reached or now - self._looked_at < _LOOK_EVERY_S:
            return False
        self._looked_at = now
        self.reached = self.spending.exceeded_by_time(now) or ""
        return bool(self.reached)
