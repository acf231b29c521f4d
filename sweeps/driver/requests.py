"""What a trial asks a pool for: CPUs, GPUs, memory, and which nodes it keeps away from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from ray import tune

from cluster.common.wording import count_of
from cluster.jobs.nodes import Node

_NODE_LABEL = "ray.io/node-id"


@dataclass(frozen=True)
class Request:
    """One trial's.

    Attributes:
        cpus: CPUs of a node; how many of them a trial's threads use is another option.
        gpus: GPUs, may be a share of one.
        memory: Bytes of a node's memory, 0 for whatever there is.
        avoid: Ids of nodes that it must not run on.
    """

    cpus: float
    gpus: float = 0.0
    memory: int = 0
    avoid: frozenset[str] = frozenset()

    def fits(self, node: Node) -> bool:
        """Return whether the node has that much, however much of it is in use."""
        return self.cpus <= node.cpus and self.gpus <= node.gpus and self.memory <= node.memory

    def larger(self, nodes: Sequence[Node], *, of_gpu: bool) -> Request | None:
        """Return twice the share of a GPU, or of a machine; None where that is all of it.

        A machine's share is CPUs and memory together: trials that ask for no memory are kept away
        by the CPUs alone.
        """
        if of_gpu:
            if not 0 < self.gpus < 1:
                return None
            return replace(self, gpus=1.0 if self.gpus > 0.5 else share_of(int(1 / self.gpus) // 2))
        fitting = [node for node in nodes if self.fits(node)]
        if not fitting:
            return None
        node = max(fitting, key=lambda node: (node.memory, node.cpus))
        share = max(self.cpus / node.cpus, self.memory / node.memory if node.memory else 0.0)
        doubled = min(1.0, 2 * share)
        request = replace(
            self,
            cpus=min(2 * self.cpus, node.cpus),
            memory=max(self.memory, int(node.memory * doubled)),
        )
        return None if share >= 1 else request

    def describe(self) -> str:
        """Return what it asks for, in words."""
        parts = [count_of(self.cpus, "CPU")]
        parts += [count_of(self.gpus, "GPU")] if self.gpus else []
        parts += [f"{self.memory / 2**30:.1f} GiB of memory"] if self.memory else []
        return " and ".join(parts)


def share_of(trials: int) -> float:
    """Return the share of a GPU that so many trials have at once, as Ray counts: four digits."""
    return int(10_000 / max(1, trials)) / 10_000


@lru_cache(maxsize=64)
def factory(request: Request) -> tune.PlacementGroupFactory:
    """Return what Tune makes placement groups from; the same object for the same request."""
    bundle = {"CPU": request.cpus, "GPU": request.gpus, "memory": request.memory}
    if not request.avoid:
        return tune.PlacementGroupFactory([bundle])
    away = f"!in({','.join(sorted(request.avoid))})"
    return tune.PlacementGroupFactory([bundle], bundle_label_selector=[{_NODE_LABEL: away}])
