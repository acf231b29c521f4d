"""The kernel's own count of processes that it killed for want of memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.common.oom_kills import count_oom_kills


def write(root: Path, path: str, text: str) -> None:
    """Write a file of a made-up /proc or /sys."""
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


@pytest.mark.parametrize(
    ("group", "path", "text", "expected"),
    [
        ("0::/pod", "sys/fs/cgroup/pod/memory.events", "low 0\noom 9\noom_kill 4\n", 4),
        ("0::/../outside", "sys/fs/cgroup/memory.events", "oom_kill 5\noom_group_kill 7\n", 5),
        (
            "3:cpu,memory:/job\n0::/",
            "sys/fs/cgroup/memory/job/memory.oom_control",
            "oom_kill_disable 0\nunder_oom 0\noom_kill 6\n",
            6,
        ),
        ("0::/", "sys/fs/cgroup/cpu.stat", "", 2),
    ],
)
def test_the_group_counts_or_else_the_machine(
    tmp_path: Path, group: str, path: str, text: str, expected: int
) -> None:
    """In both versions of control groups, and where the group's path is another namespace's."""
    write(tmp_path, "proc/vmstat", "nr_free_pages 1\noom_kill 2\n")
    write(tmp_path, "proc/self/cgroup", group + "\n")
    write(tmp_path, path, text)
    assert count_oom_kills(tmp_path) == expected


def test_a_system_without_a_count(tmp_path: Path) -> None:
    """It is unknown then, and not zero."""
    assert count_oom_kills(tmp_path) is None
