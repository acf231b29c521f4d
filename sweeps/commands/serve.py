"""`sweeps serve`: run the embedded S3 server in the foreground of a terminal."""

from __future__ import annotations

import signal
from queue import SimpleQueue
from types import FrameType

from cluster.embedded.home import default_home
from cluster.embedded.server import embedded_server


def serve(port: int | None) -> int:
    """Run the embedded server until SIGINT or SIGTERM, and print how to reach it.

    Keys are named by their file, not printed: terminals are recorded and shared.
    """
    signals: SimpleQueue[int] = SimpleQueue()  # an Event deadlocks where its `wait` is interrupted

    def on_signal(number: int, frame: FrameType | None) -> None:
        signals.put(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    with embedded_server(port=port) as endpoint:
        print(f"S3 endpoint: {endpoint.url}, bucket: {endpoint.bucket}")
        print(f"keys: {default_home() / 'keys.json'}")
        print("press Ctrl-C to stop; the data is kept", flush=True)
        signals.get()
    return 0
