"""From Ray Tune's events to a watcher's: who runs, who ended, who is tried again and why."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ray.exceptions import RayActorError
from ray.tune.progress_reporter import TrialProgressCallback

from cluster.jobs.notices import Notices
from sweeps.driver.interrupts import Stopping
from sweeps.driver.queue import TrialQueue
from sweeps.driver.store_watch import StoreWatch
from sweeps.driver.tune_queue import TRIAL_ID
from sweeps.trial.events import LostWorker, Outcome, Tally, TaskName, Watcher

_LOOK_EVERY_S = 1.0
_LOST = "the worker process was lost (killed, out of memory, or with its node)"


class TuneEvents(TrialProgressCallback):
    """Turns Tune's events into a watcher's, keeps the tally, and passes a wish to stop on.

    In the place of Tune's own progress display, which would remember every trial that ever ran.
    """

    def __init__(
        self,
        queue: TrialQueue,
        watcher: Watcher,
        tally: Tally,
        stopping: Stopping,
        store: StoreWatch | None,
    ) -> None:
        super().__init__()
        self.queue, self.watcher, self.tally, self.stopping = queue, watcher, tally, stopping
        self.store = store
        self.reasons: dict[str, str] = {}
        self.expected: set[str] = set()
        self._looked_at = -float("inf")

    def __reduce__(self) -> tuple[Any, ...]:
        # Tune pickles its callbacks for a restore that is never asked for; a console has locks
        return TuneEvents, (TrialQueue(), Watcher(), Tally(), Stopping(Notices("")), None)

    def on_step_begin(self, iteration: int, trials: Any, **info: Any) -> None:
        """Once per event: pass a wish to stop on."""
        if self.stopping.is_newly_requested():
            self.watcher.on_stopping()
        if self.stopping.is_requested:
            self.queue.close()
        if time.monotonic() - self._looked_at >= _LOOK_EVERY_S:
            self._looked_at = time.monotonic()
            self._expect_losses(trials)
        if self.store is not None and self.store.error and not self.stopping.is_requested:
            self.stopping.request()
            self.watcher.on_store_away("the store did not come back: the sweep stops")

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """A trial has an actor."""
        self.watcher.on_started(self._name(trial))

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """A worker told of an epoch, of its outcome, or why it gives up."""
        name = self._name(trial)
        if "outcome" in result:
            self.tally.outcomes[name.trial_id] = Outcome(**result["outcome"])
        elif "reason" in result:
            self.reasons[name.trial_id] = result["reason"]
            watch = self.store if result.get("store_away") else None
            if watch is not None and (message := watch.start()):
                self.watcher.on_store_away(message)
        elif "epoch" in result:
            self.watcher.on_epoch(name, result["epoch"], result["epochs"], result["values"])

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """A worker came to an end of its own."""
        name = self._name(trial)
        outcome = self.tally.outcomes.get(name.trial_id)
        self.watcher.on_ended(name, outcome, "" if outcome is None else outcome.message)

    def on_trial_recover(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """An attempt was lost; another one follows."""
        self.stopping.notices.lost(trial.config[TRIAL_ID])
        self.watcher.on_retried(self._name(trial), self._lost(trial))

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """The last attempt was lost."""
        name = self._name(trial)
        message = self._lost(trial)
        self.tally.lost[name.trial_id] = message
        self.watcher.on_ended(name, None, message)

    def _lost(self, trial: Any) -> str:
        """Failure class and message of an attempt that raised or died; notes a dead worker."""
        trial_id = trial.config[TRIAL_ID]
        left = self._left(trial)
        if reason := self.reasons.pop(trial_id, None):
            return reason
        failure_class, message = self._loss(trial, left)
        log = Path(trial.error_file).read_text() if trial.error_file else ""
        details = log.rpartition("Failure # ")[2]  # the file has all of the trial's
        now = datetime.now(UTC)
        self.watcher.on_lost_worker(LostWorker(trial_id, message, details, now, failure_class))
        return f"{failure_class}: {message}"

    def _expect_losses(self, trials: Any) -> None:
        """Allow a failure more to each trial whose node goes away: Tune decides at its death."""
        new = self.stopping.notices.all_leaving() - self.expected
        for trial in trials if new else ():
            if trial.config[TRIAL_ID] in new:
                trial.max_failures += 1
        self.expected |= new

    def _left(self, trial: Any) -> bool:
        """Return whether the trial's node went away on notice; withdraw what was allowed for it."""
        trial_id = trial.config[TRIAL_ID]
        if trial_id in self.expected:
            self.expected.remove(trial_id)
            trial.max_failures -= 1
        return self.stopping.notices.left(trial_id)

    def _loss(self, trial: Any, left: bool) -> tuple[str, str]:
        """Failure class and message of a lost worker; a node that went away on notice is none."""
        error = trial.get_pickled_error()
        uncounted = isinstance(error, RayActorError) and error.preempted
        if not left and not uncounted:
            return "infrastructure", _LOST
        trial.max_failures += not uncounted
        return "preempted", "the worker's node went away after a notice (spot, drain)"

    def _name(self, trial: Any) -> TaskName:
        trial_id = trial.config[TRIAL_ID]
        return TaskName(trial_id, self.queue.labels[trial_id])
