"""Shows rate and time left while the objects of a store's results are read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from cluster.stores.base import Store
from sweeps.driver.progress import count_progress, make_console


@contextmanager
def count_reads(store: Store, text: str, objects: int) -> Iterator[Store]:
    """Give a store whose reads are counted, and show how many of them are done.

    Args:
        store: Where objects are read.
        text: What is done, e.g. `reading epochs`.
        objects: How many objects are expected; where fewer are read, the count ends early.
    """
    with count_progress(text, "objects", make_console()) as progress:
        progress(0, objects)
        counted = _CountedStore(store, lambda done: progress(min(done, objects), objects))
        yield cast("Store", counted)


class _CountedStore:
    """A store that tells how many objects were read; threads may read at once."""

    def __init__(self, store: Store, on_read: Callable[[int], None]) -> None:
        self._store, self._on_read = store, on_read
        self._lock, self._reads = threading.Lock(), 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)  # verbs that read nothing

    def get(self, key: str) -> bytes:
        data = self._store.get(key)
        self._count()
        return data

    def read_into(self, key: str, memory: memoryview) -> None:
        self._store.read_into(key, memory)
        self._count()

    def download(self, key: str, path: Path) -> None:
        self._store.download(key, path)
        self._count()

    def _count(self) -> None:
        with self._lock:
            self._reads += 1
            self._on_read(self._reads)
