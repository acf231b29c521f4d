"""Starts the embedded server again, at its port, where it ends while somebody uses it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.common.locks import FileLock
from cluster.errors import ServerError

_LOOK_EVERY_S = 1.0
_JOIN_S = 10.0
_log = logging.getLogger("cluster.embedded.keeper")


@contextmanager
def keep_running(home: Path, revive: Callable[[], object]) -> Iterator[None]:
    """While the block runs, a thread looks whether the server of `home` still runs.

    A killed server (out of memory, by hand) would else cost every trial its wait for the store.

    Args:
        home: The server's folder.
        revive: Starts it again, where the caller's environment says that it is; called with the
            lock of starting held.
    """
    over = threading.Event()
    thread = threading.Thread(
        target=_watch, args=(home, revive, over), name="embedded server", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(_JOIN_S)


def _watch(home: Path, revive: Callable[[], object], over: threading.Event) -> None:
    is_reported = False
    while not over.wait(_LOOK_EVERY_S):
        try:
            if _revive_if_dead(home, revive):
                _log.warning("the embedded server of %s had ended and was started again", home)
            is_reported = False
        except (ServerError, OSError) as error:
            if not is_reported:
                _log.error("the embedded server ended and cannot be started again: %s", error)
            is_reported = True


def _revive_if_dead(home: Path, revive: Callable[[], object]) -> bool:
    """Start the server unless it runs, or another command starts or stops one now."""
    if not _is_dead(home):
        return False
    with FileLock(home / "start.lock") as start:
        if not start.acquire() or not _is_dead(home):
            return False
        revive()
    return True


def _is_dead(home: Path) -> bool:
    """Return whether nobody holds the server's lock: neither the server nor its supervisor."""
    with FileLock(home / "server.lock") as lock:
        return lock.acquire()
