"""Which nodes of a pool fail again and again, so that later trials keep away from them.

Nothing here knows Ray.
"""

from __future__ import annotations

from collections import defaultdict

FAILURES = 3
"""Trials that a node may lose, with no other that ends well between them, before it is excluded."""


class NodeHealth:
    """What each node has done to the trials of a run.

    A node that loses every trial at once is always free, and would draw the whole queue to itself.
    """

    def __init__(self) -> None:
        self.excluded: set[str] = set()
        self._lost: defaultdict[str, set[str]] = defaultdict(set)
        self._good: set[str] = set()
        """Nodes whose last trial ended well."""

    def failed(
        self, node: str, trial_id: str, *, store_away: bool = False, is_last: bool = False
    ) -> bool:
        """Count a loss; return whether the node is excluded from now on.

        Args:
            node: Its id.
            trial_id: What it lost; a trial that is lost twice counts once.
            store_away: Whether its store could not be reached: the node's own fault only where
                others reach it.
            is_last: Whether no other node could run its trials: then it is never excluded.
        """
        self._good.discard(node)
        if store_away and not self._good:
            return False
        lost = self._lost[node]
        lost.add(trial_id)
        if is_last or node in self.excluded or len(lost) < FAILURES:
            return False
        self.excluded.add(node)
        return True

    def succeeded(self, node: str) -> None:
        """Take note of a trial that came to an end of its own."""
        self._lost.pop(node, None)
        self._good.add(node)
