"""The CPUs that a batch system, a container or `taskset` leaves to a process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cluster.common.cpus import count_usable_cpus

SLURM = ("SLURM_CPUS_ON_NODE", "SLURM_CPUS_PER_TASK", "SLURM_STEP_ID")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of 64 CPUs without any limit, whose /proc and /sys are in a folder."""
    for name in SLURM:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)))
    (tmp_path / "proc/self").mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, 64),
        ({"SLURM_CPUS_ON_NODE": "8"}, 8),
        ({"SLURM_CPUS_ON_NODE": "8", "SLURM_CPUS_PER_TASK": "2"}, 8),
        ({"SLURM_CPUS_ON_NODE": "8", "SLURM_CPUS_PER_TASK": "2", "SLURM_STEP_ID": "0"}, 2),
        ({"SLURM_CPUS_ON_NODE": "128"}, 64),
        ({"SLURM_CPUS_ON_NODE": ""}, 64),
    ],
)
def test_slurm_says_how_many(
    machine: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: int
) -> None:
    """To a batch script all of the job's on this node, to a task of `srun` its own."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert count_usable_cpus(machine) == expected


def test_the_affinity_counts(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is how SLURM, `taskset` and cpusets bind a process; of this process, for real."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 9})
    assert count_usable_cpus(machine) == 2
    monkeypatch.undo()
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert count_usable_cpus(machine) == 1
    finally:
        os.sched_setaffinity(0, before)


def test_a_quota_of_any_group_around_counts(machine: Path) -> None:
    """The smallest one, of either version of control groups; "max" and -1 are no quota."""
    group = machine / "sys/fs/cgroup"
    for folder, text in {"": "max 100000", "a": "400000 100000", "a/b": "max 100000"}.items():
        (group / folder).mkdir(parents=True, exist_ok=True)
        (group / folder / "cpu.max").write_text(text)
    (machine / "proc/self/cgroup").write_text("0::/a/b\n")
    assert count_usable_cpus(machine) == 4
    (group / "a/b/cpu.max").write_text("50000 100000")
    assert count_usable_cpus(machine) == 1
    for quota, expected in {"-1": 64, "250000": 2}.items():
        (group / "cpu,cpuacct/job").mkdir(parents=True, exist_ok=True)
        (group / "cpu,cpuacct/job/cpu.cfs_quota_us").write_text(quota)
        (group / "cpu,cpuacct/job/cpu.cfs_period_us").write_text("100000")
        (machine / "proc/self/cgroup").write_text("3:cpu,cpuacct:/job/elsewhere\n2:pids:/\n")
        assert count_usable_cpus(machine) == expected
