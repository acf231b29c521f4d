"""What trials ask for, by what was lost: other nodes, larger shares, and never nothing at all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cluster.jobs.nodes import Node
from sweeps.driver.node_health import NodeHealth
from sweeps.driver.placement import Placement
from sweeps.driver.requests import Request, factory, share_of

GIB = 2**30
SMALL = Node("aa", "small", 4, 0, 8 * GIB)
LARGE = Node("bb", "large", 8, 0, 32 * GIB)
HEAD = Node("cc", "head", 0, 0, 4 * GIB)


class Cluster:
    """Nodes that come and go, and a clock that a test moves."""

    def __init__(self, *nodes: Node) -> None:
        self.nodes, self.now = nodes, 0.0

    def list(self) -> tuple[Node, ...]:
        """The nodes that are alive."""
        return self.nodes

    def placement(self, request: Request) -> Placement:
        """What the trials of a run on it ask for."""
        return Placement(lambda _: request, self.list, lambda: self.now)


def test_a_lost_trial_avoids_its_node_while_another_can_run_it() -> None:
    """A head without CPUs is none; where the other node goes away the trial takes the first."""
    cluster = Cluster(SMALL, LARGE, HEAD)
    placement = cluster.placement(Request(1))
    placement.elsewhere("t", "aa")
    assert placement.request("t").avoid == {"aa"}
    assert placement.request("other").avoid == frozenset()
    changes = placement.changes
    cluster.nodes, cluster.now = (SMALL, HEAD), 60.0
    placement.nodes()
    assert placement.changes == changes + 1
    assert placement.request("t").avoid == frozenset()
    cluster.nodes, cluster.now = (SMALL, LARGE, HEAD), 120.0
    placement.elsewhere("t", "bb")
    assert placement.request("t").avoid == frozenset()  # both have lost it
    placement.forget("t")
    assert placement.request("t") == Request(1)


def test_a_node_is_excluded_for_all_but_never_the_last() -> None:
    """Three trials in a row; told once. Trials that only it could run may use it."""
    cluster = Cluster(SMALL, LARGE, HEAD)
    placement = cluster.placement(Request(1))
    told = [placement.lost(LARGE, f"t{i}") for i in range(5)]
    assert [bool(each) for each in told] == [False, False, True, False, False]
    assert "node large" in str(told[2])
    assert placement.request("new").avoid == {"bb"}
    assert [placement.lost(SMALL, f"t{i}") for i in range(5)] == [None] * 5
    assert placement.request("new").avoid == {"bb"}
    wide = replace(placement.request("new"), cpus=8)
    assert not wide.fits(SMALL)
    many = Cluster(SMALL, LARGE).placement(Request(8))
    assert [many.lost(LARGE, f"t{i}") for i in range(5)] == [None] * 5


def test_a_success_between_losses_clears_a_node() -> None:
    """So does the same trial that is lost again and again: it counts once."""
    health = NodeHealth()
    assert [health.failed("a", "poison") for _ in range(9)] == [False] * 9
    assert not health.failed("a", "second")
    health.succeeded("a")
    assert [health.failed("a", name) for name in ("x", "y", "z", "w")] == [
        False,
        False,
        True,
        False,
    ]


def test_a_store_that_is_away_for_all_is_no_nodes_fault() -> None:
    """A node alone without a store is excluded: others end trials well meanwhile."""
    health = NodeHealth()
    for trial in range(9):
        assert not health.failed("ab"[trial % 2], f"t{trial}", store_away=True)
    assert health.excluded == set()
    found = []
    for trial in range(9, 13):
        health.succeeded("b")
        found.append(health.failed("a", f"t{trial}", store_away=True))
    assert found == [False, False, True, False]


def test_a_want_of_memory_doubles_the_share_of_the_largest_node() -> None:
    """CPUs keep neighbours away, memory finds the node; all of a node is the end."""
    nodes = (SMALL, LARGE, HEAD)
    first = Request(2).larger(nodes, of_gpu=False)
    assert first == Request(4, memory=16 * GIB)
    assert not first.fits(SMALL)
    second = first.larger(nodes, of_gpu=False)
    assert second == Request(8, memory=32 * GIB)
    assert second.larger(nodes, of_gpu=False) is None
    assert Request(16).larger(nodes, of_gpu=False) is None


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.1, 0.2), (0.25, 0.5), (0.3333, 1.0), (0.5, 1.0), (0.7, 1.0), (1, None)],
)
def test_a_want_of_gpu_memory_doubles_the_share_of_a_gpu(
    share: float, expected: float | None
) -> None:
    """At least; to a share that divides a GPU evenly. Whole GPUs are the end."""
    found = Request(2, share).larger((), of_gpu=True)
    assert (None if found is None else found.gpus) == expected


@pytest.mark.parametrize("trials", [1, 2, 3, 7, 16])
def test_shares_of_a_gpu_add_up(trials: int) -> None:
    """Ray counts four digits: rounded up, the last trial would not fit."""
    assert trials * share_of(trials) <= 1
    assert (trials + 1) * share_of(trials) > 1


def test_the_request_for_tune_names_nodes_to_avoid() -> None:
    """Equal requests are one object, so that their trials share workers."""
    plain, avoiding = factory(Request(2, 0.5)), factory(Request(2, 0.5, avoid=frozenset("ba")))
    assert plain.bundles == [{"CPU": 2.0, "GPU": 0.5}]
    assert plain is factory(Request(2, 0.5))
    assert plain != avoiding
    placed = avoiding._bound.kwargs if avoiding._bound is not None else {}
    assert placed == {"bundle_label_selector": [{"ray.io/node-id": "!in(a,b)"}]}
