"""The end of a trial that takes too long, also of one that is stuck in native code.

A thread of the C library's watches (`faulthandler`), which needs neither the interpreter nor its
lock: it writes where each thread is, and ends the process. What it wrote stays on the node, where
the driver asks for it.
"""

from __future__ import annotations

import faulthandler
import logging
import math
import re
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO

FOLDER = "hangs"
"""In the node cache's folder: one file for each trial that runs under a limit."""

_THREAD = re.compile(r"^(?:Current thread|Thread) 0x0*([0-9a-f]+)", re.MULTILINE)
_FRAME = re.compile(r'^  File "(?P<path>.*)", line (?P<line>\d+) in (?P<name>.*)$', re.MULTILINE)
_OURS = re.compile(r"/(?:spurious|sweeps|cluster)/")
_log = logging.getLogger("sweeps.trial.deadline")


class Deadline:
    """Ends this process where its trial takes longer than a trial may.

    Time that a trial took before its checkpoint counts: a limit is of the trial, not of an attempt.

    Args:
        limit_s: Seconds, infinite for none.
        cache: The node cache's folder.
        run: The run's id, which no other run has.
        trial_id: The trial.
    """

    def __init__(self, limit_s: float, cache: Path, run: str, trial_id: str) -> None:
        self.limit_s = limit_s
        self.path = dump_path(cache, run, trial_id)
        self._file: IO[str] | None = None

    def __enter__(self) -> Deadline:
        if math.isfinite(self.limit_s):
            self._open()
            self._arm(self.limit_s)
        return self

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            faulthandler.cancel_dump_traceback_later()
            self._file.close()
            self._file = None
            with suppress(OSError):
                self.path.unlink(missing_ok=True)

    def took(self, seconds: float) -> None:
        """Leave a trial that has taken some seconds the rest of its time, from now on."""
        if self._file is not None:
            self._arm(self.limit_s - seconds)

    def _open(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("w")
            self._file.write(f"trial's thread 0x{threading.get_ident():x}\n")
            self._file.flush()
        except OSError as error:  # a full disk: the limit holds, and where it hung stays unknown
            _log.warning("where the trial may hang will not be recorded: %s", error)
            self._file = Path("/dev/null").open("w")  # noqa: SIM115 (closed on leaving)

    def _arm(self, seconds: float) -> None:
        assert self._file is not None
        faulthandler.dump_traceback_later(max(seconds, 1e-3), exit=True, file=self._file)


def dump_path(cache: Path, run: str, trial_id: str) -> Path:
    """Return where the file of a trial is."""
    return cache / FOLDER / f"{run}-{trial_id}.txt"


def take_dump(cache: Path, run: str, trial_id: str) -> str | None:
    """Return what a trial that was ended wrote, and remove it; None where it was not ended so."""
    path = dump_path(cache, run, trial_id)
    try:
        text = path.read_text()
        path.unlink()
    except OSError:
        return None
    return text if "Timeout (" in text else None


def describe_dump(dump: str) -> str:
    """Return the innermost line where the trial's thread was, and its caller in this project."""
    first, _, rest = dump.partition("\n")
    thread = first.rpartition("0x")[2]
    places = [*_THREAD.finditer(rest)]
    for index, place in enumerate(places):
        if place[1] != thread:
            continue
        end = places[index + 1].start() if index + 1 < len(places) else len(rest)
        frames = [_FRAME.match(line) for line in rest[place.end() : end].splitlines()]
        calls = [frame for frame in frames if frame is not None]
        if not calls:
            break
        text = _format(calls[0])
        ours = next((call for call in calls if _OURS.search(call["path"])), None)
        return text if ours is None or ours is calls[0] else f"{text}, called from {_format(ours)}"
    return "an unknown line"


def _format(frame: re.Match[str]) -> str:
    return f"{frame['path']}:{frame['line']} in {frame['name']}"
