"""The trials that wait: one queue for a whole run, longest expected first.

Nothing here knows Ray or a clock, so a simulation with a virtual clock uses the same code.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from sweeps.trial.tasks import Task


class TrialQueue:
    """Tasks that wait for a worker.

    Trials of unequal length keep a pool busy to its end where the longest begin first (longest
    processing time first: Graham, 1969, at most 4/3 of the shortest possible makespan).

    Args:
        tasks: What waits from the start.
        seconds: Trial id to its expected seconds, in any unit; trials without one come first, in
            the order they were given.
        most: Tasks that are given out at most, None for all.
    """

    def __init__(
        self,
        tasks: Iterable[Task] = (),
        seconds: Mapping[str, float] = MappingProxyType({}),
        most: int | None = None,
    ) -> None:
        self.seconds = seconds
        self._most, self._taken = most, 0
        self.labels: dict[str, str] = {}
        """Trial id to short name, of every task that was ever given."""
        self._waiting: list[tuple[float, int, Task]] = []
        self._number = 0
        self._is_closed = False
        self.add(tasks)

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, tasks: Iterable[Task]) -> None:
        """Put tasks into the queue; they come before all that are expected to be shorter."""
        for task in tasks:
            expected = self.seconds.get(task.trial_id, float("inf"))
            heapq.heappush(self._waiting, (-expected, self._number, task))
            self._number += 1
            self.labels[task.trial_id] = task.label

    def take(self) -> Task | None:
        """Return the next task, None where none waits or the queue was closed."""
        if self.is_finished:
            return None
        self._taken += 1
        return heapq.heappop(self._waiting)[2]

    def close(self) -> None:
        """Give out nothing more: the run stops."""
        self._is_closed = True

    @property
    def is_finished(self) -> bool:
        """Return whether nothing will be given out any more."""
        return self._is_closed or not self._waiting or self.is_spent

    @property
    def is_spent(self) -> bool:
        """Return whether it gave out as many as it may, and more wait."""
        return self._most is not None and self._taken >= self._most and bool(self._waiting)
