"""From Ray Tune's events to a watcher's: who runs, who ended, who is tried again and why."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ray.tune.progress_reporter import TrialProgressCallback

from sweeps.driver.gpu_shares import GpuShares
from sweeps.driver.interrupts import Stopping
from sweeps.driver.limit_watch import LimitWatch
from sweeps.driver.losses import Losses, Reason
from sweeps.driver.queue import TrialQueue
from sweeps.driver.store_watch import StoreWatch
from sweeps.driver.tune_queue import TRIAL_ID, unpack_task
from sweeps.plan.packing import Share
from sweeps.trial.events import LostWorker, Outcome, Tally, TaskName, Watcher


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
        losses: Losses,
        store: StoreWatch | None,
        shares: GpuShares | None,
        limits: LimitWatch | None,
    ) -> None:
        super().__init__()
        self.queue, self.watcher, self.tally, self.stopping = queue, watcher, tally, stopping
        self.losses, self.store, self.shares = losses, store, shares
        self.placement, self.limits = losses.placement, limits

    def __reduce__(self) -> tuple[Any, ...]:
        # Tune pickles its callbacks for a restore that is never asked for; a console has locks
        return TrialProgressCallback, ()

    def on_step_begin(self, iteration: int, trials: Any, **info: Any) -> None:
        """Once per event: pass a wish to stop on."""
        if self.stopping.is_newly_requested():
            self.watcher.on_stopping()
        if self.stopping.is_requested:
            self.queue.close()
        if self.limits is not None and self.limits.is_newly_reached():
            self.stopping.request()
            self.watcher.on_note(self.limits.reached)
        if self.store is not None and self.store.error and not self.stopping.is_requested:
            self.stopping.request()
            self.watcher.on_store_away("the store did not come back: the sweep stops")

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """A trial has an actor."""
        self.losses.began(trial.config[TRIAL_ID])
        [bundle] = trial.placement_group_factory.bundles
        share = Share(bundle["CPU"], bundle.get("GPU", 0.0))
        self.watcher.on_started(self._name(trial), share)

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """A worker told of an epoch, of its outcome, or why it gives up."""
        name = self._name(trial)
        if "outcome" in result:
            self._note_outcome(name.trial_id, Outcome(**result["outcome"]), result["node"])
        elif "reason" in result:
            self.losses.reasons[name.trial_id] = reason = Reason(**result["reason"])
            watch = self.store if reason.store_away else None
            if watch is not None and (message := watch.start()):
                self.watcher.on_store_away(message)
        elif "epoch" in result:
            epoch, epochs, since = (result[key] for key in ("epoch", "epochs", "since"))
            self.watcher.on_epoch(name, epoch, epochs, result["values"], since)

    def _note_outcome(self, trial_id: str, outcome: Outcome, node: str) -> None:
        self.tally.outcomes[trial_id] = outcome
        self.losses.forget(trial_id)
        self.placement.health.succeeded(node)  # also with a failure of the trial's own
        if self.shares is not None and (message := self.shares.learn(outcome)):
            self.placement.changes += 1
            self.watcher.on_note(message)
        if outcome.state == "failed":
            self.tally.attempts[outcome.failure_class] += 1

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
        """Tune tries no more: the last attempt was lost, or the trial could not even begin.

        Of one that it was about to give to an actor, Tune starts no other attempt.
        """
        name = self._name(trial)
        if trial.is_told_again or self.losses.is_retried(name.trial_id):
            self.queue.give_back(unpack_task(trial.config))
            if not trial.is_told_again:
                self.on_trial_recover(iteration, trials, trial)
            return
        message = self._lost(trial)
        self.tally.lost[name.trial_id] = message
        self.losses.forget(name.trial_id)
        self.watcher.on_ended(name, None, message)

    def _lost(self, trial: Any) -> str:
        """Failure class and message of an attempt that raised or died; notes a dead worker."""
        trial_id = trial.config[TRIAL_ID]
        loss = self.losses.take(trial_id)
        self.tally.attempts[loss.failure_class] += 1
        self.tally.retried.add(trial_id)
        if not loss.is_told:
            now = datetime.now(UTC)
            lost = (trial_id, loss.message, loss.details, now, loss.failure_class, loss.node)
            self.watcher.on_lost_worker(LostWorker(*lost))
        return f"{loss.failure_class}: {loss.message}"

    def _name(self, trial: Any) -> TaskName:
        trial_id = trial.config[TRIAL_ID]
        return TaskName(trial_id, self.queue.labels[trial_id])
