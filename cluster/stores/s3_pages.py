"""Pages of a list of S3: the objects on them, until the server says that there are no more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from cluster.common.wording import count_of
from cluster.errors import ClusterError
from cluster.stores.base import StoredObject, is_key


def read_pages(
    read_page: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    query: Mapping[str, Any],
    where: str,
) -> Iterator[Mapping[str, Any]]:
    """Yield the entries of all pages.

    Args:
        read_page: Takes a query with the token of the page before, and returns a page.
        query: Of the first page.
        where: What cannot be done where a page is wrong, for the message.

    Raises:
        ClusterError: the server says that there are more and cannot go on.
    """
    token, tokens, names = "", set[str](), set[str]()
    while True:
        page = read_page({**query, **({"ContinuationToken": token} if token else {})})
        for entry in page.get("Contents", ()):
            names.add(entry["Key"])
            yield entry
        if not page["IsTruncated"]:
            return
        token = page.get("NextContinuationToken", "")
        if not token or token in tokens:  # else the list would be short, or never end
            raise ClusterError(
                f"{where}: the server ends its list after {count_of(len(names), 'key')}, says that "
                "there are more and gives no (new) token to go on with: use a server with "
                "ListObjectsV2, or a folder as the store"
            )
        tokens.add(token)


def describe(key: str, entry: Mapping[str, Any]) -> StoredObject:
    """Describe an object of a list, or of an answer to a get; a server may leave fields out."""
    when = entry.get("LastModified")
    tag = entry.get("ETag", "").strip('"')
    return StoredObject(key, entry.get("Size", 0), tag, when.timestamp() if when else 0.0)


def list_objects(
    entries: Iterable[Mapping[str, Any]], start: str, prefix: str
) -> list[StoredObject]:
    """Return the objects of a list's entries, ascending by code point of the key.

    Sorted here, since servers that keep folders (SeaweedFS) list `a/b` before `a.b`.

    Args:
        entries: Of all pages.
        start: What names begin with; others, which some servers list, are left out.
        prefix: The store's own, without which keys are.
    """
    items = {}
    for entry in entries:
        key = entry["Key"].removeprefix(prefix)
        if entry["Key"].startswith(start) and is_key(key):
            items[key] = describe(key, entry)
    return [items[key] for key in sorted(items)]
