"""A driver whose control store or raylet died ends with our message, not with Ray's abort."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
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


def part_of(driver: int, program: str) -> int:
    """The process id of a program of Ray that a driver started."""
    (pid,) = [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit()
        if read(entry / "cmdline").split(b"\0")[0].endswith(f"/{program}".encode())
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
@pytest.mark.parametrize(
    ("program", "name", "seconds"),
    [("gcs_server", "control store (GCS)", 4), ("raylet", "node manager (raylet)", 5)],
)
def test_a_dead_part_of_ray_ends_the_driver_with_a_message(
    program: str, name: str, seconds: int
) -> None:
    """Before Ray would abort the process without one; the status is that of an error."""
    with tempfile.TemporaryDirectory(prefix="sw", dir="/tmp", ignore_cleanup_errors=True) as folder:
        environment = {**os.environ, "RAY_TMPDIR": folder, RECONNECT_VARIABLE: "9"}
        with subprocess.Popen(
            [sys.executable, "-c", DRIVER],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as driver:
            try:
                assert driver.stdout is not None
                assert driver.stdout.readline() == "ready\n"
                os.kill(part_of(driver.pid, program), signal.SIGKILL)
                _, errors = driver.communicate(timeout=60)
            finally:
                driver.kill()
    assert driver.returncode == 2
    assert f"sweeps: error: Ray's {name} at 127.0.0.1:" in errors
    assert f"has not answered for {seconds} s" in errors
    assert "the same command continues from checkpoints" in errors
