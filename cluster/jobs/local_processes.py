"""Ends the driver of a local session with a message where a process of Ray's own died.

Such a process never comes back, and Ray aborts the driver some time later: while Ray starts, too,
when its address is not known yet. So they are looked for among this process's children, where
there is a /proc.
"""

from __future__ import annotations

import os
import select
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

PROGRAMS: Mapping[str, str] = {
    "gcs_server": "control store (GCS)",
    "raylet": "node manager (raylet)",
}
"""What a session cannot go on without, by the names of their programs."""

_LOOK_EVERY_S = 0.25
_STATUS = 2
_ZOMBIE = "Z"


@contextmanager
def end_with_local_ray(logs: Path) -> Iterator[None]:
    """While the block runs, end this process where the GCS or raylet that it started has ended.

    At once: a call of this process to a dead raylet ends it, too, without a word. There is nothing
    to clean up: Ray's other processes end themselves, and the next session removes the folder of
    this one.

    Args:
        logs: Ray's folder, for the message.
    """
    over, before = threading.Event(), _find_children()  # these are not of this Ray
    thread = threading.Thread(
        target=_watch, args=(before, logs, over), name="Ray's processes", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        over.set()


def _watch(before: set[tuple[int, str]], logs: Path, over: threading.Event) -> None:
    started: set[tuple[int, str]] = set()
    ends = select.poll()
    with ExitStack() as opened:
        while not over.is_set():
            if len(started) < len(PROGRAMS):
                for child in _find_children() - before - started:
                    started.add(child)
                    _wake_at_end(ends, child[0], opened)
            ends.poll(_LOOK_EVERY_S * 1000)
            dead = [program for pid, program in started if not _runs(pid)]
            if dead and not over.is_set():
                _end(dead, logs)


def _wake_at_end(ends: select.poll, pid: int, opened: ExitStack) -> None:
    """Register a process, whose end is then seen at once; else at the next look."""
    with suppress(AttributeError, OSError):  # another system, an old kernel, or it is gone
        handle = os.pidfd_open(pid)
        opened.callback(os.close, handle)
        ends.register(handle, select.POLLIN)


def _end(dead: Sequence[str], logs: Path) -> None:
    names = " and ".join(sorted(PROGRAMS[program] for program in dead))
    sys.stderr.write(
        f"sweeps: error: Ray's {names} ended, and a run cannot go on without it: it was killed or "
        f"ran out of memory on this machine (Ray's logs, until the next command: {logs}). What "
        "finished is in the store; the same command continues from checkpoints\n"
    )
    sys.stderr.flush()
    os._exit(_STATUS)


def _find_children() -> set[tuple[int, str]]:
    """Find process id and program of those of Ray's processes that this one started.

    Ended ones, too, until they are waited for. Empty where there is no /proc.
    """
    children = set()
    for entry in Path("/proc").glob("[0-9]*"):
        program, parent, _ = _look_up(pid := int(entry.name))
        if program in PROGRAMS and parent == os.getpid():
            children.add((pid, program))
    return children


def _runs(pid: int) -> bool:
    """Return whether a child of this process still runs."""
    _, parent, state = _look_up(pid)
    return parent == os.getpid() and state != _ZOMBIE


def _look_up(pid: int) -> tuple[str, int, str]:
    """Look up program, parent and state of a process; nothing of one that has gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "", 0, ""
    program, _, fields = stat.partition("(")[2].rpartition(")")
    state, parent = fields.split()[:2]
    return program, int(parent), state
