"""The processes of one command by part: found by what the command handed on, ended by id."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from server_processes import processes_of
from tiny_sweeps import Place

PARTS = ("driver", "worker", "raylet", "GCS", "server", "supervisor")
"""What is killed: the command itself, a worker that trains or stages, Ray's and the store's."""

_LOOK_EVERY_S = 0.05


def list_processes(place: Place) -> dict[int, str]:
    """Process id to command line of all that a place's commands started.

    They have its environment; SeaweedFS, which gets none, runs in its home folder.
    """
    return {**place.processes(), **processes_of(home_of(place))}


def home_of(place: Place) -> Path:
    """The folder of the place's embedded server."""
    return Path(place.environment["SWEEPS_HOME"])


def find_parts(place: Place, driver: int, worker: str) -> dict[str, list[int]]:
    """Part to process ids, of all parts that run now.

    Args:
        place: Where the command runs.
        driver: Its process id.
        worker: What the title of a worker at work begins with.
    """
    parts: dict[str, list[int]] = {}
    for pid, command in list_processes(place).items():
        if (part := _part_of(pid, command, driver, worker)) is not None:
            parts.setdefault(part, []).append(pid)
    return parts


def _part_of(pid: int, command: str, driver: int, worker: str) -> str | None:
    program = command.partition(" ")[0].rpartition("/")[2]
    if pid == driver:
        return "driver"
    if command.startswith(worker):
        return "worker"
    if program in ("raylet", "gcs_server"):
        return "raylet" if program == "raylet" else "GCS"
    if program == "weed":
        return "server"
    return "supervisor" if "cluster.embedded.supervisor" in command else None


def kill(pid: int) -> bool:
    """SIGKILL a process that was found; False where it has ended meanwhile."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def kill_all(place: Place) -> None:
    """Kill all that still runs, until nothing does: a process may have started another."""
    while found := list_processes(place):
        for pid in found:
            kill(pid)
        time.sleep(_LOOK_EVERY_S)


@dataclass
class Lives:
    """When each part of an undisturbed command was there first and last, in seconds."""

    seconds: float = 0.0
    spans: dict[str, tuple[float, float]] = field(default_factory=dict)

    def see(self, parts: Mapping[str, list[int]], at: float) -> None:
        """Note the parts that are there at a time after the start."""
        self.seconds = at
        for part in parts:
            first, _ = self.spans.get(part, (at, at))
            self.spans[part] = first, at

    def scale_to(self, seconds: float) -> None:
        """Take the parts to live as much shorter or longer as the machine has become faster."""
        factor = seconds / self.seconds
        self.spans = {part: (a * factor, b * factor) for part, (a, b) in self.spans.items()}
        self.seconds = seconds


@dataclass(frozen=True)
class Shot:
    """A kill: the part, and when: seconds after the start, or after the shot before."""

    part: str
    after: float


@dataclass(frozen=True)
class Hit:
    """A kill that happened: the part, and seconds after the first start of the command."""

    part: str
    at: float


class Shooter:
    """Kills in a thread while commands run; waits for a part that is not there yet.

    Args:
        find: Finds the parts that run now.
        shots: What to kill, one after the other.
        choose: Chooses one of several processes of a part.
    """

    def __init__(
        self,
        find: Callable[[], Mapping[str, list[int]]],
        shots: tuple[Shot, ...],
        choose: Callable[[list[int]], int],
    ) -> None:
        self.find, self.shots, self.choose = find, shots, choose
        self.hits: list[Hit] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shooter", daemon=True)

    def __enter__(self) -> Shooter:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        began = last = time.monotonic()
        for shot in self.shots:
            if self._over.wait(max(0.0, last + shot.after - time.monotonic())):
                return
            while not self._kill_one(shot.part):
                if self._over.wait(_LOOK_EVERY_S):
                    return
            last = time.monotonic()
            self.hits.append(Hit(shot.part, last - began))

    def _kill_one(self, part: str) -> bool:
        with suppress(OSError):
            pids = self.find().get(part)
            return bool(pids) and kill(self.choose(pids))
        return False
