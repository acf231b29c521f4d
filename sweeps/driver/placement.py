"""What each trial of a run asks for, and how that changes with what happens to it and to nodes."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import replace

from cluster.jobs.nodes import Node
from sweeps.driver.node_health import NodeHealth
from sweeps.driver.requests import Request

_LOOK_EVERY_S = 5.0


class Placement:
    """The requests of a run's trials.

    Args:
        first: Trial id to what it asks for at first.
        list_nodes: Lists the nodes that are alive.
        clock: Seconds.
    """

    def __init__(
        self,
        first: Callable[[str], Request],
        list_nodes: Callable[[], Collection[Node]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.health = NodeHealth()
        self.changes = 0
        """Raised whenever trials that wait may ask for something else."""
        self._first, self._list, self._clock = first, list_nodes, clock
        self._wishes: dict[str, Request] = {}
        self._nodes: tuple[Node, ...] = ()
        self._looked_at = -float("inf")

    def request(self, trial_id: str) -> Request:
        """Return what a trial asks for now; it avoids nodes only where others can run it."""
        wished = self._wishes.get(trial_id) or self._first(trial_id)
        plain = replace(wished, avoid=frozenset())
        for avoid in (wished.avoid | self.health.excluded, frozenset(self.health.excluded)):
            if any(plain.fits(node) and node.id not in avoid for node in self.nodes()):
                return replace(wished, avoid=avoid)
        return plain

    def elsewhere(self, trial_id: str, node: str) -> None:
        """Keep a trial away from a node that lost it."""
        wished = self._wishes.get(trial_id) or self._first(trial_id)
        self._wishes[trial_id] = replace(wished, avoid=wished.avoid | {node})

    def larger(self, trial_id: str, *, of_gpu: bool) -> Request | None:
        """Make a trial ask for a larger share, and return that; None where it had all there is."""
        wished = self._wishes.get(trial_id) or self._first(trial_id)
        larger = wished.larger(self.nodes(), of_gpu=of_gpu)
        if larger is not None:
            self._wishes[trial_id] = larger
        return larger

    def lost(self, node: Node, trial_id: str, *, store_away: bool = False) -> str | None:
        """Count a loss of a node; return what to tell where it is excluded from now on."""
        avoided = {node.id, *self.health.excluded}
        usable = [other for other in self.nodes() if other.id not in avoided]
        is_last = not any(self._first(trial_id).fits(other) for other in usable)
        if not self.health.failed(node.id, trial_id, store_away=store_away, is_last=is_last):
            return None
        self.changes += 1
        return (
            f"node {node.name} lost several trials, one after the other: later trials keep away "
            "from it (its memory, disk and network may tell why)"
        )

    def node(self, node_id: str) -> Node | None:
        """Return a node that is alive, None where it has gone."""
        return next((node for node in self.nodes() if node.id == node_id), None)

    def forget(self, trial_id: str) -> None:
        """Drop what was noted of a trial that ended."""
        self._wishes.pop(trial_id, None)

    def nodes(self) -> tuple[Node, ...]:
        """Return the nodes that are alive, by a look that is some seconds old at most."""
        if self._clock() - self._looked_at >= _LOOK_EVERY_S:
            self._looked_at = self._clock()
            before, self._nodes = self._nodes, tuple(self._list())
            if before and {n.id for n in before} != {n.id for n in self._nodes}:
                self.changes += 1
        return self._nodes
