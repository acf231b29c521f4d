"""A pool of workers on a virtual clock, which takes its tasks from the queue of real runs."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass

from sweeps.driver.queue import TrialQueue


@dataclass(frozen=True)
class Makespan:
    """How long a pool was used, and how well.

    Attributes:
        seconds: From the first start to the last end.
        busy: Share of the pool's time that trials ran, 0 to 1.
        order: Trial ids in the order in which they began.
    """

    seconds: float
    busy: float
    order: tuple[str, ...]


def simulate(queue: TrialQueue, slots: int, seconds: Mapping[str, float]) -> Makespan:
    """Run a queue's tasks on a number of slots, each for its seconds."""
    free_at = [0.0] * slots
    order, used, end = [], 0.0, 0.0
    while (task := queue.take()) is not None:
        began = heapq.heappop(free_at)
        order.append(task.trial_id)
        used += seconds[task.trial_id]
        end = max(end, began + seconds[task.trial_id])
        heapq.heappush(free_at, began + seconds[task.trial_id])
    return Makespan(end, used / (slots * end), tuple(order))
