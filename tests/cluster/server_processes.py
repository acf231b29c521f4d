"""Finding and ending the processes of one embedded server, by its home folder."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path


def processes_of(home: Path) -> dict[int, str]:
    """Process id to command line (arguments joined by blanks) of all that run in `home`."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.readlink(entry / "cwd") == str(home.resolve()):
                command = (entry / "cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ")
                found[int(entry.name)] = command.decode()
        except OSError:  # it ended while we looked, or is another user's
            continue
    return found


def server_of(home: Path) -> int:
    """The process id of the one SeaweedFS that runs in `home`."""
    (found,) = [
        pid
        for pid, command in processes_of(home).items()
        if " server -dir=" in command and "supervisor" not in command
    ]
    return found


def supervisor_of(home: Path) -> int:
    """The process id of the one supervisor that runs in `home`."""
    (found,) = [pid for pid, command in processes_of(home).items() if "supervisor" in command]
    return found


def kill(pid: int) -> None:
    """SIGKILL, and wait until the kernel has closed what the process held."""
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not _runs(pid))


def wait_until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    """Poll until the condition holds; AssertionError if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in {"Z", "X"}
