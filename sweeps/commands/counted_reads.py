"""Shows rate and time left while the objects of a store's results are read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

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
        yield _CountedStore(store, lambda done: progress(min(done, objects), objects))


class _CountedStore:
    """A store that tells how many objects were read; threads may read at once."""

    def __init__(self, store: Store, on_read: Callable[[int], None]) -> None:
        self._store, self._on_read = store, on_read
        self._lock, self._reads = threading.Lock(), 0

    @property
    def url(self) -> str:
        return self._store.url

    def get(self, key: str) -> bytes:
        data = self._store.get(key)
        self._count()
        return data

    def download(self, key: str, path: Path) -> None:
        self._store.download(key, path)
        self._count()

    def put(self, key: str, data: bytes) -> None:
        self._store.put(key, data)

    def create(self, key: str, data: bytes) -> None:
        self._store.create(key, data)

    def upload(self, path: Path, key: str) -> None:
        self._store.upload(path, key)

    def list(self, prefix: str) -> Iterator[str]:
        return self._store.list(prefix)

    def exists(self, key: str) -> bool:
        return self._store.exists(key)

    def delete(self, key: str) -> bool:
        return self._store.delete(key)

    def _count(self) -> None:
        with self._lock:
            self._reads += 1
            self._on_read(self._reads)
