"""One job in one place, undisturbed or under fire, and the comparison of what it left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jobs import Job, tear_shards
from processes import Hit, Lives, Shooter, Shot, find_parts, home_of, kill_all, list_processes
from tiny_sweeps import Place, made_place

from cluster.embedded.server import embedded_server
from cluster.stores import open_store
from cluster.stores.base import Store

REPEATS = 3
"""How often a user gives the same command again."""
COMMAND_S = 900.0
"""A command that runs for longer hangs."""
LEFT_S = 90.0
"""Until every process of a command's session has ended: Ray's own look for their driver in turn."""
RECONNECT_S = 20
"""For how long Ray's processes look for a dead GCS; its default of 60 costs time here only."""

_OUR_LAST_LINES = ("sweeps: ", "sweep '", "failed: ", "interrupted: ")
_AWS = "AWS_"
_FOREIGN = (_AWS, "PYTHONPATH", "RAY_ADDRESS", "SWEEPS_CACHE", "SWEEPS_ST")
"""Beginnings of variables that lead the command elsewhere."""


@dataclass
class Ending:
    """What came of one job.

    Attributes:
        hits: The kills that happened.
        ends: Exit status and last line of each time the command ran.
        seconds: From the first start to the last end.
        faults: What is not as it must be.
    """

    hits: list[Hit] = field(default_factory=list)
    ends: list[tuple[int, str]] = field(default_factory=list)
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)

    @property
    def foreign(self) -> int:
        """How often the command ended by itself, in failure, with a last line of Ray's."""
        ends = [line for status, line in self.ends if status > 0]
        return sum(not line.startswith(_OUR_LAST_LINES) for line in ends)


@contextmanager
def job_place(job: Job, folder: Path) -> Iterator[Place]:
    """A new place for a job; all that ran in it is killed at the end."""
    with made_place(folder, RAY_gcs_rpc_server_reconnect_timeout_s=str(RECONNECT_S)) as place:
        for name in [n for n in place.environment if n.startswith(_FOREIGN)]:
            del place.environment[name]
        job.prepare(place)
        try:
            yield place
        finally:
            kill_all(place)


@contextmanager
def job_store(place: Place, kind: str) -> Iterator[Store]:
    """The store of a place, opened in this process; its server is started again if need be."""
    if kind == "folder":
        yield open_store(str(place.store))
        return
    before = {name: value for name, value in os.environ.items() if name.startswith(_AWS)}
    with embedded_server(home_of(place)) as endpoint:
        os.environ.update(endpoint.environment())
        try:
            yield open_store(f"s3://{endpoint.bucket}")
        finally:
            for name in [name for name in os.environ if name.startswith(_AWS)]:
                del os.environ[name]
            os.environ.update(before)


def with_store(arguments: tuple[str, ...], place: Place, kind: str) -> tuple[str, ...]:
    """Add the store's option; the embedded server is the default."""
    return (*arguments, "--json", *(("--store", str(place.store)) if kind == "folder" else ()))


def observe(job: Job, place: Place, kind: str) -> tuple[Lives, Mapping[str, Any]]:
    """Run a job undisturbed; return when its parts lived, and what it left."""
    lives, began = Lives(), time.monotonic()
    process = _start(place, with_store(job.arguments, place, kind), "undisturbed")
    while process.poll() is None:
        lives.see(find_parts(place, process.pid, job.worker), time.monotonic() - began)
        time.sleep(0.1)
    if process.returncode:
        raise SystemExit(f"undisturbed: {process.returncode}\n{_printed(place, 'undisturbed')}")
    with job_store(place, kind) as store:
        return lives, job.read(store)


def attack(
    job: Job,
    place: Place,
    kind: str,
    shots: tuple[Shot, ...],
    torn: Mapping[str, bytes],
    random: np.random.Generator,
) -> Ending:
    """Run a job under fire, again while it fails.

    Args:
        job, place, kind: What, where, and the store.
        shots: The kills.
        torn: Shards of a staging that was cut off before; none where empty.
        random: Chooses among workers, and where the torn shard ends.
    """
    if torn:
        with job_store(place, kind) as store:
            tear_shards(store, torn, random)
    ending, began = Ending(), time.monotonic()
    drivers = [0]
    with Shooter(
        lambda: find_parts(place, drivers[-1], job.worker),
        shots,
        lambda pids: int(random.choice(sorted(pids))),
    ) as shooter:
        for number in range(1 + REPEATS):
            process = _start(place, with_store(job.arguments, place, kind), str(number))
            drivers.append(process.pid)
            ending.ends.append((_wait(process), _last_line(place, str(number))))
            if ending.ends[-1][0] == 0:
                break
    ending.hits, ending.seconds = shooter.hits, time.monotonic() - began
    return ending


def compare(
    job: Job, place: Place, kind: str, ending: Ending, undisturbed: Mapping[str, Any]
) -> None:
    """Add to an ending what is not as after the undisturbed run."""
    status, _ = ending.ends[-1]
    if status:
        ending.faults.append(f"exit {status} after {len(ending.ends) - 1} repeats")
    else:
        summary = json.loads((place.folder / f"out-{len(ending.ends) - 1}").read_text())
        if summary.get("trials") != summary.get("done"):
            ending.faults.append(f"summary {summary}")
    with job_store(place, kind) as store:
        ending.faults += job.differences(job.read(store), undisturbed)
        process = _start(place, with_store(("store", "check"), place, kind), "check")
        checked = _wait(process)
    if checked or json.loads((place.folder / "out-check").read_text())["damage"]:
        ending.faults.append(f"store check: exit {checked}: {_last_line(place, 'check')}")
    if left := _left(place):
        ending.faults.append(f"left running: {left}")


def _left(place: Place) -> list[str]:
    deadline = time.monotonic() + LEFT_S
    while (found := list_processes(place)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return [command[:80] for command in found.values()]


def _start(place: Place, arguments: tuple[str, ...], name: str) -> subprocess.Popen[str]:
    """Start a command whose output goes into files: a pipe would be held open by its orphans."""
    with (place.folder / f"out-{name}").open("w") as out, _errors(place, name).open("w") as errors:
        return subprocess.Popen(
            [sys.executable, "-m", "sweeps", *arguments],
            cwd=place.folder,
            env=place.environment,
            stdout=out,
            stderr=errors,
            text=True,
            start_new_session=True,
        )


def _wait(process: subprocess.Popen[str]) -> int:
    """Wait for the end; a command that hangs is killed and counts as status 124."""
    try:
        return process.wait(COMMAND_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return 124


def _errors(place: Place, name: str) -> Path:
    return place.folder / f"errors-{name}"


def _printed(place: Place, name: str) -> str:
    return _errors(place, name).read_text(errors="replace")


def _last_line(place: Place, name: str) -> str:
    lines = _printed(place, name).strip().splitlines()
    return lines[-1].strip() if lines else ""
