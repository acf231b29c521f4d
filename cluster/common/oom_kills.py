"""Counts the processes that the kernel killed for want of memory, to tell them from lost ones."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

_COUNT = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


def count_oom_kills(root: Path = Path("/")) -> int | None:
    """Count kills by the kernel's OOM killer among this process's neighbours, since they began.

    Those of its control group (of a container: all of it), or of the whole machine where no group
    counts them.

    Args:
        root: Where `proc` and `sys` are mounted.

    Returns:
        The count, to be compared with an earlier one; None where the system keeps none.
    """
    for path in (*_of_groups(root), root / "proc/vmstat"):
        try:
            match = _COUNT.search(path.read_text())
        except OSError:
            continue
        if match is not None:
            return int(match[1])
    return None


def _of_groups(root: Path) -> Iterator[Path]:
    """Yield where this process's control groups count; a path may be that of another namespace."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    mounts = root / "sys/fs/cgroup"
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield from (mounts / path.strip("/") / "memory.events", mounts / "memory.events")
        elif "memory" in controllers.split(","):
            mount = mounts / "memory"
            yield from (
                mount / path.strip("/") / "memory.oom_control",
                mount / "memory.oom_control",
            )
