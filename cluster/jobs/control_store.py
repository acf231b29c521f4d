"""Ends a driver with a message where Ray's control store (GCS) died: Ray itself would abort it."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

RECONNECT_VARIABLE = "RAY_gcs_rpc_server_reconnect_timeout_s"
"""Seconds after which Ray aborts a process that cannot reach the control store; its default 60."""

_DEFAULT_S = 60.0
_EARLIER_S = 5.0
"""How much earlier than Ray a driver ends: enough for a last look."""
_LOOK_EVERY_S = 1.0
_CONNECT_S = 2.0
_STATUS = 2


@contextmanager
def end_without_control_store(address: str, *, is_local: bool) -> Iterator[None]:
    """While the block runs, end this process where nothing listens at an address for long.

    A control store that comes back in time (fault tolerance, a head's new pod) is waited for, as
    Ray waits for it. There is nothing to clean up without it: raylets and workers end themselves,
    and the next session removes the folder of this one.

    Args:
        address: HOST:PORT of the control store.
        is_local: Whether it is this machine's own, for the message.
    """
    over = threading.Event()
    thread = threading.Thread(
        target=_watch, args=(address, is_local, over), name="Ray's control store", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        over.set()


def _watch(address: str, is_local: bool, over: threading.Event) -> None:
    bound = _bound_s()
    answered = time.monotonic()
    while not over.wait(_LOOK_EVERY_S):
        if _listens(address):
            answered = time.monotonic()
        elif time.monotonic() - answered >= bound and not over.is_set():
            sys.stderr.write(f"sweeps: error: {_describe(address, bound, is_local)}\n")
            sys.stderr.flush()
            os._exit(_STATUS)


def _bound_s() -> float:
    """Return after how long without an answer the process ends: before Ray would abort it."""
    try:
        reconnect = float(os.environ.get(RECONNECT_VARIABLE, _DEFAULT_S))
    except ValueError:
        reconnect = _DEFAULT_S
    return max(1.0, reconnect - _EARLIER_S)


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
    except (OSError, ValueError):
        return False
    return True


def _describe(address: str, bound: float, is_local: bool) -> str:
    where = (
        "it was killed or ran out of memory on this machine"
        if is_local
        else "look at the cluster's head (its pod's events and log)"
    )
    return (
        f"Ray's control store (GCS) at {address} has not answered for {bound:.0f} s, and a run "
        f"cannot go on without it: {where}. What finished is in the store; the same command "
        "continues from checkpoints"
    )
