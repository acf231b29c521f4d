"""Attempts at a trial that meet a fault for real; none needs a dataset, a store or torch."""

from __future__ import annotations

import ctypes
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from tiny_sweeps import attempts_before, wait_until

from sweeps.plan.packing import Share
from sweeps.trial.events import Control, Outcome
from sweeps.trial.tasks import Task

BAD_NODE = "bad-node"
"""Name of the file that holds the id of the node where every trial is lost."""
_CHUNK = 50_000_000
_MOST = 300
"""Chunks after which a trial that eats memory gives up: 15 GB."""


def done(task: Task) -> Outcome:
    """The outcome of a trial that ended well."""
    return Outcome(task.trial_id, "committed", 0.0)


def note_place(task: Task) -> tuple[int, str]:
    """Attempts before this one, and this one's node, which is noted in a file."""
    node: str = ray.get_runtime_context().get_node_id()
    before = attempts_before(task)
    (Path(task.cache_dir) / f"place-{task.trial_id}-{before}").write_text(node)
    return before, node


def die_once(task: Task, progress: Any, control: Control) -> Outcome:
    """Be lost at the first attempt."""
    if note_place(task)[0] == 0:
        os._exit(1)
    return done(task)


def die_on_the_bad_node(task: Task, progress: Any, control: Control) -> Outcome:
    """Be lost wherever this is the bad node; elsewhere wait until it has lost three trials."""
    cache = Path(task.cache_dir)
    bad = (cache / BAD_NODE).read_text()
    if note_place(task)[1] == bad:
        os._exit(1)
    wait_until(lambda: sum(path.read_text() == bad for path in cache.glob("place-*")) >= 3)
    return done(task)


def hang_in_c(task: Task, progress: Any, control: Control) -> Outcome:
    """Sleep in a C call that holds the interpreter's lock, where the task says so."""
    note_place(task)
    if task.label == "hangs":
        ctypes.PyDLL(None).sleep(600)
    return done(task)


def eat_memory(task: Task, progress: Any, control: Control) -> Outcome:
    """Take memory until something ends this process, unless the trial has more than one CPU."""
    share = ray.get_runtime_context().get_assigned_resources()
    note_place(task)
    if task.label != "eats" or share["CPU"] > 1:
        return done(task)
    held = []
    for _ in range(_MOST):
        held.append(b"x" * _CHUNK)
        time.sleep(0.05)
    raise AssertionError(f"{len(held)} chunks of memory, and nothing happened")


def lack_memory(task: Task, progress: Any, control: Control) -> Outcome:
    """Ask for more memory than there is, unless the trial has more than one CPU."""
    share = ray.get_runtime_context().get_assigned_resources()
    note_place(task)
    if share["CPU"] == 1:
        bytearray(1 << 50)
    return done(task)


def take_gpu_memory(task: Task, progress: Any, control: Control) -> Outcome:
    """Tell of 3 of 16 GiB, and note the share of a GPU that Ray gave."""
    share = ray.get_runtime_context().get_assigned_resources()["GPU"]
    assert task.share == Share(1, share)
    (Path(task.cache_dir) / f"gpu-{task.trial_id}").write_text(str(share))
    return replace(done(task), gpu_peak_bytes=3 << 30, gpu_total_bytes=16 << 30)
