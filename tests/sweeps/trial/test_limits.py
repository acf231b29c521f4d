"""How long a trial may take: it ends between epochs where it can, also where it hangs in C."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tiny_sweeps import assert_same, one, prepared, run_here, tables

from cluster.stores.folder import FolderStore
from sweeps.errors import TimeLimit
from sweeps.plan.facts import plan_on
from sweeps.results import tables as results
from sweeps.trial.deadline import Deadline, describe_dump, dump_path, take_dump
from sweeps.trial.events import Control
from sweeps.trial.run import run_trial

HANGS = """
import ctypes, sys, threading, time
from pathlib import Path
from sweeps.trial.deadline import Deadline

def another(): time.sleep(60)

def train(seconds):
    ctypes.PyDLL(None).usleep(int(seconds * 1e6))  # holds the interpreter's lock

threading.Thread(target=another, daemon=True).start()
with Deadline(float(sys.argv[2]), Path(sys.argv[1]), "run", "trial") as deadline:
    deadline.took(float(sys.argv[3]))
    train(20.0)
"""


def hang(cache: Path, limit_s: float, before_s: float) -> tuple[int, float]:
    """Exit status and seconds of a process that hangs for 20 s in C, under a limit."""
    began = time.monotonic()
    arguments = [str(cache), str(limit_s), str(before_s)]
    status = subprocess.run([sys.executable, "-c", HANGS, *arguments], check=False).returncode
    return status, time.monotonic() - began


def test_a_process_that_hangs_in_c_is_ended_and_says_where(tmp_path: Path) -> None:
    """Though nothing else runs; of its threads the trial's is read, and time before counts."""
    status, seconds = hang(tmp_path, 600, before_s=599)
    assert status == 1
    assert seconds < 19
    dump = take_dump(tmp_path, "run", "trial")
    assert dump is not None
    assert "in another" in dump
    assert describe_dump(dump) == "<string>:9 in train"
    assert take_dump(tmp_path, "run", "trial") is None


def test_a_trial_that_ends_in_time_leaves_nothing(tmp_path: Path) -> None:
    """Neither a file nor a process that ends later."""
    with Deadline(0.5, tmp_path, "run", "trial"):
        assert dump_path(tmp_path, "run", "trial").exists()
    time.sleep(0.8)
    assert list((tmp_path / "hangs").iterdir()) == []


def test_without_a_limit_there_is_no_file(tmp_path: Path) -> None:
    """No folder either."""
    with Deadline(float("inf"), tmp_path, "run", "trial") as deadline:
        deadline.took(5.0)
    assert list(tmp_path.iterdir()) == []


def test_the_innermost_line_has_its_caller_in_this_project() -> None:
    """Where a library's C code hangs its own line says little."""
    dump = (
        "trial's thread 0x7f01\nTimeout (0:00:01)!\n"
        'Thread 0x00007f02 (most recent call first):\n  File "/a.py", line 1 in idle\n\n'
        "Thread 0x00007f01 (most recent call first):\n"
        '  File "/lib/torch/nn.py", line 5 in forward\n'
        '  File "/app/spurious/training/loop.py", line 7 in _step\n'
        '  File "/app/sweeps/trial/run.py", line 9 in run_trial\n'
    )
    expected = (
        "/lib/torch/nn.py:5 in forward, called from /app/spurious/training/loop.py:7 in _step"
    )
    assert describe_dump(dump) == expected


class Limited(Control):
    """A trial that may take some seconds, and goes slowly."""

    def __init__(self, limit_s: float, epoch_s: float = 0.0, *, lost: bool = False) -> None:
        self._limit_s, self.epoch_s, self.lost = limit_s, epoch_s, lost
        self.before: list[float] = []
        self.epoch = 0

    def limit_s(self) -> float:
        return self._limit_s

    def took(self, seconds: float) -> None:
        self.before.append(seconds)

    def retried(self, trial_id: str) -> bool:
        return self.lost

    def reached(self, epoch: int, *_: Any) -> None:
        self.epoch = epoch
        time.sleep(self.epoch_s)


def test_a_trial_without_time_for_another_epoch_ends_with_its_checkpoint(
    folder_store: FolderStore, tmp_path: Path
) -> None:
    """Its class is `timeout`; with more time it goes on, and gives an undisturbed one's numbers.

    Time before the checkpoint counts, also where it is all that the trial may take.
    """
    spec = one(train__epochs=50, checkpoint__every_epochs=100)
    _, task = prepared(folder_store, spec, tmp_path)
    first = Limited(3.0, epoch_s=1.0)
    with pytest.raises(TimeLimit, match=r"stopped after epoch \d of 50: it took .* raise limits"):
        run_trial(task, "first", first.reached, control=first)
    assert 1 <= first.epoch <= 3
    assert results.checkpointed_ids(folder_store) == {task.trial_id}
    again = Limited(0.5, lost=True)
    with pytest.raises(TimeLimit, match=r"took .* minutes up to its checkpoint"):
        run_trial(task, "second", again.reached, control=again)
    assert again.epoch == 0
    rows = results.read_failures(folder_store, [task.trial_id]).to_pylist()
    assert [row["failure_class"] for row in rows] == ["timeout"] * 2
    later = Limited(600.0, lost=True)
    assert run_trial(task, "third", later.reached, control=later).state == "committed"
    begun, resumed = later.before
    assert begun < 1
    assert resumed >= first.epoch
    undisturbed = FolderStore(tmp_path / "undisturbed")
    expected = tables(undisturbed, run_here(undisturbed, spec, tmp_path))
    assert_same(tables(folder_store, plan_on(spec, folder_store)), expected)
