"""Processes beside the one that makes a report, where it is large enough that they pay."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import Final, TypeVar

T = TypeVar("T")
_WORTH_PROCESSES: Final = 1000
"""Trials from which on it pays to start processes, a second each."""
_MOST_PROCESSES: Final = 8


def count_processes(trials: int) -> int:
    """Return how many processes a report of some trials starts; 0 where it starts none."""
    cores = min(len(os.sched_getaffinity(0)), _MOST_PROCESSES)
    return cores if trials >= _WORTH_PROCESSES and cores > 1 and _may_spawn() else 0


def start_processes(count: int) -> ProcessPoolExecutor:
    """Start processes that share nothing with this one: a fork would copy the locks of threads."""
    return ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"))


def begin(trials: int, function: Callable[..., T], *arguments: object) -> Callable[[], T]:
    """Call a function in a process where a report of some trials starts any.

    Returns:
        Waits for the result and returns it; without a process it computes it then, once.
    """
    if not count_processes(trials):
        return cache(lambda: function(*arguments))
    pool = start_processes(1)
    coming = pool.submit(function, *arguments)
    pool.shutdown(wait=False)
    return coming.result


def _may_spawn() -> bool:
    """Whether a new process may import the program that runs: a script may have no guard."""
    path = getattr(sys.modules["__main__"], "__file__", None)
    return path is None or Path(path).name in ("sweeps", "__main__.py")
