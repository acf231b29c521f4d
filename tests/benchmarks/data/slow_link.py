"""A relay to a server that lets so many bytes a second through: a network, on a fast machine.

.venv/bin/python tests/benchmarks/data/slow_link.py PORT MEGABYTES_A_SECOND   # prints its own port
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_CHUNK = 1 << 18


class Pace:
    """Shares a number of bytes a second among all who ask."""

    def __init__(self, bytes_per_s: float) -> None:
        self.bytes_per_s, self.free_at, self.lock = bytes_per_s, time.monotonic(), threading.Lock()

    def wait(self, count: int) -> None:
        """Return when these bytes may pass."""
        with self.lock:
            now = time.monotonic()
            self.free_at = max(self.free_at, now - 0.05) + count / self.bytes_per_s
            pause = self.free_at - now
        if pause > 0:
            time.sleep(pause)


def relay(source: socket.socket, target: socket.socket, pace: Pace | None) -> None:
    """Pass bytes on until one side ends."""
    memory = bytearray(_CHUNK)
    with suppress(OSError):
        while count := source.recv_into(memory):
            if pace is not None:
                pace.wait(count)
            target.sendall(memoryview(memory)[:count])
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextmanager
def slow_link(port: int, megabytes_per_s: float) -> Iterator[str]:
    """Run a relay in a process of its own; gives its address."""
    command = [sys.executable, __file__, str(port), str(megabytes_per_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


def main() -> None:
    """Accept connections until killed."""
    port, pace = int(sys.argv[1]), Pace(float(sys.argv[2]) * 1e6)
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            client, _ = server.accept()
            upstream = socket.create_connection(("127.0.0.1", port))
            for source, target, limit in ((client, upstream, None), (upstream, client, pace)):
                threading.Thread(target=relay, args=(source, target, limit), daemon=True).start()


if __name__ == "__main__":
    main()
