"""The trials that wait: one queue for a whole run, longest expected first.

Nothing here knows Ray or a clock, so a simulation with a virtual clock uses the same code.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Protocol

from sweeps.trial.tasks import Task


class TaskSource(Protocol):
    """Gives out tasks while others run; called from the driver's own thread alone."""

    def take_ready(self) -> Iterable[Task]:
        """Return tasks that became ready since the last call."""

    @property
    def is_exhausted(self) -> bool:
        """Return whether nothing more will come."""


class TrialQueue:
    """Tasks that wait for a worker.

    Trials of unequal length keep a pool busy to its end where the longest begin first (longest
    processing time first: Graham, 1969, at most 4/3 of the shortest possible makespan).

    Args:
        tasks: What waits from the start.
        seconds: Trial id to its expected seconds, in any unit; trials without one come first, in
            the order they were given.
        most: Trials that are given out at most, None for all.
        source: What gives more tasks while others run; until it is exhausted the queue is open.
    """

    def __init__(
        self,
        tasks: Iterable[Task] = (),
        seconds: Mapping[str, float] = MappingProxyType({}),
        most: int | None = None,
        source: TaskSource | None = None,
    ) -> None:
        self.source = source
        self.seconds = seconds
        self._most, self._begun = most, set[str]()
        self.labels: dict[str, str] = {}
        """Trial id to short name, of every task that was ever given."""
        self.returned = Counter[str]()
        """Trial id to how often its task came back."""
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

    def give_back(self, task: Task) -> None:
        """Put a task back that could not begin: it is the next one, and counts as not given out."""
        self._begun.discard(task.trial_id)
        self.returned[task.trial_id] += 1
        heapq.heappush(self._waiting, (-float("inf"), -self.returned.total(), task))

    def take(self) -> Task | None:
        """Return the next task, None where none waits by now or the queue was closed."""
        if self.is_finished or not self._waiting:
            return None
        task = heapq.heappop(self._waiting)[2]
        self._begun.add(task.trial_id)
        return task

    def close(self) -> None:
        """Give out nothing more: the run stops."""
        self._is_closed = True

    @property
    def is_finished(self) -> bool:
        """Return whether nothing will be given out any more; takes in what has become ready."""
        is_exhausted = self.source is None or self.source.is_exhausted
        if self.source is not None:
            self.add(self.source.take_ready())
        return self._is_closed or self.is_spent or (is_exhausted and not self._waiting)

    @property
    def is_spent(self) -> bool:
        """Return whether it gave out as many trials as it may, and more wait."""
        return self._most is not None and len(self._begun) >= self._most and bool(self._waiting)
