"""A small detached process that runs the embedded server for as long as somebody uses it.

`cluster.embedded.server` starts it as a module. Users hold a shared lock on a file; when this
process gets the exclusive lock there are none left (the kernel drops the lock of a killed process
too) and it stops the server. It passes the server's own lock on to it, so that the lock is free
only when both are gone. If this process is killed, the kernel kills the server.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

from cluster.common.locks import FileLock
from cluster.embedded.inner_tls import CERTIFICATE, KEY, closed_environment

_POLL_S = 0.5
_STOP_S = 2.0
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Detach, run the server given after `--`, and stop it when nobody uses it any more."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--users", type=Path, required=True, help="lock file that users share")
    parser.add_argument("--lock-fd", type=int, required=True, help="the server's lock, held")
    parser.add_argument("--grace", type=float, required=True, help="seconds until a next user")
    parser.add_argument("--leftover", action="append", default=[], help="file to remove at the end")
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    if os.fork():
        os._exit(0)  # the command that started us waits for this one, and need not wait for more
    signal.signal(signal.SIGTERM, _exit)
    os.umask(0o077)  # SeaweedFS's Unix sockets in /tmp are for this user alone
    server = _start(arguments.command, arguments.lock_fd)
    try:
        _watch(server, arguments.users, arguments.grace)
    finally:
        _stop(server)
        for leftover in (*arguments.leftover, CERTIFICATE, KEY):
            with suppress(OSError):  # of no use any more, and no harm either
                os.unlink(leftover)


def _start(command: list[str], lock: int) -> subprocess.Popen[bytes]:
    """Run the server with an environment of its own: no WEED_* or AWS_* setting may reach it."""
    folder = Path.cwd()
    environment = {"PATH": os.defpath, "HOME": str(folder), **closed_environment(folder)}
    parent = os.getpid()

    def die_with_parent() -> None:
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)

    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        env=environment,
        pass_fds=[lock],
        preexec_fn=die_with_parent,
    )


def _watch(server: subprocess.Popen[bytes], users: Path, grace: float) -> None:
    """Return when the server has ended, or nobody used it for `grace` seconds.

    The exclusive lock is then kept until this process ends: a newcomer waits, and starts its own.
    """
    lock = FileLock(users)
    idle_since: float | None = None
    while True:
        with suppress(subprocess.TimeoutExpired):
            server.wait(_POLL_S)
            return
        if not lock.acquire():
            idle_since = None
            continue
        idle_since = idle_since or time.monotonic()
        if time.monotonic() - idle_since >= grace:
            return
        lock.unlock()


def _stop(server: subprocess.Popen[bytes]) -> None:
    """SIGTERM, then SIGKILL.

    Asked politely, SeaweedFS 4.48 waits 15 s for a subscription of its own. What it acknowledged is
    with the kernel by then, so that a kill loses nothing.
    """
    server.terminate()
    try:
        server.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    print(f"supervisor: the server ended with status {server.returncode}", flush=True)


def _exit(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    main()
