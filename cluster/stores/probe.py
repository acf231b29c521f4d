"""Readiness by bytes: what a store was given comes back, and conditional puts are honoured.

A status of 200 proves nothing: login pages, proxies and servers that do not know a header answer
so. Objects of the probe are in `probe/`. They are removed again; where deletes are refused the same
two are used each time, so that they do not add up.
"""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from cluster.errors import AlreadyExists, ClusterError, Denied, NotFound, Unavailable
from cluster.stores.base import Store

PROBES = "probe/"
_PLAIN, _CREATED = f"{PROBES}put", f"{PROBES}create"
_MARK = b"sweeps probe\r\n\0\xff"
_RANDOM_BYTES = 64
_TRIES = 5
_PAUSE_S = 0.05
_REMEDY = (
    "so results there could overwrite each other: use a server that honours them, or a folder as "
    "the store"
)


@dataclass(frozen=True)
class Probe:
    """What keys and server allow: to write at all, and to delete."""

    writes: bool
    deletes: bool


def probe_store(
    store: Store, measure_cure: Callable[[ClusterError], str] = lambda error: ""
) -> Probe:
    """Store an object and read it back, then try whether the second of two conditional puts fails.

    Keys that may only read pass, for `report` needs no more.

    Args:
        store: The store.
        measure_cure: Returns what to add to the message where bytes do not come back.

    Raises:
        ClusterError: the store returns other bytes, refuses the request for what it holds, or has
            no conditional puts.
        Denied, NotFound, Unavailable: from the store.
    """
    try:
        check_bytes(store)
    except Denied:
        if not _can_list(store):
            raise
        return Probe(writes=False, deletes=False)
    except (NotFound, Unavailable):
        raise
    except ClusterError as error:
        raise ClusterError(f"{error}{measure_cure(error)}") from error
    deletes = store.delete(_PLAIN)
    check_conditions(store, deletes=deletes)
    return Probe(writes=True, deletes=deletes)


def check_bytes(store: Store) -> None:
    """Store an object and read it back.

    Another process may do the same at this moment, under the same key: its object, which has a
    checksum in it, or none, is a reason to try again.

    Raises:
        ClusterError: other bytes come back.
        Denied, NotFound, Unavailable: from the store.
    """
    last = b""
    for attempt in range(_TRIES):
        body = _make_body()
        store.put(_PLAIN, body)
        try:
            answer = store.get(_PLAIN)
        except NotFound:
            answer = b""
        if answer == body:
            return
        if answer and not _is_body(answer):
            raise ClusterError(_describe(store, body, answer))
        if attempt and answer and answer != last:  # whole each time, of other processes
            return
        last = answer
        time.sleep(_PAUSE_S * 2**attempt)
    raise ClusterError(
        f"{_name(store)} answers a put with success, but does not return what was put"
    )


def check_conditions(store: Store, *, deletes: bool) -> None:
    """Create one object twice; the second time must fail and change nothing.

    Args:
        store: The store.
        deletes: Whether deletes are allowed; else an object of an earlier probe is proof, since
            only a conditional put that succeeded has made it.

    Raises:
        ClusterError: the server has no conditional puts, whatever it answers to them.
        Denied, Unavailable: from the store.
    """
    key = f"{PROBES}{uuid.uuid4().hex}" if deletes else _CREATED
    first, second = _make_body(), _make_body()
    try:
        if not _create(store, key, first):
            stored = _get(store, key)
            if not deletes and stored is not None and _is_body(stored):
                return
            if stored != first:  # else it is ours, put by a try whose answer was lost
                raise _lack(store, "it refuses the first put of a key, too")
        if _create(store, key, second):
            raise ClusterError(
                f"{_name(store)} ignores conditional puts (If-None-Match): it lets the second "
                f"one of a key pass, {_REMEDY}"
            )
        if _get(store, key) != first:
            raise _lack(store, "it refuses the second put of a key, but does not keep the first")
    finally:
        if deletes:
            store.delete(key)


def _create(store: Store, key: str, body: bytes) -> bool:
    """Return whether a conditional put succeeded."""
    try:
        store.create(key, body)
    except AlreadyExists:
        return False
    except (Denied, NotFound, Unavailable):
        raise
    except ClusterError as error:
        raise _lack(store, str(error)) from error
    return True


def _lack(store: Store, why: str) -> ClusterError:
    return ClusterError(f"{_name(store)} has no conditional puts (If-None-Match): {why}; {_REMEDY}")


def _name(store: Store) -> str:
    endpoint = getattr(store, "endpoint", None)
    return f"the store {store.url}" if endpoint is None else f"the S3 server at {endpoint}"


def _get(store: Store, key: str) -> bytes | None:
    try:
        return store.get(key)
    except NotFound:
        return None


def _can_list(store: Store) -> bool:
    try:
        next(store.list(PROBES), None)
    except (Denied, NotFound):
        return False
    return True


def _make_body() -> bytes:
    """Bytes that no earlier probe has stored, with a checksum at their end."""
    content = _MARK + os.urandom(_RANDOM_BYTES)
    return content + hashlib.sha256(content).digest()


def _is_body(data: bytes) -> bool:
    """Return whether data is what some probe has stored."""
    content, digest = data[:-32], data[-32:]
    return content.startswith(_MARK) and hashlib.sha256(content).digest() == digest


def _describe(store: Store, body: bytes, answer: bytes) -> str:
    if body in answer:
        how = f"with {len(answer) - len(body)} more around them, so it stores how they were sent"
    else:
        how = f"but {len(answer)} others, which begin with {answer[:40]!r}"
    return f"{_name(store)} does not return the {len(body)} bytes that it was given, {how}"
