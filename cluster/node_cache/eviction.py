"""Locks of the node cache, and the space it takes: left-overs, eviction, a full disk.

Two kinds of lock: `<dataset>.lock` is held by whoever fetches or removes a dataset; a shared
lock on each mapped array is held by its readers, so that nobody evicts what is in use. Lock files
are never removed: two processes could then hold "the same" lock.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from cluster.common.locks import FileLock, try_lock
from cluster.errors import ClusterError, Denied, Unavailable

CACHE_VERSION: Final = 3
"""Names the folders, so that a cache of another layout is never read; it is evicted when unused.

1 held a byte per pixel of a mask, 2 packed bits without checksums, 3 has a SHA-256 of each file.
"""
_TEMPORARY: Final = ".tmp"
_FOLDER = re.compile(r"v\d+-[0-9a-f]{64}")
_QUIET_SECONDS: Final = 1.0
_REMIND_SECONDS: Final = 60.0
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([KMGT])(I?)B?|B)?")
_POWERS: Final = {"K": 1, "M": 2, "G": 3, "T": 4}
LIMIT_VARIABLE: Final = "SWEEPS_CACHE_MAX"
"""The most that a node's cache may take, such as 200GiB; unset, only the disk limits it."""
_log = logging.getLogger(__name__)


class DiskFull(Unavailable):
    """The node's disk, or the limit set for its cache, has no room; another node may have."""


def dataset_folder(cache_dir: Path, content_digest: str) -> Path:
    """Return where a dataset is cached; equal content is cached once whatever it is called."""
    return cache_dir / f"v{CACHE_VERSION}-{content_digest}"


def temporary_folder(folder: Path) -> Path:
    """Return where a dataset is built before it is renamed to `folder`."""
    return folder.with_name(folder.name + _TEMPORARY)


@contextmanager
def held_lock(folder: Path, what: str, wait_seconds: float) -> Iterator[None]:
    """Hold the lock of a dataset's folder; a long wait for its holder is logged, once a minute.

    Raises:
        Unavailable: the holder kept it for more than `wait_seconds`.
        Denied: the lock file cannot be opened.
    """
    path = _lock_path(folder)
    with _open_lock(path) as lock:
        started = time.monotonic()
        step = min(_QUIET_SECONDS, wait_seconds)
        while not lock.acquire(step):
            waited = time.monotonic() - started
            if waited >= wait_seconds:
                raise Unavailable(
                    f"{what}: timed out after {wait_seconds:.0f} s waiting for lock {path}: "
                    "another process holds it; if it hangs, stop it and retry"
                )
            _log.info("%s: waiting for another process (%.0f s)", what, waited)
            step = min(_REMIND_SECONDS, wait_seconds - waited)
        yield


def cache_limit() -> int | None:
    """Read the most bytes that this node's cache may take from the environment, None for no limit.

    Raises:
        ClusterError: SWEEPS_CACHE_MAX is not a size.
    """
    return read_size(LIMIT_VARIABLE)


def read_size(variable: str) -> int | None:
    """Read a number of bytes from the environment; None where the variable is not set.

    Raises:
        ClusterError: it is not a size.
    """
    text = os.environ.get(variable, "").strip()
    if not text:
        return None
    size = 0
    if match := _SIZE.fullmatch(text.upper()):
        number, letter, is_binary = match.groups()
        size = int(float(number) * (1024 if is_binary else 1000) ** _POWERS.get(letter, 0))
    if size < 1:
        raise ClusterError(
            f"{variable}={text!r}: expected a size above 0, such as 200GiB (of 2^30 bytes), "
            "50G (of 10^9 bytes) or a number of bytes; unset it for the default"
        )
    return size


@contextmanager
def make_room(folder: Path, needed: int, *, held: int = 0) -> Iterator[None]:
    """Evict what is not in use until `needed` bytes fit, and keep others from the room meanwhile.

    The caller reserves its files inside the block: fetches of several datasets are let in one by
    one, so they cannot all count on the same free bytes.

    Args:
        folder: The dataset that the room is for; it is not evicted.
        needed: Further bytes that it needs.
        held: Bytes that it has already.

    Raises:
        DiskFull: they do not fit.
        ClusterError: SWEEPS_CACHE_MAX is not a size.
    """
    cache_dir, max_bytes = folder.parent, cache_limit()
    with held_lock(cache_dir / "room", f"room in cache {cache_dir}", wait_seconds=600):
        _remove_leftovers(cache_dir, folder)
        candidates = sorted(_find_other_datasets(cache_dir, folder), key=_last_opened)
        for other in candidates:
            if _shortage(folder, needed, held, max_bytes) is None:
                break
            _evict(other)
        shortage = _shortage(folder, needed, held, max_bytes)
        if shortage is not None:
            raise DiskFull(shortage)
        yield


@contextmanager
def disk_errors(cache_dir: Path, needed: int) -> Iterator[None]:
    """Turn "no space left" from any depth, a store's download included, into DiskFull."""
    try:
        yield
    except Exception as error:
        if not _out_of_space(error):
            raise
        free = shutil.disk_usage(cache_dir).free
        raise DiskFull(
            f"the disk of cache folder {cache_dir} ran full: {needed} bytes needed, {free} free; "
            "free some or use another folder"
        ) from error


def remove_folder(folder: Path) -> None:
    """Remove a folder of the cache, or what took its place; the caller holds its lock.

    Raises:
        Denied: it cannot be removed; names it.
    """
    try:
        if folder.is_dir() and not folder.is_symlink():
            with suppress(PermissionError):  # another user's, whose group may remove it
                folder.chmod(0o700)  # a folder that lost its permissions cannot be emptied
            shutil.rmtree(folder)
        else:
            folder.unlink(missing_ok=True)
    except OSError as error:
        raise Denied(
            f"cannot remove cached dataset {folder}: {error}; remove it, or use another cache "
            "folder"
        ) from error


def _shortage(folder: Path, needed: int, held: int, max_bytes: int | None) -> str | None:
    """Return why `needed` bytes do not fit now, or None."""
    cache_dir = folder.parent
    free = shutil.disk_usage(cache_dir).free
    if needed > free:
        return (
            f"the disk of cache folder {cache_dir} is full: {needed} bytes needed, {free} free; "
            "free some or use another folder"
        )
    used = (
        0
        if max_bytes is None
        else held + sum(map(folder_size, _find_other_datasets(cache_dir, folder, building=True)))
    )
    if max_bytes is not None and used + needed > max_bytes:
        return (
            f"cache folder {cache_dir} is limited to {max_bytes} bytes: {needed} needed, {used} "
            f"taken by datasets in use; raise {LIMIT_VARIABLE}"
        )
    return None


def _find_other_datasets(cache_dir: Path, folder: Path, *, building: bool = False) -> list[Path]:
    """Cached datasets other than `folder`, with those being built where asked."""
    folders = []
    for path in cache_dir.iterdir():
        name = path.name.removesuffix(_TEMPORARY) if building else path.name
        # Only what the cache made itself: the folder may hold other things.
        if _FOLDER.fullmatch(name) and name != folder.name and path.is_dir():
            folders.append(path)
    return folders


def _remove_leftovers(cache_dir: Path, folder: Path) -> None:
    """Remove what killed fetches of other datasets left."""
    for path in _find_other_datasets(cache_dir, folder, building=True):
        if path.name.endswith(_TEMPORARY):
            with _open_lock(_lock_path(path.with_suffix(""))) as lock:
                if lock.acquire():
                    remove_folder(path)


def _evict(folder: Path) -> None:
    """Remove a cached dataset unless it is being fetched or somebody has it open."""
    with ExitStack() as stack:
        lock = stack.enter_context(_open_lock(_lock_path(folder)))
        if not lock.acquire():
            return
        for path in folder.glob("*.npy"):
            if not _lock_alone(path, stack):
                return
        _log.info("evicting cached dataset %s", folder)
        remove_folder(folder)


def _lock_alone(path: Path, stack: ExitStack) -> bool:
    """Lock a data file for as long as the stack lives; return whether nobody else has it open.

    NFSv4 gives an exclusive lock to a file that is open for writing alone, and data files are
    read-only: the mode is changed only there, and put back where the file is in use.
    """
    try:
        return try_lock(stack.enter_context(path.open("rb")))
    except OSError as error:
        if error.errno != errno.EBADF:
            raise
    mode = path.stat().st_mode
    path.chmod(mode | stat.S_IWUSR)
    is_locked = try_lock(stack.enter_context(path.open("r+b")))
    if not is_locked:
        path.chmod(mode)
    return is_locked


def _last_opened(folder: Path) -> float:
    try:
        return (folder / "index.json").stat().st_mtime
    except FileNotFoundError:
        return 0.0


def folder_size(folder: Path) -> int:
    """Return the bytes of a folder's files; one that vanishes meanwhile counts as nothing."""
    total = 0
    for path in folder.glob("*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total


def _out_of_space(error: BaseException | None) -> bool:
    seen = 0
    while error is not None and seen < 20:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error, seen = error.__cause__ or error.__context__, seen + 1
    return False


def _lock_path(folder: Path) -> Path:
    return folder.with_name(folder.name + ".lock")


def _open_lock(path: Path) -> FileLock:
    try:
        return FileLock(path, mode=0o666)  # users may share a cache: their umasks decide
    except OSError as error:
        raise Denied(f"cannot open lock file {path} of the node cache: {error}") from error
