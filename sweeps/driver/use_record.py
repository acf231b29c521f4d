"""Records what a run's attempts take, for limits of later runs: results tell of their own alone."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from cluster.errors import ClusterError
from cluster.stores.base import Store
from sweeps.plan.packing import Share
from sweeps.plan.used import Taken, Used, used_key, write_used
from sweeps.trial.events import HAS_RESULT, Outcome, TaskName, Watcher

EVERY_S = 60.0
"""Seconds between writes: what a driver that is killed forgets at most."""
_log = logging.getLogger(__name__)


class UseRecord(Watcher):
    """Hears of starts and ends, and writes from a thread, so that no store holds the driver up.

    A trial that ends at its first attempt with a result is left out, unless earlier runs took time
    for it: its result tells all.

    Args:
        store: Where the record goes.
        sweep: Name of the sweep.
        known: Trials that records of earlier runs tell of.
    """

    def __init__(self, store: Store, sweep: str, known: Collection[str] = ()) -> None:
        self.store, self.known = store, known
        self.key = used_key(sweep, uuid.uuid4().hex[:12])
        self._running: dict[str, tuple[float, Share]] = {}
        self._taken: defaultdict[str, list[Taken]] = defaultdict(list)
        self._lock = threading.Lock()
        self._is_written = False

    def on_started(self, task: TaskName, share: Share) -> None:
        """See `Watcher`."""
        with self._lock:
            self._end(task.trial_id)
            self._running[task.trial_id] = time.monotonic(), share

    def on_retried(self, task: TaskName, message: str) -> None:
        """See `Watcher`."""
        with self._lock:
            self._end(task.trial_id)

    def on_ended(self, task: TaskName, outcome: Outcome | None, message: str) -> None:
        """See `Watcher`."""
        has_result = outcome is not None and outcome.state in HAS_RESULT
        with self._lock:
            self._end(task.trial_id)
            is_first = len(self._taken[task.trial_id]) < 2 and task.trial_id not in self.known
            if has_result and is_first:
                del self._taken[task.trial_id]

    def used(self) -> Used:
        """Return what attempts took so far, of those that run with them."""
        now = time.monotonic()
        with self._lock:
            used = {trial_id: list(taken) for trial_id, taken in self._taken.items() if taken}
            for trial_id, (began, share) in self._running.items():
                used.setdefault(trial_id, []).append(Taken(now - began, share))
        return used

    def write(self) -> None:
        """Write the record, or remove it where results tell all by now."""
        used = self.used()
        try:
            if used:
                write_used(self.store, self.key, used)
            elif self._is_written:
                self.store.delete(self.key)
            self._is_written = bool(used)
        except ClusterError as error:
            _log.warning("limits of later runs may not count what this one used: %s", error)

    @contextmanager
    def kept(self) -> Iterator[UseRecord]:
        """Write by and by while the block runs, and when it is left."""
        ended = threading.Event()
        thread = threading.Thread(target=self._keep, args=(ended,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            ended.set()
            thread.join()
            self.write()

    def _keep(self, ended: threading.Event) -> None:
        while not ended.wait(EVERY_S):
            self.write()

    def _end(self, trial_id: str) -> None:
        if trial_id in self._running:
            began, share = self._running.pop(trial_id)
            self._taken[trial_id].append(Taken(time.monotonic() - began, share))
