"""A reused worker keeps freed memory within a trial, and returns it between trials."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path
from typing import Any

import pytest
from faulty_attempts import done
from faulty_runs import run_faulty

from sweeps.trial.events import Control, Outcome
from sweeps.trial.tasks import Task

SIZE, TIMES = 48 << 20, 10
_ABOVE: list[bytearray] = []
"""What a worker keeps above all that its trials freed."""


def take_and_free(task: Task, progress: Any, control: Control) -> Outcome:
    """Take a block and free it, again and again, then many; note faults and what was held first."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(TIMES):
        bytearray(SIZE)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    blocks = [bytearray(1 << 20) for _ in range(300)]
    _ABOVE[:] = [blocks[-1]]
    del blocks
    held = pages * os.sysconf("SC_PAGE_SIZE") >> 20
    note = json.dumps({"pid": os.getpid(), "faults": faults, "held": held})
    (Path(task.cache_dir) / f"memory-{task.trial_id}").write_text(note)
    return done(task)


@pytest.mark.usefixtures("ray_here")
def test_a_worker_keeps_memory_for_its_trial_alone(tmp_path: Path) -> None:
    """A block costs its faults once, not each time; each trial begins with what the first had."""
    run_faulty(tmp_path, ["first", "second", "third"], take_and_free, cpus=2)
    notes = [json.loads(path.read_text()) for path in (tmp_path / "cache").glob("memory-*")]
    assert len(notes) == 3
    assert len({note["pid"] for note in notes}) == 1
    once = SIZE // os.sysconf("SC_PAGE_SIZE")
    assert all(note["faults"] < 2 * once for note in notes), notes
    held = [note["held"] for note in notes]
    assert max(held) - min(held) < 100, notes
