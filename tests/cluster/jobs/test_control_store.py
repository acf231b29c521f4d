"""A driver whose control store or raylet died ends with our message, not with Ray's abort."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cluster.jobs.control_store import RECONNECT_VARIABLE

DRIVER = """
import time
from cluster.jobs.session import ray_session
with ray_session("driver", cpus=1):
    print("ready", flush=True)
    time.sleep(120)
"""


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a path that is short enough for Ray's sockets."""
    with tempfile.TemporaryDirectory(prefix="sw", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextmanager
def started(command: list[str], **settings: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has printed `ready`; killed at the end."""
    with subprocess.Popen(
        command,
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def raylet_of(driver: int) -> int:
    """The process id of the raylet that a driver started."""
    [pid] = [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit()
        if read(entry / "cmdline").split(b"\0")[0].endswith(b"/raylet")
        if f"PPid:\t{driver}\n".encode() in read(entry / "status")
    ]
    return pid


def read(path: Path) -> bytes:
    """A file of a process that may have ended."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.timeout(150)
def test_a_dead_raylet_ends_the_driver_of_a_local_session_with_a_message(short: Path) -> None:
    """Before Ray aborts the process without one; the status is that of an error."""
    with started([sys.executable, "-c", DRIVER], RAY_TMPDIR=str(short)) as driver:
        os.kill(raylet_of(driver.pid), signal.SIGKILL)
        _, errors = driver.communicate(timeout=60)
    assert driver.returncode == 2
    assert "sweeps: error: Ray's node manager (raylet) ended, and a run cannot" in errors
    assert errors.endswith("the same command continues from checkpoints\n")


START = """
import subprocess, sys, time
from pathlib import Path
from cluster.jobs.local_processes import end_with_local_ray
with end_with_local_ray(Path("logs")):
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    programs = [subprocess.Popen([path], **pipes) for path in sys.argv[1:]]
    print("ready", flush=True)
    programs[0].kill()
    time.sleep(60)
"""


def test_rays_processes_are_watched_before_they_have_an_address(short: Path) -> None:
    """One that dies while Ray starts ends the driver; here two programs have their names."""
    for name in ("gcs_server", "raylet"):
        (short / name).symlink_to(shutil.which("cat") or "")
    paths = [str(short / "gcs_server"), str(short / "raylet")]
    with started([sys.executable, "-c", START, *paths]) as driver:
        _, errors = driver.communicate(timeout=60)
    assert driver.returncode == 2
    assert errors.startswith("sweeps: error: Ray's control store (GCS) ended, and a run cannot")


WATCH = """
import sys, time
from cluster.jobs.control_store import end_without_ray
control_store, raylet = (f"127.0.0.1:{port}" for port in sys.argv[1:])
with end_without_ray(control_store, raylet, is_local=False):
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize(
    ("dead", "name", "seconds"), [(0, "control store (GCS)", 2), (1, "node manager (raylet)", 5)]
)
def test_a_part_of_a_cluster_that_does_not_answer_ends_the_driver(
    dead: int, name: str, seconds: int
) -> None:
    """A control store is waited for until shortly before Ray would abort the process."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = [str(listener.getsockname()[1]) for listener in listeners]
    command = [sys.executable, "-c", WATCH, *ports]
    with started(command, **{RECONNECT_VARIABLE: "7"}) as driver:
        listeners[dead].close()
        _, errors = driver.communicate(timeout=60)
    listeners[not dead].close()
    assert driver.returncode == 2
    assert f"sweeps: error: Ray's {name} at 127.0.0.1:{ports[dead]} has not answered" in errors
    assert f"for {seconds} s, and a run cannot go on without it: look at the cluster's" in errors
