"""A store in a folder: a laptop's disk, or a network file system with hard links."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from cluster.common.atomic import TEMPORARY, make_folder_durable, open_atomic
from cluster.errors import AlreadyExists, ClusterError, Denied, NotFound, Unavailable
from cluster.stores.base import (
    StoredObject,
    Unfinished,
    check_key,
    check_prefix,
    is_key,
    other_size,
)

_log = logging.getLogger(__name__)
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_HARD_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV}
_LOCAL = _ABSENT | _DENIED | {errno.ENOSPC, errno.EDQUOT, errno.EEXIST}


class FolderStore:
    """Objects as plain files below one folder, which the first write makes.

    A write goes to a hidden temporary file beside its target and is synced to disk before it is
    renamed or linked into place. Hidden files are not keys, so what a killed writer left is not
    listed.
    """

    def __init__(self, folder: Path) -> None:
        """Use `folder`, absolute or relative to here; ClusterError where it is a file."""
        self._root = Path(os.path.abspath(folder.expanduser()))
        with self._reading("."):
            if self._root.exists() and not self._root.is_dir():
                raise ClusterError(f"store '{self._root}' is a file: give a folder")

    @property
    def url(self) -> str:
        """The folder's absolute path."""
        return str(self._root)

    def get(self, key: str) -> bytes:
        """Return the whole object; raises NotFound."""
        return self.read(key)[0]

    def read(self, key: str) -> tuple[bytes, StoredObject]:
        """Return the whole object and how it was listed at that time; raises NotFound."""
        with self._reading(key), self._path(key).open("rb") as file:
            data = file.read()
            return data, _describe(key, os.fstat(file.fileno()))

    def read_into(self, key: str, memory: memoryview) -> None:
        """Fill memory with an object of its size; raises NotFound and Corrupt."""
        with self._reading(key), self._path(key).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size != len(memory) or file.readinto(memory) != size:
                raise other_size(f"read '{key}' in {self.url}", size, len(memory))

    def put(self, key: str, data: bytes | memoryview) -> None:
        """Write or replace an object, atomically."""
        with self._writing(key), self._open_new(key) as file:
            file.write(data)

    def create(self, key: str, data: bytes) -> None:
        """Write an object only where there is none; raises AlreadyExists."""
        with self._writing(key):
            path = self._path(key)
            make_folder_durable(path.parent)
            try:
                with open_atomic(path, durable=True, exclusive=True) as file:
                    file.write(data)
            except FileExistsError:
                raise AlreadyExists(f"'{key}' in {self.url} was written before") from None
            except OSError as error:
                is_link_error = error.filename2 is not None  # opening has one file name
                if is_link_error and error.errno in _NO_HARD_LINKS:
                    raise ClusterError(
                        f"the file system of {self.url} has no hard links ({error.strerror}), and "
                        "no result can be committed there: use another disk or an S3 store"
                    ) from error
                raise

    def download(self, key: str, path: Path) -> None:
        """Copy an object to a local file; raises NotFound, and OSError for the local file."""
        with self._reading(key):
            source = self._path(key).open("rb")
        with source, open_atomic(path) as file:
            try:
                shutil.copyfileobj(source, file, 1 << 20)
            except OSError as error:
                if error.errno in _LOCAL:
                    raise
                raise self._unavailable(key, "read", error) from error

    def upload(self, path: Path, key: str) -> None:
        """Copy a local file into an object, atomically; raises OSError where it cannot be read."""
        with path.open("rb") as source, self._writing(key), self._open_new(key) as file:
            shutil.copyfileobj(source, file, 1 << 20)

    def list(self, prefix: str) -> Iterator[str]:
        """Keys that start with `prefix`, ascending by code point."""
        parent = check_prefix(prefix).rpartition("/")[0]
        top = self._root / parent
        with self._reading(prefix):
            keys = _keys_below(top, f"{parent}/" if parent else "") if top.is_dir() else []
        return iter(sorted(key for key in keys if key.startswith(prefix)))

    def scan(self, prefix: str) -> Iterator[StoredObject]:
        """Objects whose keys start with `prefix`, ascending by code point of the key."""
        objects, root = [], os.fspath(self._root)
        for key in self.list(prefix):
            try:
                objects.append(_describe(key, os.stat(f"{root}/{key}")))
            except OSError as error:  # removed since it was listed
                if error.errno not in _ABSENT:
                    raise self._unavailable(key, "read", error) from error
        return iter(objects)

    def exists(self, key: str) -> bool:
        """Return whether the key holds an object."""
        with self._reading(key):
            return self._path(key).is_file()

    def delete(self, key: str) -> bool:
        """Remove an object; a missing one is fine. False where this user may not."""
        with self._writing(key):
            try:
                self._path(key).unlink()
            except OSError as error:
                if error.errno in _DENIED:
                    _log.warning("%s; it stays", self._denied(key, "remove", error))
                    return False
                if error.errno not in _ABSENT:
                    raise
        return True

    def list_unfinished(self, prefix: str) -> Iterator[Unfinished]:
        """Temporary files, see `Store`; their names do not say of which object they are."""
        parent = check_prefix(prefix).rpartition("/")[0]
        now = time.time()
        for path in sorted((self._root / parent).rglob(f".*{TEMPORARY}")):
            key = path.relative_to(self._root).as_posix().replace("/.", "/").removeprefix(".")
            if key.startswith(prefix):
                with suppress(FileNotFoundError):  # its writer has ended
                    yield Unfinished(key, now - path.stat().st_mtime, str(path))

    def measure_unfinished(self, unfinished: Unfinished) -> int:
        """Size of a temporary file, see `Store`."""
        with suppress(FileNotFoundError):
            return Path(unfinished.token).stat().st_size
        return 0

    def discard(self, unfinished: Unfinished) -> None:
        """Remove a temporary file."""
        with self._writing(unfinished.key):
            Path(unfinished.token).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self._root / check_key(key)

    @contextmanager
    def _open_new(self, key: str) -> Iterator[BinaryIO]:
        """Open an object's file, which appears whole, and on disk, when the block ends."""
        path = self._path(key)
        make_folder_durable(path.parent)
        with open_atomic(path, durable=True) as file:
            yield file

    @contextmanager
    def _reading(self, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in _ABSENT:
                raise NotFound(f"no '{key}' in {self.url}") from error
            if error.errno in _DENIED:
                raise self._denied(key, "read", error) from error
            raise self._unavailable(key, "read", error) from error

    @contextmanager
    def _writing(self, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in _ABSENT | {errno.EEXIST}:
                raise Denied(
                    f"cannot write '{key}' in {self.url} ({error.strerror}): a file and a folder "
                    "cannot have one name: choose another key or remove what is in its place"
                ) from error
            if error.errno in _DENIED:
                raise self._denied(key, "write", error) from error
            raise self._unavailable(key, "write", error) from error

    def _denied(self, key: str, verb: str, error: OSError) -> Denied:
        return Denied(
            f"cannot {verb} '{key}' in {self.url}: {error.strerror}: give this user the folder's "
            f"{'read' if verb == 'read' else 'write'} permission, or choose another store"
        )

    def _unavailable(self, key: str, verb: str, error: OSError) -> Unavailable:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        remedy = "free some space" if full else "check the disk or the network file system"
        return Unavailable(
            f"cannot {verb} '{key}' in {self.url}: {error.strerror}: {remedy}, then start again"
        )


def _describe(key: str, status: os.stat_result) -> StoredObject:
    """Describe a file; a replaced one has another inode, as both exist when it is renamed."""
    tag = f"{status.st_ino:x}-{status.st_mtime_ns:x}"
    return StoredObject(key, status.st_size, tag, status.st_mtime)


def _keys_below(folder: Path, prefix: str) -> list[str]:
    """Return every key in a folder, in no order; a folder that vanishes meanwhile is empty."""
    keys: list[str] = []
    top = os.fspath(folder)
    for path, _, names in os.walk(top, onerror=_raise_unless_absent):
        start = prefix if path == top else f"{prefix}{path[len(top) :].lstrip('/')}/"
        keys += [start + name for name in names if is_key(start + name)]
    return keys


def _raise_unless_absent(error: OSError) -> None:
    if error.errno not in _ABSENT:
        raise error
