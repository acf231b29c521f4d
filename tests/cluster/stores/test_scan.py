"""What a store lists beside keys: sizes, times, and tags that tell bytes apart."""

from __future__ import annotations

import time

import pytest

from cluster.errors import NotFound
from cluster.stores.base import Store


def test_a_scan_tells_bytes_apart(store: Store) -> None:
    """Sizes and times are the objects'; a tag changes with the bytes, and is that of a read."""
    before = time.time()
    store.put("a/b", b"one")
    store.put("a.b", b"other")
    store.put("c", b"")
    first = list(store.scan("a"))
    assert [item.key for item in first] == list(store.list("a")) == ["a.b", "a/b"]
    assert [item.size_bytes for item in first] == [5, 3]
    assert all(abs(item.modified - before) < 3600 for item in first)
    assert len({item.tag for item in store.scan("")} - {""}) == 3
    data, item = store.read("a/b")
    assert (data, item.key, item.size_bytes, item.tag) == (b"one", "a/b", 3, first[1].tag)
    store.put("a/b", b"two")
    [_, second] = store.scan("a")
    assert second.size_bytes == 3
    assert second.tag != first[1].tag
    assert store.read("a/b")[1].tag == second.tag
    with pytest.raises(NotFound, match="no/such"):
        store.read("no/such")
