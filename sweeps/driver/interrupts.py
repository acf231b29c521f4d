"""Stopping a run: the first interrupt lets trials save a checkpoint, the second ends at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from cluster.jobs.drain import drain_seconds
from cluster.jobs.notices import Drain, Notices
from sweeps.trial.deadline import Deadline
from sweeps.trial.events import Control
from sweeps.trial.telemetry import PULSE

_ASK_EVERY_S = 1.0


class Stopping:
    """The driver's side: remembers an interrupt, and tells the trials from its own loop."""

    def __init__(self, notices: Notices) -> None:
        self.notices = notices
        self.is_requested = False
        self._is_announced = False

    @contextmanager
    def on_interrupt(self) -> Iterator[None]:
        """While the block runs the first SIGINT asks for a stop, a second one interrupts."""
        if threading.current_thread() is not threading.main_thread():  # no other may set handlers
            yield
            return

        def ask(number: int, frame: FrameType | None) -> None:
            # no call to Ray from here: the interrupted code may hold its locks
            if self.is_requested:
                raise KeyboardInterrupt
            self.is_requested = True

        before = signal.signal(signal.SIGINT, ask)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def request(self) -> None:
        """Ask for a stop from the driver's own loop, and tell the trials at once."""
        self.is_requested = self._is_announced = True
        self.notices.ask_to_stop()

    def is_newly_requested(self) -> bool:
        """Return whether a stop was asked for since the last call; the trials are then told."""
        if not self.is_requested or self._is_announced:
            return False
        self._is_announced = True
        self.notices.ask_to_stop()
        return True


class WorkerControl(Control):
    """The trial's side: asks Ray between epochs, at most once a second.

    While its `with` block runs a thread asks, too, whether the node goes away: in an epoch that is
    longer than a drain the trial itself never does, and its end would count as a failure.
    """

    def __init__(self, notices: Notices, trial_id: str, deadline: Deadline) -> None:
        self.notices, self.trial_id, self.deadline = notices, trial_id, deadline
        self.drain = Drain()
        self._is_announced = False

    def __enter__(self) -> WorkerControl:
        PULSE.add(self._look)
        return self

    def __exit__(self, *error: object) -> None:
        PULSE.remove(self._look)

    def _look(self) -> None:
        self.leaving()

    def notice_s(self) -> float:
        """See `Control`."""
        return drain_seconds()

    def stop(self) -> bool:
        """See `Control`."""
        return self.notices.read(_ASK_EVERY_S).stop

    def leaving(self) -> bool:
        """See `Control`; the driver is told, once."""
        coming = self.drain.coming(_ASK_EVERY_S)
        if coming and not self._is_announced:
            self._is_announced = True
            self.notices.leaving(self.trial_id)
        return coming

    def retried(self, trial_id: str) -> bool:
        """See `Control`."""
        return trial_id in self.notices.read(_ASK_EVERY_S).retried

    def limit_s(self) -> float:
        """See `Control`."""
        return self.deadline.limit_s

    def took(self, seconds: float) -> None:
        """See `Control`."""
        self.deadline.took(seconds)
