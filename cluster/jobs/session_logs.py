"""Lines of the workers of a local session, read from Ray's log files as they grow."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

from cluster.jobs.ray_internals import ACTOR_NAME, LOG_MARKS, WORKER_LOGS
from cluster.jobs.session_folder import FoundSession

_FILE = re.compile(r"worker-\w+-\w+-(?P<pid>\d+)\.(?P<kind>out|err)")
_POLL_S = 0.5
_MOST_LINES = 1000
"""Lines of a batch: what is done to each batch is done seldom enough, and memory is bounded."""


def read_lines(session: FoundSession, *, follow: bool) -> Iterator[list[str]]:
    """Read the workers' lines in batches, worker by worker, each as Ray shows it on a cluster.

    A line begins with `(ACTOR pid=PROCESS)`. Files stay open, so that the last lines are read also
    where the session has removed them.

    Args:
        session: The session.
        follow: Go on until the session ends, rather than end with what there is.
    """
    files: dict[Path, _WorkerLog] = {}
    while True:
        is_last = not follow or not session.is_running()  # before reading: nothing comes after
        for path in sorted(session.logs.glob(WORKER_LOGS)):
            if path not in files and (match := _FILE.fullmatch(path.name)):
                files[path] = _WorkerLog(path, match["pid"])
        for file in files.values():
            yield from file.read(is_last)
        if is_last:
            break
        time.sleep(_POLL_S)
    for file in files.values():
        file.close()


class _WorkerLog:
    """One log file of a worker, read from where the last reading ended."""

    def __init__(self, path: Path, pid: str) -> None:
        self._file = path.open("rb")
        self._pid, self._actor, self._rest = pid, "worker", b""

    def read(self, is_last: bool) -> Iterator[list[str]]:
        """Read whole lines, at the end of the session also one that has no end."""
        batch: list[str] = []
        while line := self._file.readline():
            if not line.endswith(b"\n") and not is_last:
                self._rest += line
                break
            line, self._rest = self._rest + line, b""
            batch += self._format(line.decode(errors="replace").rstrip("\n"))
            if len(batch) >= _MOST_LINES:
                yield batch
                batch = []
        if is_last and self._rest:
            batch += self._format(self._rest.decode(errors="replace"))
        if batch:
            yield batch

    def _format(self, line: str) -> list[str]:
        """Return a line with its worker's name; none for Ray's own marks."""
        if line.startswith(ACTOR_NAME):
            self._actor = line.removeprefix(ACTOR_NAME)
        return [] if line.startswith(LOG_MARKS) else [f"({self._actor} pid={self._pid}) {line}"]

    def close(self) -> None:
        """Close the file."""
        self._file.close()
