"""What tests of Ray share: a session, and a TCP forwarder that can be shut like a network."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from dataclasses import dataclass

from cluster.jobs.session import Session


class Gate:
    """Listens on loopback and forwards to a port there, until it is shut; can be opened again."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.open = True
        self._pairs: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """What to use instead of the target's address."""
        return f"http://127.0.0.1:{self.port}"

    def shut(self) -> None:
        """Cut every connection, and any new one at once."""
        self.open = False
        for end in list(self._pairs):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def reopen(self) -> None:
        """Forward again."""
        self.open = True

    def close(self) -> None:
        """Stop for good."""
        self.shut()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):  # the listener was closed
            while True:
                near, _ = self._listener.accept()
                if not self.open:
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", self.target))
                self._pairs |= {near, far}
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=self._forward, args=ends, daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            self._pairs.discard(end)


@dataclass(frozen=True)
class RayHere:
    """A local Ray session of two CPUs.

    Attributes:
        session: As `ray_session` gives it.
        address: Where another process reaches it.
        gate: Shut it, and the workers' S3 server is away; this process goes around it.
        environment: What the workers have in their environment.
    """

    session: Session
    address: str
    gate: Gate
    environment: dict[str, str]
