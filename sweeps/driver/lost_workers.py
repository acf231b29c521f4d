"""Rows of `failures` for workers that died, which could write none themselves."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from cluster.common.redaction import redact
from cluster.errors import ClusterError
from cluster.stores.base import Store
from sweeps.results.tables import record_failure
from sweeps.trial.events import LostWorker, Watcher

_log = logging.getLogger("sweeps.driver.lost_workers")


class LostWorkers(Watcher):
    """Records each loss at once, in a thread: a store that is away must not hold the driver up."""

    def __init__(self, store: Store, thread: ThreadPoolExecutor) -> None:
        self.store, self.thread = store, thread

    def on_lost_worker(self, loss: LostWorker) -> None:
        """See `Watcher`."""
        self.thread.submit(self._record, loss)

    def _record(self, loss: LostWorker) -> None:
        failure = {
            "trial_id": loss.trial_id,
            "attempt": uuid.uuid4().hex[:12],
            "failure_class": loss.failure_class,
            "message": redact(loss.message),
            "traceback": redact(loss.details),
            "log_tail": "",
            "node": loss.node,
            "failed_at": loss.at,
        }
        try:
            record_failure(self.store, failure)
        except ClusterError as error:
            _log.error("the loss of a worker could not be recorded: %s", error)


@contextmanager
def read_lost_workers(store: Store) -> Iterator[LostWorkers]:
    """Record losses while the block runs; leaving it waits for the last row."""
    with ThreadPoolExecutor(1) as thread:
        yield LostWorkers(store, thread)
