"""Trials on a pool of two nodes: what is lost on one goes on on the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from faulty_attempts import BAD_NODE, die_on_the_bad_node, die_once
from pool_here import PoolHere, pool_here
from tiny_sweeps import one, prepared

from cluster.stores.folder import FolderStore
from sweeps.driver.queue import TrialQueue
from sweeps.driver.trainable import Attempt
from sweeps.driver.tuner import run_tasks
from sweeps.trial.events import LostWorker, Tally, TaskName, Watcher


@pytest.fixture(scope="module")
def pool() -> Iterator[PoolHere]:
    """The pool, for this module."""
    with pool_here() as pool:
        yield pool


class Notes(Watcher):
    """What a run told."""

    def __init__(self) -> None:
        self.retried: list[str] = []
        self.excluded: list[str] = []
        self.lost: list[LostWorker] = []

    def on_retried(self, task: TaskName, message: str) -> None:
        self.retried.append(message)

    def on_node_excluded(self, message: str) -> None:
        self.excluded.append(message)

    def on_lost_worker(self, loss: LostWorker) -> None:
        self.lost.append(loss)


def run(tmp_path: Path, number: int, attempt: Attempt) -> tuple[Tally, Notes]:
    """Run some tasks of one CPU each."""
    task = prepared(FolderStore(tmp_path / "store"), one(), tmp_path / "cache")[1]
    tasks = [replace(task, trial_id=f"{i:016x}", label=f"label-{i}") for i in range(number)]
    notes = Notes()
    tally = run_tasks("pool", TrialQueue(tasks), cpus=1, gpus=0, watcher=notes, attempt=attempt)
    return tally, notes


def places(tmp_path: Path) -> dict[str, list[str]]:
    """Trial id to the nodes of its attempts, in their order."""
    found: dict[str, list[str]] = {}
    for path in sorted((tmp_path / "cache").glob("place-*")):
        found.setdefault(path.name.split("-")[1], []).append(path.read_text())
    return found


def test_a_lost_trial_is_tried_on_another_node(pool: PoolHere, tmp_path: Path) -> None:
    """Each of four first attempts is lost; each second one is on the other node.

    The rows of the failures table name the node's host.
    """
    (tmp_path / "cache").mkdir()
    tally, notes = run(tmp_path, 2, die_once)
    assert tally.attempts == Counter(infrastructure=2)
    assert len(tally.outcomes) == 2
    for first, second in places(tmp_path).values():
        assert {first, second} == set(pool.nodes)
    assert len(notes.retried) == 2
    assert all(loss.node for loss in notes.lost)
    assert notes.excluded == []


def test_a_node_that_loses_every_trial_is_excluded(pool: PoolHere, tmp_path: Path) -> None:
    """After its third trial none begins there, though it is always free; all come to an end."""
    (tmp_path / "cache").mkdir()
    bad = next(iter(pool.nodes))
    (tmp_path / "cache" / BAD_NODE).write_text(bad)
    tally, notes = run(tmp_path, 12, die_on_the_bad_node)
    assert len(tally.outcomes) == 12
    assert tally.lost == {}
    visited = places(tmp_path)
    assert len(visited) == 12
    lost_there = sum(places.count(bad) for places in visited.values())
    assert lost_there == 3
    assert all(places.count(bad) <= 1 for places in visited.values())
    [told] = notes.excluded
    assert "lost several trials" in told
