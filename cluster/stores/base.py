"""The Store protocol: an S3 bucket or a folder behind the same fourteen verbs.

Keys are `/`-separated relative paths such as `results/trials/3f2a91c04b7e0d55.parquet`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from cluster.errors import ClusterError, Corrupt, Unavailable

_log = logging.getLogger(__name__)
_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=@+-]{0,199}")
_USER_INFO = re.compile(r"[A-Za-z0-9+.-]+://[^/]*[@:]")
_LONGEST = 800  # S3 ends at 1024 bytes, of which a store's own prefix takes some


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as a store lists it, without its bytes.

    Attributes:
        key: Its key.
        size_bytes: Its size.
        tag: Another one whenever other bytes are written: S3's ETag, or a file's inode and time.
            Empty where the server tells none, so that nothing can be known of the object's bytes.
        modified: When it was written, seconds since 1970-01-01 UTC.
    """

    key: str
    size_bytes: int
    tag: str
    modified: float


@dataclass(frozen=True)
class Unfinished:
    """What a put or an upload that was interrupted, or still runs, has left in a store.

    Attributes:
        key: The object's; of a folder's temporary file, whose object it does not know, a name
            below the same prefix.
        age_s: Seconds since it was begun, or last written to.
        token: What the store knows it by.
    """

    key: str
    age_s: float
    token: str

    def below(self, prefix: str) -> Unfinished:
        """Return it under the key that its object has in a store with a prefix of its own."""
        return replace(self, key=self.key.removeprefix(prefix))


class Store(Protocol):
    """Bytes under keys. Every method may raise Denied or Unavailable.

    A put is atomic: a reader sees the old object, the new one, or none, never a part.
    Implementations are safe to use from several threads and processes at once.
    """

    @property
    def url(self) -> str:
        """What `open_store` was given, e.g. `s3://bucket/prefix` or an absolute folder path."""
        ...

    def get(self, key: str) -> bytes:
        """Return the whole object; raises NotFound."""
        ...

    def read(self, key: str) -> tuple[bytes, StoredObject]:
        """Return the whole object and how the store lists these bytes; raises NotFound.

        Faster than `get` for small objects; it may leave checks of a server's checksums out, so the
        bytes are to be compared with a hash, and the time of their writing, which is then 0.
        """
        ...

    def read_into(self, key: str, memory: memoryview) -> None:
        """Fill memory with an object that has as many bytes; a large one in parts at once.

        Raises:
            NotFound: it is not there.
            Corrupt: it has another number of bytes.
        """
        ...

    def put(self, key: str, data: bytes | memoryview) -> None:
        """Write or replace an object, atomically; `data` is not copied as a whole."""
        ...

    def create(self, key: str, data: bytes) -> None:
        """Write an object only where there is none; raises AlreadyExists.

        A retried request may lose against its own first try: a caller that must know compares
        what is stored with what it wrote.
        """
        ...

    def download(self, key: str, path: Path) -> None:
        """Stream an object into a local file, replaced at the end; raises NotFound.

        What goes wrong with the local file (disk full, no such folder) stays an OSError.
        """
        ...

    def upload(self, path: Path, key: str) -> None:
        """Stream a local file into an object, atomically; OSError where it cannot be read."""
        ...

    def list(self, prefix: str) -> Iterator[str]:
        """Keys that start with `prefix`, ascending by code point."""
        ...

    def scan(self, prefix: str) -> Iterator[StoredObject]:
        """Objects whose keys start with `prefix`, ascending by code point of the key."""
        ...

    def exists(self, key: str) -> bool:
        """Return whether the key holds an object."""
        ...

    def delete(self, key: str) -> bool:
        """Remove an object; a missing one is fine.

        Returns:
            False where the store refuses, which is logged once: no run depends on it.
        """
        ...

    def list_unfinished(self, prefix: str) -> Iterator[Unfinished]:
        """What is unfinished of keys that start with `prefix`; no reader ever sees it."""
        ...

    def measure_unfinished(self, unfinished: Unfinished) -> int:
        """Return the bytes that it takes in the store; 0 where it is gone by now."""
        ...

    def discard(self, unfinished: Unfinished) -> None:
        """Remove what is unfinished. A writer of it that is still alive begins again, or fails."""
        ...


def discard_unfinished(store: Store, prefix: str, older_than_s: float) -> int:
    """Remove what interrupted writers left below a prefix.

    Args:
        store: The store.
        prefix: Of keys.
        older_than_s: Age from which no writer is still alive, seconds.

    Returns:
        How many were removed: none where keys may not do that, or the server cannot.

    Raises:
        Unavailable: the store is away.
    """
    count = 0
    try:
        for unfinished in store.list_unfinished(prefix):
            if unfinished.age_s >= older_than_s:
                store.discard(unfinished)
                count += 1
    except Unavailable:
        raise
    except ClusterError as error:  # nothing depends on it
        _log.info("%s; what interrupted writers left there stays", error)
    return count


def other_size(where: str, size: int, expected: int) -> Corrupt:
    """Return the error of an object that has another size than it should have."""
    return Corrupt(f"cannot {where}: it has {size} bytes; expected {expected}: it is damaged")


def check_key(key: str) -> str:
    """Return the key, or raise ClusterError where a segment could leave the store or confuse it."""
    if not is_key(key):
        raise ClusterError(
            f"bad store key {key!r}: expected '/'-separated names of letters, digits and ._=@+- "
            f"that start with a letter or digit, at most {_LONGEST} characters"
        )
    return key


def check_prefix(prefix: str) -> str:
    """Return what `list` takes (empty, the start of a key, or a key and '/'), or raise as above."""
    if prefix:
        check_key(prefix.removesuffix("/"))
    return prefix


def is_key(text: str) -> bool:
    """Return whether a store may hold an object of this name."""
    return len(text) <= _LONGEST and all(_SEGMENT.fullmatch(part) for part in text.split("/"))


def check_url(url: str) -> str:
    """Return a store's URL, or raise ClusterError where it holds keys; they are not repeated."""
    if _USER_INFO.match(url):
        raise ClusterError(
            "a store's URL must not hold keys or an address, since it is stored with every sweep: "
            "expected s3://BUCKET or s3://BUCKET/PREFIX; set AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL_S3"
        )
    return url
