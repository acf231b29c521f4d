"""Ends a driver with a message where Ray died beneath it: Ray itself would abort it.

Ray's control store (GCS) may come back, and is waited for as Ray waits for it; the raylet of the
driver's own node never does.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

RECONNECT_VARIABLE = "RAY_gcs_rpc_server_reconnect_timeout_s"
"""Seconds after which Ray aborts a process that cannot reach the control store; its default 60."""

_DEFAULT_S = 60.0
_EARLIER_S = 5.0
"""How much earlier than Ray a driver ends: enough for a last look."""
_RAYLET_S = 5.0
"""Ray aborts the driver when the control store misses the raylet, after some 15 s."""
_LOOK_EVERY_S = 1.0
_CONNECT_S = 2.0
_STATUS = 2


@dataclass
class _Part:
    """A process of Ray that a driver needs.

    Attributes:
        name: What it is called.
        address: HOST:PORT where it listens.
        bound: Seconds without an answer after which it counts as dead.
        answered: When it last did.
    """

    name: str
    address: str
    bound: float
    answered: float

    def is_gone(self) -> bool:
        """Return whether it has not answered for its bound."""
        if _listens(self.address):
            self.answered = time.monotonic()
        return time.monotonic() - self.answered >= self.bound


@contextmanager
def end_without_ray(control_store: str, raylet: str, *, is_local: bool) -> Iterator[None]:
    """While the block runs, end this process where Ray's own processes have died.

    There is nothing to clean up without them: raylets and workers end themselves, and the next
    session removes the folder of this one.

    Args:
        control_store: HOST:PORT of the control store.
        raylet: HOST:PORT of the raylet of this process's node.
        is_local: Whether they are this machine's own, for the message.
    """
    now = time.monotonic()
    parts = [_Part("control store (GCS)", control_store, _bound_s(), now)]
    if _listens(raylet):  # an address that this process never reaches says nothing
        parts.append(_Part("node manager (raylet)", raylet, _RAYLET_S, now))
    over = threading.Event()
    thread = threading.Thread(
        target=_watch, args=(parts, is_local, over), name="Ray's end", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        over.set()


def _watch(parts: Sequence[_Part], is_local: bool, over: threading.Event) -> None:
    while not over.wait(_LOOK_EVERY_S):
        for part in parts:
            if part.is_gone() and not over.is_set():
                sys.stderr.write(f"sweeps: error: {_describe(part, is_local)}\n")
                sys.stderr.flush()
                os._exit(_STATUS)


def _bound_s() -> float:
    """Return after how long without a control store the process ends: before Ray aborts it."""
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


def _describe(part: _Part, is_local: bool) -> str:
    where = (
        "it was killed or ran out of memory on this machine"
        if is_local
        else "look at the cluster's head (its pod's events and log)"
    )
    return (
        f"Ray's {part.name} at {part.address} has not answered for {part.bound:.0f} s, and a run "
        f"cannot go on without it: {where}. What finished is in the store; the same command "
        "continues from checkpoints"
    )
