"""Writes checkpoints in a thread, while the training that they are of goes on."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from cluster.errors import ClusterError
from cluster.stores.base import Store
from spurious.training.checkpoint import Snapshot

LARGE_BYTES = 16 << 20
"""Size from which an epoch rather waits for its checkpoint than training for the one before."""

_log = logging.getLogger("sweeps.trial.checkpoint")


class CheckpointWriter:
    """Puts the checkpoints of one training under one key, one after the other.

    A snapshot is taken only once the one before is written, so that there is one at most in
    memory. What a put raises is raised by the next `save`, or by `finish`.

    Attributes:
        bytes_written: Of the last checkpoint that is in the store; 0 before the first.
        seconds: Which its hash and put took.

    Args:
        store: Where to.
        key: The object, replaced by each checkpoint.
        head: Returns what stands before the state, when the snapshot is taken.
    """

    def __init__(self, store: Store, key: str, head: Callable[[], bytes] = bytes) -> None:
        self.store, self.key, self.head = store, key, head
        self.bytes_written, self.seconds = 0, 0.0
        self._pending: Future[None] | None = None
        self._size = 0

    def save(self, take: Callable[[], Snapshot], *, urgent: bool) -> bool:
        """Take a snapshot and return; False where a large one before is still being written.

        Implements `spurious.training.checkpoint.SaveCheckpoint`. Training waits for a write in
        progress only where the checkpoint is small or urgent.

        Raises:
            ClusterError: the checkpoint before could not be written.
        """
        is_busy = self._pending is not None and not self._pending.done()
        if is_busy and not urgent and self._size >= LARGE_BYTES:
            return False
        self.finish()
        snapshot, head = take(), self.head()
        self._size = snapshot.size_bytes
        pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending = pool.submit(self._write, snapshot, head)
        pool.shutdown(wait=False)  # its thread ends with the write, which Python waits for
        return True

    def finish(self) -> None:
        """Wait until the last checkpoint is in the store.

        Raises:
            ClusterError: it could not be written.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def settle(self) -> None:
        """Wait until nothing is being written; what goes wrong is logged alone."""
        try:
            self.finish()
        except (ClusterError, OSError, MemoryError) as error:
            _log.warning("the last checkpoint was not written: %s", error)

    def _write(self, snapshot: Snapshot, head: bytes) -> None:
        began = time.monotonic()
        with snapshot.seal(head) as data:
            self.store.put(self.key, data)
            self.bytes_written = len(data)
        self.seconds = time.monotonic() - began
        _log.info("checkpoint of %d bytes written in %.1f s", self.bytes_written, self.seconds)
