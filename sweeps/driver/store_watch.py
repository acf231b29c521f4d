"""One wait for a store that is away, for the whole sweep instead of several for every trial."""

from __future__ import annotations

import threading

from cluster.errors import ClusterError
from cluster.stores.base import Store
from cluster.stores.retry import retry_timeout_s

_KEY = "results/reachable"
"""Any key: whether it exists does not matter."""


class StoreWatch:
    """Asks a store that a trial could not reach, in a thread, until it answers or the bound.

    The trials that run meanwhile wait by themselves; the driver's loop goes on.

    Args:
        store: The sweep's store.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.error: ClusterError | None = None
        """Why it was given up; None while it is not."""
        self._thread: threading.Thread | None = None

    @property
    def is_waiting(self) -> bool:
        """Return whether it is being asked now."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> str | None:
        """Begin to ask, unless that is under way or given up; return what to tell the user."""
        if self.is_waiting or self.error is not None:
            return None
        self._thread = threading.Thread(target=self._ask, name="store watch", daemon=True)
        self._thread.start()
        return (
            f"the store {self.store.url} does not answer: waiting for it, for up to "
            f"{retry_timeout_s():g} s"
        )

    def _ask(self) -> None:
        try:
            self.store.exists(_KEY)
        except ClusterError as error:
            self.error = error
