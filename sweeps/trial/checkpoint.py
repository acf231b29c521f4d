"""A trial's checkpoint in the store: taken up where there is one, saved when wished, removed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from cluster.errors import NotFound
from cluster.stores.base import Store
from spurious.errors import DataError, Stopped
from spurious.training import checkpoint
from spurious.training.checkpoint import Snapshot
from spurious.training.loop import ControlSignal
from sweeps.errors import ResultError, TimeLimit
from sweeps.results import tables as results
from sweeps.trial.checkpoint_writer import CheckpointWriter
from sweeps.trial.events import Control
from sweeps.trial.tasks import Task

_RAISE = "raise limits.trial_minutes, and the same command continues"
_LAST_S = 30.0
"""Seconds kept of a trial's time for its end, or a tenth of short limits."""
_log = logging.getLogger("sweeps.trial.checkpoint")


class Clock:
    """Wall seconds of an attempt, and of its trial: with those up to the checkpoint it took up."""

    def __init__(self) -> None:
        self.started, self.before = time.perf_counter(), 0.0

    def attempt(self) -> float:
        """Return seconds of this attempt."""
        return time.perf_counter() - self.started

    def trial(self) -> float:
        """Return seconds of the trial."""
        return self.before + self.attempt()


class TrainingState:
    """What an attempt does with its trial's checkpoint.

    The store is asked for one only where there may be one, since each question costs a round trip.
    """

    def __init__(self, store: Store, task: Task, clock: Clock, control: Control) -> None:
        self.store, self.task, self.clock, self.control = store, task, clock, control
        self.key = results.checkpoint_key(task.trial_id)
        self.writer = CheckpointWriter(
            store, self.key, lambda: results.checkpoint_head(clock.trial())
        )
        self.stored = task.has_checkpoint
        self._polled_at = time.monotonic()
        self._is_late = False
        control.took(clock.trial())  # a worker's imports were no part of it

    def __enter__(self) -> TrainingState:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Let a write end after an error, which tells more than one of the write would."""
        if kind is not None:
            self.writer.settle()

    def resume(self) -> memoryview | None:
        """Return the training state to continue from, or None."""
        self.stored = self.stored or self.control.retried(self.task.trial_id)
        if not self.stored:
            return None
        try:
            state, seconds = results.unpack_checkpoint(self.store.get(self.key))
            checkpoint.unpack(state)
        except NotFound:
            return None
        except (ResultError, DataError) as error:  # it saves time, and the trial can do without
            _log.warning("%s is not used; the trial starts from the beginning: %s", self.key, error)
            return None
        self.clock.before = seconds
        self._refuse_late()
        self.control.took(self.clock.trial())
        _log.info("continues from its checkpoint")
        return state

    def _refuse_late(self) -> None:
        """Raise TimeLimit where the trial has taken all of its time before."""
        if self._left_s() <= 0:
            raise TimeLimit(
                f"took {self.clock.trial() / 60:.1f} minutes up to its checkpoint, and a trial may "
                f"take {self.control.limit_s() / 60:g}: {_RAISE}"
            )

    def _left_s(self) -> float:
        """Return seconds that are left for training: what comes after it takes some, too."""
        limit_s = self.control.limit_s()
        return limit_s - min(_LAST_S, limit_s / 10) - self.clock.trial()

    def refuse_stop(self, stopped: Stopped) -> None:
        """Raise TimeLimit where training stopped since the next epoch would have been too long."""
        if self._is_late:
            where = str(stopped).removesuffix(", as asked")
            raise TimeLimit(
                f"{where}: it took {self.clock.trial() / 60:.1f} minutes, and another epoch would "
                f"have gone beyond the {self.control.limit_s() / 60:g} that a trial may take; its "
                f"checkpoint is saved: {_RAISE}"
            ) from stopped

    def save(self, take: Callable[[], Snapshot], *, urgent: bool) -> bool:
        """Take a snapshot, which a thread writes; see `CheckpointWriter.save`."""
        self.stored = True
        return self.writer.save(take, urgent=urgent)

    def poll(self) -> ControlSignal:
        """Return the control signal after an epoch.

        Where an epoch and the writing of its checkpoint take longer than a node has after its
        notice, each is worth a checkpoint: there will be no time for one once the notice has come.
        A trial that has no time left for another epoch as long as the last one stops.
        """
        before, self._polled_at = self._polled_at, time.monotonic()
        epoch_s = self._polled_at - before
        if self.control.stop():
            return ControlSignal.STOP
        self._is_late = epoch_s + self.writer.seconds > self._left_s()
        if self._is_late:
            return ControlSignal.STOP
        slow = epoch_s + self.writer.seconds > self.control.notice_s()
        return ControlSignal.SAVE if self.control.leaving() or slow else ControlSignal.CONTINUE

    def finish(self) -> None:
        """Wait until the last checkpoint is in the store; raises what its put raised."""
        self.writer.finish()

    def forget(self) -> None:
        """Remove the checkpoint of a committed trial, unless it is to be kept.

        What is still being written ends before: put after the removal, it would stay for good.
        """
        self.writer.settle()
        if self.stored and not self.task.keep_checkpoint:
            self.store.delete(self.key)
