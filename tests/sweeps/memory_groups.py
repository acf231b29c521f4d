"""A control group of the kernel with little memory, around what a test starts."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_ROOT = Path("/sys/fs/cgroup")


@contextmanager
def little_memory(size: int) -> Iterator[None]:
    """Put this process, and what it starts, into a group of some bytes; then take it out again.

    Skips the test where that is not allowed.
    """
    is_second = (_ROOT / "cgroup.controllers").exists()
    parent = _ROOT if is_second else _ROOT / "memory"
    lines = [line.split(":") for line in Path("/proc/self/cgroup").read_text().splitlines()]
    [path] = [path for _, names, path in lines if names == ("" if is_second else "memory")]
    group = parent / f"test-{uuid.uuid4().hex[:8]}"
    try:
        group.mkdir()
        (group / ("memory.max" if is_second else "memory.limit_in_bytes")).write_text(str(size))
        (group / "cgroup.procs").write_text(str(os.getpid()))
    except OSError as error:
        pytest.skip(f"needs the right to make a control group: {error}")
    try:
        yield
    finally:
        (parent / path.strip("/") / "cgroup.procs").write_text(str(os.getpid()))
        deadline = time.monotonic() + 30
        while (group / "cgroup.procs").read_text().strip() and time.monotonic() < deadline:
            time.sleep(0.2)
        group.rmdir()
