"""Checksums of cached files: recorded when the cache is filled, verified once per file identity.

A file's identity is its inode, size, and times of modification and of change. `verified.json`
next to the files says which identity had which SHA-256, so that a large dataset is hashed once a
node and not once a worker. A change of permissions or of links moves the time of change: such a
file is hashed again and stays. Permissions alone protect nothing, since root ignores them.

What was verified counts until the machine boots again. So nothing waits for a disk: what a power
cut took from a file that was not yet written is found by its checksum afterwards.

A file system keeps times in ticks of 4 ms to 2 s. A file that changes twice within a tick keeps
its identity, so a file is hashed only once its last tick is over by the file system's own clock;
where that does not come, the result is not recorded.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from cluster.common.atomic import sync, write_atomic
from cluster.errors import Corrupt

RECORD: Final = "verified.json"
_LONGEST_TICK_S: Final = 2.5
"""FAT keeps times of modification in steps of two seconds; nothing in use is coarser."""
_POLL_S: Final = 0.002
_BOOT = Path("/proc/sys/kernel/random/boot_id")

Identity = tuple[int, int, int, int]
"""Inode, size in bytes, times of modification and of change in ns."""
Verified = dict[str, tuple[str, Identity]]
"""SHA-256 and identity by file name."""

_here: dict[Path, Verified] = {}
"""What this process verified, for a folder of another user, who alone may record it."""
_log = logging.getLogger(__name__)


def identify(file: BufferedReader | Path) -> Identity:
    """Return a file's identity; raises OSError where a path leads nowhere."""
    stat = os.fstat(file.fileno()) if not isinstance(file, Path) else file.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def boot_id() -> str:
    """Return what names this boot of the machine; empty where nothing does (not Linux)."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""


def settle_on_disk(path: Path) -> None:
    """Write a file or a folder's entries to disk where a record may outlive the machine's boot."""
    if not boot_id():
        sync(path)


def protect(path: Path) -> None:
    """Take the rights to write from a file that is complete."""
    path.chmod(path.stat().st_mode & 0o444)


def hash_new_files(
    folder: Path, names: list[str], known: Mapping[str, str] = MappingProxyType({})
) -> dict[str, dict[str, int | str]]:
    """Hash files that were just written, and record them as verified.

    Args:
        folder: Where they are.
        names: Of the files.
        known: The SHA-256 of those that were hashed as they were written, from verified memory.

    Returns:
        By name the `size` in bytes and the `sha256`, for the index.

    Raises:
        Corrupt: a file changed meanwhile.
        OSError: a file cannot be read.
    """
    verified: Verified = {}
    entries: dict[str, dict[str, int | str]] = {}
    for name in names:
        with (folder / name).open("rb") as file:
            sha256, identity, is_settled = _hash(file, folder / name, known.get(name))
        entries[name] = {"size": identity[1], "sha256": sha256}
        if is_settled:
            verified[name] = (sha256, identity)
    _add_to_record(folder, verified)
    return entries


def verify_files(
    folder: Path, files: Mapping[str, BufferedReader], entries: Mapping[str, Mapping[str, Any]]
) -> dict[str, Identity]:
    """Hash those of a folder's open files whose identity is not recorded as verified.

    The caller holds the folder's lock, so that of several workers one hashes and the others read
    its record.

    Args:
        folder: The cached dataset.
        files: Its files by name, open for reading.
        entries: `size` and `sha256` of each, from the index.

    Returns:
        The identity of each file.

    Raises:
        Corrupt: a file's size or SHA-256 differs; names the file, what it has and should have.
        KeyError, TypeError: `entries` lacks a file.
    """
    verified, identities = _read_record(folder) | _here.get(folder, {}), {}
    current: Verified = {}
    hashed = 0
    for name, file in files.items():
        size, expected = entries[name]["size"], entries[name]["sha256"]
        identity, is_settled = identify(file), True
        if identity[1] != size:
            raise Corrupt(f"cached file {folder / name} has {identity[1]} bytes; expected {size}")
        if verified.get(name) != (expected, identity):
            _log.info("verifying cached file %s (%d bytes)", folder / name, size)
            sha256, identity, is_settled = _hash(file, folder / name)
            hashed += 1
            if sha256 != expected:
                raise Corrupt(
                    f"cached file {folder / name} is damaged: it has SHA-256 {sha256}; "
                    f"expected {expected}"
                )
        identities[name] = identity
        if is_settled:
            current[name] = (expected, identity)
    if hashed:
        _add_to_record(folder, current)
    return identities


def _hash(file: BufferedReader, path: Path, known: str | None = None) -> tuple[str, Identity, bool]:
    """Return SHA-256, identity, and whether a later change is certain to have another identity."""
    identity = identify(file)
    is_settled = _outlast_tick(path.parent.parent, identity[3])
    file.seek(0)
    sha256 = known or hashlib.file_digest(file, "sha256").hexdigest()
    if identify(file) != identity:
        raise Corrupt(f"cached file {path} changed while it was verified")
    return sha256, identity, is_settled


def _outlast_tick(cache_dir: Path, changed_ns: int) -> bool:
    """Wait until the file system gives a later time than `changed_ns`; return whether it does.

    Asks the file system and not this machine's clock, since a server may keep another time.
    """
    probe = cache_dir / f".{uuid.uuid4().hex}.tmp"
    deadline = time.monotonic() + _LONGEST_TICK_S
    try:
        while True:
            probe.touch()
            if probe.stat().st_ctime_ns > changed_ns:
                return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_S)
    except OSError:
        return False
    finally:
        with suppress(OSError):
            probe.unlink()


def _read_record(folder: Path) -> Verified:
    """Read what was verified; a damaged record is as good as none."""
    try:
        stored = json.loads((folder / RECORD).read_bytes())
        if stored["boot"] != boot_id():
            return {}
        return {
            str(name): (sha256, (inode, size, modified, changed))
            for name, (sha256, (inode, size, modified, changed)) in stored["files"].items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}


def _add_to_record(folder: Path, verified: Verified) -> None:
    """Record what was verified; where the folder is another user's, for this process alone.

    The caller holds the folder's lock.
    """
    everything = _read_record(folder) | _here.get(folder, {}) | verified
    try:
        stored = {"boot": boot_id(), "files": everything}
        write_atomic(folder / RECORD, json.dumps(stored).encode(), mode=0o644)
        _here.pop(folder, None)
    except OSError as error:
        _log.info("cannot record in %s what was verified: %s", folder, error)
        _here[folder] = everything
