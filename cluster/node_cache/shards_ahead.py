"""Shards read into memory, verified and written by threads, several at once."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Semaphore
from typing import Final

import numpy as np

from cluster.datasets.keys import shard_key
from cluster.datasets.manifest import Manifest, ShardEntry
from cluster.datasets.shard_reader import WrongBytes, read_shard
from cluster.errors import Corrupt, NotFound
from cluster.stores.base import Store
from spurious.data.dataset import Dataset

AT_ONCE: Final = 3
"""Shards that are in memory: one is read, in parts at once, while others are written and hashed."""

_AGAIN = 2
"""Further reads of a shard with other bytes: a part of an object has no checksum of its own."""

_log = logging.getLogger("cluster.node_cache.shards_ahead")


def read_shards(
    store: Store, manifest: Manifest, write: Callable[[int, Dataset], None]
) -> Iterator[tuple[ShardEntry, Sequence[Dataset]]]:
    """Yield every shard's rows in the manifest's order, each verified and written before.

    Memory for `AT_ONCE` shards is used again and again: rows are views of it, and are done with
    when the next shard is asked for.

    Args:
        store: Where the shards are.
        manifest: The dataset.
        write: Called in a thread with verified rows and the number of the first of them.

    Raises:
        Corrupt, NotFound: a shard is damaged or missing; names it.
        Denied, Unavailable: from the store.
    """
    entries = manifest.shards
    largest = max(entry.size_bytes for entry in entries)
    buffers = [np.empty(largest, np.uint8) for _ in range(min(len(entries), AT_ONCE))]
    turn = Semaphore()  # shards that come one after the other do not all end at once
    starts = np.cumsum([0, *(entry.rows for entry in entries)]).tolist()

    def read(index: int) -> list[Dataset]:
        entry, first = entries[index], starts[index]
        memory = buffers[index % len(buffers)][: entry.size_bytes].data
        parts: list[Dataset] = []
        for rows in _read_verified(store, manifest, entry, memory, turn):
            write(first, rows)
            parts.append(rows)
            first += len(rows.labels)
        return parts

    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="shards-ahead") as pool:
        pending: deque[Future[list[Dataset]]] = deque()
        try:
            for index, entry in enumerate(entries):
                begun = index + len(pending)
                for following in range(begun, min(len(entries), index + len(buffers))):
                    pending.append(pool.submit(read, following))
                yield entry, pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _read_verified(
    store: Store, manifest: Manifest, entry: ShardEntry, memory: memoryview, turn: Semaphore
) -> Iterator[Dataset]:
    """Fetch a shard and verify its bytes, a few times where they differ; return its rows."""
    for _ in range(_AGAIN):
        with turn:
            _fetch(store, manifest, entry, memory)
        try:
            return read_shard(memory, manifest, entry)
        except WrongBytes as error:
            _log.warning("%s; it is read again: it may have changed on the way", error)
    with turn:
        _fetch(store, manifest, entry, memory)
    return read_shard(memory, manifest, entry)


def _fetch(store: Store, manifest: Manifest, entry: ShardEntry, memory: memoryview) -> None:
    key = shard_key(manifest.name, entry.sha256)
    try:
        store.read_into(key, memory)
    except NotFound as error:
        raise NotFound(
            f"shard {key} of dataset {manifest.name}@{manifest.digest} is missing from "
            f"{store.url}: stage the dataset again"
        ) from error
    except Corrupt as error:
        raise Corrupt(f"{error}; stage the dataset again") from error
