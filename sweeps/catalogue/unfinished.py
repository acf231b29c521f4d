"""What interrupted writers left in a store: no reader sees it, and the store keeps its bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cluster.errors import ClusterError, Unavailable
from cluster.stores.base import Store, Unfinished


@dataclass(frozen=True)
class UnfinishedWrite:
    """An upload in parts that was not completed, or a folder's temporary file.

    Attributes:
        source: What the store lists.
        size_bytes: What it takes; None where the keys may not know.
    """

    source: Unfinished
    size_bytes: int | None

    @property
    def key(self) -> str:
        """The object's key, see `cluster.stores.base.Unfinished`."""
        return self.source.key


@dataclass(frozen=True)
class UnfinishedWrites:
    """All of them, the oldest first.

    Attributes:
        writes: What is there; one that began lately may still be written.
        problem: Why the store does not list them; empty where it does.
    """

    writes: Sequence[UnfinishedWrite] = ()
    problem: str = ""

    @property
    def size_bytes(self) -> int:
        """What they take together, as far as that is known."""
        return sum(each.size_bytes or 0 for each in self.writes)


def find_unfinished(store: Store, older_than_s: float = 0.0) -> UnfinishedWrites:
    """List what is unfinished in a store, with what it takes.

    Args:
        store: The store.
        older_than_s: Age from which on it is listed, seconds.

    Raises:
        Unavailable: the store is away.
    """
    try:
        sources = [each for each in store.list_unfinished("") if each.age_s >= older_than_s]
    except Unavailable:
        raise
    except ClusterError as error:  # no right to, or a server without such a list
        return UnfinishedWrites(problem=str(error))
    writes = [UnfinishedWrite(each, _measure(store, each)) for each in sources]
    return UnfinishedWrites(sorted(writes, key=lambda each: (-each.source.age_s, each.key)))


def _measure(store: Store, unfinished: Unfinished) -> int | None:
    try:
        return store.measure_unfinished(unfinished)
    except Unavailable:
        raise
    except ClusterError:
        return None
