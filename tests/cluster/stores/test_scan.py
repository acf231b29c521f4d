"""What a store lists beside keys: sizes, times, and tags that tell bytes apart."""

from __future__ import annotations

import time

import pytest
from botocore.utils import parse_timestamp

from cluster.errors import NotFound
from cluster.stores.base import Store
from cluster.stores.s3_client import parse_time


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


@pytest.mark.parametrize(
    "text",
    [
        *("2026-11-30T20:23:15.000Z", "2026-11-30T20:23:15Z", "2026-11-30T20:23:15.123456+02:00"),
        *("Mon, 30 Nov 2026 20:23:15 GMT", "20261130T202315Z", "1764534195", 1764534195.5),
    ],
)
def test_times_are_those_of_botocore(text: str | float) -> None:
    """Also where a server writes them otherwise than ISO 8601."""
    assert parse_time(text).timestamp() == parse_timestamp(text).timestamp()


@pytest.mark.parametrize("text", ["yesterday", "2026-13-30T20:23:15Z", ""])
def test_what_is_no_time_is_refused_as_botocore_does(text: str) -> None:
    """The same kind of error."""
    with pytest.raises(ValueError, match=r"Invalid timestamp|Unknown|parse|month"):
        parse_timestamp(text)
    with pytest.raises(ValueError, match=r"Invalid timestamp|Unknown|parse|month"):
        parse_time(text)
