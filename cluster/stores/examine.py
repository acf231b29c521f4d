"""What a store can and what it lacks, each tried with real bytes: for people, not for a run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cluster.errors import ClusterError, Denied, NotFound, Unavailable
from cluster.stores.base import Store
from cluster.stores.probe import PROBES, check_bytes, check_conditions

_PAGES = (f"{PROBES}page-1", f"{PROBES}page-2")
_PARTS = f"{PROBES}parts"
_CONTENT = bytes(range(200))


@dataclass(frozen=True)
class Ability:
    """Something that was tried on a store.

    Attributes:
        name: What.
        works: Whether the store can do it.
        needed: Whether a run needs it.
        detail: Why it does not work, with what to do; empty where it does.
    """

    name: str
    works: bool
    needed: bool = True
    detail: str = ""


def _no_cure(error: ClusterError) -> str:
    return ""


def examine_store(store: Store) -> tuple[Ability, ...]:
    """Try everything that this project does with a store.

    Raises:
        NotFound, Unavailable: the bucket or folder is missing or out of reach.
    """
    small: Store = store
    measure_cure: Callable[[ClusterError], str] = _no_cure
    if store.url.startswith("s3://"):
        from cluster.stores.s3 import S3Store  # boto3 takes 0.3 s to import; a folder needs none

        if isinstance(store, S3Store):
            small, measure_cure = store.in_small_parts(), store.measure_cure
    elif not Path(store.url).is_dir():
        raise NotFound(f"no folder {store.url}: expected a store that was written to before")
    name = "returns the bytes that it is given"
    bytes_return = _try(name, lambda: check_bytes(store), measure_cure)
    if not bytes_return.works:
        return bytes_return, _try("lists keys", lambda: list(store.list(PROBES)))
    deletes = store.delete(f"{PROBES}put")
    detail = "" if deletes else "not needed: what a run no longer needs stays in the store"
    return (
        bytes_return,
        _try("honours conditional puts", lambda: check_conditions(store, deletes=deletes)),
        _try("lists keys, in pages", lambda: _check_pages(small)),
        _try("moves large objects in parts", lambda: _check_parts(small), reached=True),
        Ability("deletes", deletes, needed=False, detail=detail),
    )


def _try(
    name: str,
    step: Callable[[], object],
    measure_cure: Callable[[ClusterError], str] = _no_cure,
    *,
    reached: bool = False,
) -> Ability:
    """Try one step; with `reached`, a store that is away for this step alone lacks it."""
    try:
        step()
    except (NotFound, Unavailable) as error:
        if reached and isinstance(error, Unavailable):
            return Ability(name, works=False, detail=str(error))
        raise
    except Denied as error:
        return Ability(name, works=False, detail=str(error))
    except ClusterError as error:
        return Ability(name, works=False, detail=f"{error}{measure_cure(error)}")
    return Ability(name, works=True)


def _check_pages(store: Store) -> None:
    """List two keys; an S3 store that lists a key a page needs two of them."""
    try:
        for key in _PAGES:
            store.put(key, _CONTENT)
        keys = tuple(store.list(_PAGES[0][:-1]))
        if keys != _PAGES:
            raise ClusterError(f"{store.url} lists {list(keys)}; expected {list(_PAGES)}")
    finally:
        for key in _PAGES:
            store.delete(key)


def _check_parts(store: Store) -> None:
    """Upload a file and download it; an S3 store that is made for it does so in parts."""
    with tempfile.TemporaryDirectory(prefix="examine-") as folder:
        source, copy = Path(folder) / "source", Path(folder) / "copy"
        source.write_bytes(_CONTENT)
        try:
            store.upload(source, _PARTS)
            store.download(_PARTS, copy)
        finally:
            store.delete(_PARTS)
        if copy.read_bytes() != _CONTENT:
            raise ClusterError(f"{store.url} returns other bytes than were uploaded in parts")
