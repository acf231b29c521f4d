"""Prepares the next batches in a thread while one is trained on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

AHEAD: Final = 2
"""Batches prepared while one is trained on."""

Job = TypeVar("Job")
Result = TypeVar("Result")


def read_ahead(
    jobs: Iterable[Job], read: Callable[[Job], Result], *, threaded: bool = True
) -> Iterator[Result]:
    """Yield `read(job)` of every job in order, up to `AHEAD` of them before they are asked for.

    One thread is enough: it copies rows, which the interpreter's lock does not hold up. What `read`
    raises is raised where its result would be.

    Args:
        jobs: What to read, consumed `AHEAD` items early.
        read: Called in another thread, one job at a time.
        threaded: False reads here, when asked: handing small batches over takes longer than
            reading them.
    """
    if not threaded:
        yield from map(read, jobs)
        return
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as pool:
        pending: deque[Future[Result]] = deque()
        try:
            for job in jobs:
                pending.append(pool.submit(read, job))
                if len(pending) > AHEAD:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
