"""Trials on a pool of two nodes: what is lost on one goes on on the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from faulty_attempts import BAD_NODE, die_on_the_bad_node, die_once, hang_in_c
from faulty_runs import places, run_faulty
from pool_here import PoolHere, pool_here

from cluster.common.oom_kills import count_oom_kills
from cluster.jobs.nodes import ask_node, this_node
from sweeps.driver.losses import Trace, look_for_trace
from sweeps.trial.deadline import dump_path

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pool() -> Iterator[PoolHere]:
    """Two nodes with a CPU each."""
    with pool_here({"num_cpus": 1}, {"num_cpus": 1}) as pool:
        yield pool


def test_a_lost_trial_is_tried_on_another_node(pool: PoolHere, tmp_path: Path) -> None:
    """Each of two first attempts is lost; each second one is on the other node.

    The rows of the failures table name the node's host.
    """
    tally, notes = run_faulty(tmp_path, ["a", "b"], die_once)
    assert tally.attempts == Counter(infrastructure=2)
    assert len(tally.outcomes) == 2
    for visited in places(tmp_path).values():
        assert sorted(visited) == sorted(pool.nodes)
    assert len(notes.retried) == 2
    assert all(loss.node for loss in notes.lost)
    assert notes.notes == []


def test_a_node_that_loses_every_trial_is_excluded(pool: PoolHere, tmp_path: Path) -> None:
    """After its third trial none begins there, though it is always free; all come to an end."""
    bad = next(iter(pool.nodes))
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / BAD_NODE).write_text(bad)
    tally, notes = run_faulty(tmp_path, [f"t{i}" for i in range(8)], die_on_the_bad_node)
    assert len(tally.outcomes) == 8
    assert tally.lost == {}
    visited = places(tmp_path)
    assert len(visited) == 8
    assert sum(nodes.count(bad) for nodes in visited.values()) == 3
    assert all(nodes.count(bad) <= 1 for nodes in visited.values())
    [told] = notes.notes
    assert "lost several trials" in told


def test_a_trial_that_hangs_in_c_is_ended_and_no_other(pool: PoolHere, tmp_path: Path) -> None:
    """Its class is `timeout`, the failure says where it hung, and it is not tried again."""
    labels = ["hangs", "hangs", "well", "well"]
    tally, notes = run_faulty(tmp_path, labels, hang_in_c, trial_minutes=0.1)
    assert tally.attempts == Counter(timeout=2)
    assert sorted(tally.lost) == [f"{number:016x}" for number in (0, 1)]
    assert notes.retried == []
    for loss in notes.lost:
        assert loss.failure_class == "timeout"
        assert "within the 0.1 minutes that a trial may take" in loss.message
        assert "faulty_attempts.py:" in loss.message
        assert "in hang_in_c" in loss.message
        assert "most recent call first" in loss.details
    assert tally.outcomes.keys() == {f"{number:016x}" for number in (2, 3)}


def test_a_node_tells_what_it_knows_of_a_lost_worker(pool: PoolHere, tmp_path: Path) -> None:
    """Each, of which none is the driver's; one that does not exist is not waited for for ever."""
    dump = "trial's thread 0x1\nTimeout (0:00:01)!\n"
    question = partial(look_for_trace, tmp_path, "run", "trial")
    for node in pool.nodes:
        path = dump_path(tmp_path, "run", "trial")
        path.parent.mkdir(exist_ok=True)
        path.write_text(dump)
        assert node != this_node()
        trace = ask_node(node, question, 120.0)
        assert trace == Trace(count_oom_kills(), dump)
        assert not path.exists()
    assert ask_node("0" * 56, question, 1.0) is None
