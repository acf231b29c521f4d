"""Counts the CPUs that this process may use, which on a shared machine are not all it has."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

_V2 = "cpu.max"
_V1 = ("cpu.cfs_quota_us", "cpu.cfs_period_us")


def count_usable_cpus(root: Path = Path("/")) -> int:
    """Count the CPUs that this process may use, at least 1.

    Ray takes all of the machine's: it reads neither the affinity nor the process's own control
    group, which is how batch systems hand out a part of a node.

    Args:
        root: Where `proc` and `sys` are mounted.
    """
    limits = [float(len(os.sched_getaffinity(0))), *_slurm_limits(), *_quotas(root)]
    return max(1, int(min(limits)))


def _slurm_limits() -> Iterator[float]:
    """Yield what SLURM granted on this node; it binds processes only where it is set up to.

    A batch script has all CPUs of its job here, each task of `srun` those of one task.
    """
    names = ["SLURM_CPUS_ON_NODE"]
    if "SLURM_STEP_ID" in os.environ:
        names.append("SLURM_CPUS_PER_TASK")
    for name in names:
        text = os.environ.get(name, "")
        if text.isdecimal():
            yield float(text)


def _quotas(root: Path) -> Iterator[float]:
    """Yield the CPU quotas of this process's control groups and of the groups around them."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    mounts = root / "sys/fs/cgroup"
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield from _quotas_up(mounts, path, [_V2])
        elif "cpu" in controllers.split(","):
            for mount in {controllers, "cpu"}:
                yield from _quotas_up(mounts / mount, path, _V1)


def _quotas_up(mount: Path, path: str, names: Sequence[str]) -> Iterator[float]:
    """Yield the quotas of a group and its ancestors; the path may be that of another namespace."""
    group = mount / path.strip("/")
    for folder in (group, *group.parents):
        try:
            quota, period = " ".join((folder / name).read_text() for name in names).split()
            if int(quota) > 0 and int(period) > 0:
                yield int(quota) / int(period)
        except (OSError, ValueError):  # no quota here: "max", -1 or no such file
            pass
        if folder == mount:
            return
