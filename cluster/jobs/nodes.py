"""The nodes of the session: which are alive, what they have, and questions to one of them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

T = TypeVar("T")
_log = logging.getLogger("cluster.jobs.nodes")


@dataclass(frozen=True)
class Node:
    """A node that is alive.

    Attributes:
        id: Ray's, in hexadecimal digits; a node that comes back has another.
        name: Its host name.
        cpus, gpus: What it offers to trials.
        memory: Bytes that it offers to trials.
    """

    id: str
    name: str
    cpus: float
    gpus: float
    memory: float


def list_nodes() -> tuple[Node, ...]:
    """List the nodes that are alive; raises RayError where the control store does not answer."""
    return tuple(
        Node(
            node["NodeID"],
            node["NodeManagerHostname"] or node["NodeManagerAddress"],
            node["Resources"].get("CPU", 0.0),
            node["Resources"].get("GPU", 0.0),
            node["Resources"].get("memory", 0.0),
        )
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"]
    )


def this_node() -> str:
    """Return the id of the node that this process is on."""
    node: str = ray.get_runtime_context().get_node_id()
    return node


def ask_node(node: str, question: Callable[[], T], timeout_s: float) -> T | None:
    """Call a function on a node; None where it did not answer in time or is gone.

    Args:
        node: Its id; this process's own node is not asked through Ray.
        question: A function or `functools.partial` that the node can import.
        timeout_s: Seconds to wait.
    """
    if node == this_node():
        return question()
    task: Any = ray.remote(num_cpus=0, max_retries=0)(_call)
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    answer = task.options(scheduling_strategy=there).remote(question)
    try:
        known: T = ray.get(answer, timeout=timeout_s)
        return known
    except RayError as error:
        _log.warning("node %s did not answer: %s", node, str(error).partition("\n")[0])
        ray.cancel(answer, force=True)
        return None


def _call(question: Callable[[], T]) -> T:
    return question()
