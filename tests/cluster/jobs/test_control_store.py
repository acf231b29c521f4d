"""A driver whose control store died ends with this project's message, not with Ray's abort."""

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


def control_store_of(driver: int) -> int:
    """The process id of the control store that a driver started."""
    (pid,) = [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and b"gcs_server" in read(entry / "cmdline").split(b"\0")[0]
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
def test_a_dead_control_store_ends_the_driver_with_a_message() -> None:
    """Before Ray would abort the process without one; the status is that of an error."""
    with tempfile.TemporaryDirectory(prefix="sw", dir="/tmp") as folder:
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
                os.kill(control_store_of(driver.pid), signal.SIGKILL)
                _, errors = driver.communicate(timeout=60)
            finally:
                driver.kill()
    assert driver.returncode == 2
    assert "sweeps: error: Ray's control store (GCS) at 127.0.0.1:" in errors
    assert "has not answered for 4 s" in errors
    assert "the same command continues from checkpoints" in errors
