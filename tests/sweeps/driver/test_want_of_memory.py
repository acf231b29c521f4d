"""Trials that eat memory: whoever ends them, they are tried again with more, and others go on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from faulty_attempts import eat_memory, lack_memory
from faulty_runs import places, run_faulty
from memory_groups import little_memory
from pool_here import pool_here

pytestmark = pytest.mark.slow

GIB = 2**30
EATER = f"{0:016x}"
NODE = {"num_cpus": 2, "memory": 4 * GIB}


def test_a_trial_that_the_kernel_kills_is_told_from_a_lost_one(tmp_path: Path) -> None:
    """In a group of 2.5 GiB; the next attempt has twice the CPUs, and the others are not lost."""
    off = {"RAY_memory_monitor_refresh_ms": "0"}
    with little_memory(5 * GIB // 2), pool_here(NODE, environment=off):
        tally, notes = run_faulty(tmp_path, ["eats", "well", "well"], eat_memory)
    assert tally.attempts == Counter(out_of_memory=1)
    assert len(tally.outcomes) == 3
    [loss] = notes.lost
    assert "the kernel killed the worker" in loss.message
    assert "the next attempt asks for 2 CPUs and 4.0 GiB of memory" in loss.message
    assert len(places(tmp_path)[EATER]) == 2


def test_a_trial_that_rays_monitor_ends_does_not_end_the_run(tmp_path: Path) -> None:
    """Tune itself takes that error for none of an actor's, and gives up the whole run.

    The monitor counts the memory of all processes, so that other tests need room beside this one.
    """
    lines = [line.split() for line in Path("/proc/meminfo").read_text().splitlines()]
    memory = {name: int(value) * 1024 for name, value, *_ in lines}
    used = memory["MemTotal:"] - memory["MemAvailable:"]
    room = min(8 * GIB, memory["MemAvailable:"] / 2)
    monitor = {
        "RAY_memory_usage_threshold": f"{(used + room) / memory['MemTotal:']:.4f}",
        "RAY_memory_monitor_refresh_ms": "100",
    }
    with pool_here(NODE, environment=monitor):
        tally, notes = run_faulty(tmp_path, ["eats", "well"], eat_memory)
    assert len(tally.outcomes) == 2
    assert tally.attempts.keys() == {"out_of_memory"}
    assert "Ray's memory monitor ended the worker" in notes.lost[0].message


@pytest.mark.parametrize(("cpus", "expected"), [(2, 1), (1, 0)])
def test_a_trial_that_cannot_allocate_has_more_or_fails(
    tmp_path: Path, cpus: int, expected: int
) -> None:
    """It can tell by itself; where it had a whole node it fails, and is told what to do."""
    with pool_here({"num_cpus": cpus, "memory": 4 * GIB}):
        tally, notes = run_faulty(tmp_path, ["any"], lack_memory)
    assert tally.attempts == Counter(out_of_memory=1)
    assert len(notes.retried) == len(tally.outcomes) == expected
    if not expected:
        assert "it had a whole node: run it on a larger one" in tally.lost[EATER]
