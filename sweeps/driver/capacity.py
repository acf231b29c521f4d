"""How many trials a pool of nodes runs at once."""

from __future__ import annotations

from collections.abc import Sequence

from cluster.common.wording import count_of
from sweeps.errors import SweepError
from sweeps.plan.packing import trials_on_node


def how_many_at_once(
    cpus: float, gpus: float, nodes: Sequence[tuple[float, float]], *, may_grow: bool = False
) -> int:
    """Return trials that fit onto the nodes of a session at once; a trial stays on one node.

    Args:
        cpus: CPUs of a trial.
        gpus: GPUs of a trial, may be a fraction.
        nodes: CPUs and GPUs of each node.
        may_grow: Whether nodes may come later: then none now is not an error.

    Raises:
        SweepError: not even one does.
    """
    total = sum(trials_on_node(cpus, gpus, *node) for node in nodes)
    if total < 1 and not may_grow:
        offered = ", ".join(
            f"{count_of(c, 'CPU')} and {count_of(g, 'GPU')}" for c, g in sorted(set(nodes))
        )
        raise SweepError(
            f"resources: a trial asks for {count_of(cpus, 'CPU')} and {count_of(gpus, 'GPU')}, no "
            f"node of the Ray session has them ({offered}); lower resources.cpus or resources.gpus "
            "(0 trains on CPUs), or run on larger nodes"
        )
    return total


def most_cpus(at_once: int, nodes: Sequence[tuple[float, float]]) -> int:
    """Return the most CPUs a trial may have for so many at once to fit; 0 where they do not.

    Args:
        at_once: Trials at once, over all nodes.
        nodes: CPUs and GPUs of each node.
    """
    largest = int(max((cpus for cpus, _ in nodes), default=0.0))
    for cpus in range(largest, 0, -1):
        if sum(int(of_node // cpus) for of_node, _ in nodes) >= at_once:
            return cpus
    return 0
