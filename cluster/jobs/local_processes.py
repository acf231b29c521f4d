"""Ends the driver of a local session with a message where a process of Ray's own died.

Such a process never comes back, and Ray aborts the driver some time later: while Ray starts, too,
when its address is not known yet. So they are looked for among this process's children, where
there is a /proc.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

PROGRAMS: Mapping[str, str] = {
    "gcs_server": "control store (GCS)",
    "raylet": "node manager (raylet)",
}
"""What a session cannot go on without, by the names of their programs."""

_LOOK_EVERY_S, _FIND_EVERY_S = 1.0, 0.25
_PATIENCE_S = 4.0
"""For Ray's own error, which may say more; its aborts come 15 s and more after the death."""
_STATUS = 2
_ZOMBIE = "Z"


@contextmanager
def end_with_local_ray() -> Iterator[None]:
    """While the block runs, end this process where the GCS or raylet that it started has ended.

    There is nothing to clean up: Ray's other processes end themselves, and the next session removes
    the folder of this one.
    """
    over, before = threading.Event(), _find_children()  # these are not of this session
    thread = threading.Thread(
        target=_watch, args=(before, over), name="Ray's processes", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _watch(before: set[tuple[int, str]], over: threading.Event) -> None:
    started: set[tuple[int, str]] = set()
    dead_since: float | None = None
    while not over.wait(_LOOK_EVERY_S if len(started) == len(PROGRAMS) else _FIND_EVERY_S):
        if len(started) < len(PROGRAMS):
            started |= _find_children() - before
        dead = {(pid, program) for pid, program in started if not _runs(pid)}
        if not dead:
            continue
        dead_since = dead_since or time.monotonic()
        if time.monotonic() - dead_since < _PATIENCE_S or over.is_set():
            continue
        names = " and ".join(sorted(PROGRAMS[program] for _, program in dead))
        sys.stderr.write(
            f"sweeps: error: Ray's {names} ended, and a run cannot go on without it: it was killed "
            "or ran out of memory on this machine. What finished is in the store; the same "
            "command continues from checkpoints\n"
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
