"""A TCP proxy between a worker and its S3 server, which drops, delays or corrupts what passes."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal

Fault = Literal["drop", "delay", "corrupt"]
LARGE = 1500
"""Bytes of a chunk whose end is an object's content rather than a header."""
DELAY_S = 1.0


class FaultyProxy:
    """Forwards connections on loopback; of the chunks, either way, some meet the fault.

    Attributes:
        met: Chunks that met it.
    """

    def __init__(self, port: int, fault: Fault, share: float) -> None:
        self.fault, self.share, self.met = fault, share, 0
        self._target, self._lock = port, threading.Lock()
        self._random = random.Random(0)  # a fixed rhythm would meet the same request every time
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no new connections."""
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):  # the listener was closed
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=self._forward, args=ends, daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if self._is_due(data):
                    if self.fault == "drop":
                        break
                    if self.fault == "delay":
                        time.sleep(DELAY_S)
                    else:
                        data = data[:-1] + bytes([data[-1] ^ 1])
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _is_due(self, data: bytes) -> bool:
        if self.fault == "corrupt" and len(data) < LARGE:
            return False
        with self._lock:
            is_due = self._random.random() < self.share
            self.met += is_due
        return is_due


@contextmanager
def faulty_proxy(port: int, fault: Fault, share: float) -> Iterator[FaultyProxy]:
    """A proxy to a port of loopback while the block runs."""
    proxy = FaultyProxy(port, fault, share)
    try:
        yield proxy
    finally:
        proxy.close()
