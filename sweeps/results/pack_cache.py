"""A local folder of packs and indexes: bounded, shared by processes, compared with hashes on use.

Files appear whole or not at all and are named by their SHA-256, which is computed again each time
that one is read: a file that was damaged is removed, and what was in it is read from the store.
Files that were not used for longest are removed where the folder grows over its limit. No process
holds a lock, since a file that is removed in use is simply read again.
"""

from __future__ import annotations

import logging
import os
import re
import tempfile
import time
import uuid
import weakref
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from shutil import rmtree
from typing import Final

from cluster.common.atomic import open_atomic
from sweeps.results.packs import digest

INDEX: Final = ".index"
PACK: Final = ".pack"
DEFAULT_LIMIT: Final = 8 << 30
"""Bytes that a cache takes at most unless it is told otherwise."""
_NAME: Final = re.compile(r"[0-9a-f]{64}\.(index|pack)")
_ABANDONED_S: Final = 3600.0
"""Age of a temporary file from which on its writer was killed."""
_SLACK: Final = 0.9
"""Share of the limit that is left when files were removed, so that not every write removes some."""
_log = logging.getLogger(__name__)


class PackCache:
    """Packs and indexes of one store on this machine.

    Attributes:
        folder: Where they are.
        limit_bytes: What they take at most.
    """

    def __init__(self, folder: Path, limit_bytes: int = DEFAULT_LIMIT) -> None:
        """Use a folder, which is made where it is missing; one that cannot be written is noted."""
        self.folder = folder
        self.limit_bytes = limit_bytes
        self._size: int | None = None
        self._kept: dict[str, bytes] = {}

    @classmethod
    def temporary(cls) -> PackCache:
        """Return a cache that goes with this object; its folder is made by the first pack."""
        folder = Path(tempfile.gettempdir()) / f"sweeps-results-{uuid.uuid4().hex}"
        cache = cls(folder)
        weakref.finalize(cache, rmtree, folder, ignore_errors=True)
        return cache

    def indexes(self) -> list[str]:
        """Return the names of all indexes that were written here, not those of the store."""
        names = [path.name.removesuffix(INDEX) for path in self._files() if path.suffix == INDEX]
        kept = [name.removesuffix(INDEX) for name in self._kept if name.endswith(INDEX)]
        return sorted({*names, *kept})

    def has(self, name: str) -> bool:
        """Return whether a pack is here; reading it may still find it damaged."""
        return name + PACK in self._kept or (self.folder / (name + PACK)).is_file()

    def get(self, name: str, kind: str = PACK) -> bytes | None:
        """Return a file's bytes, which have the hash that names them; None where it is not here."""
        if name + kind in self._kept:
            return self._kept[name + kind]
        path = self.folder / (name + kind)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        if digest(data) == name:
            with suppress(OSError):
                os.utime(path)
            return data
        _log.warning("%s is damaged: it is removed, and its rows are read from the store", path)
        with suppress(OSError):
            path.unlink()
        return None

    def put(self, data: bytes, kind: str = PACK) -> str:
        """Keep bytes and return their name; in this process alone where the disk takes no more."""
        name = digest(data)
        path = self.folder / (name + kind)
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._make_space(len(data))
            with open_atomic(path) as file:
                file.write(data)
        except OSError as error:
            if not self._kept:
                _log.warning("%s keeps no results (%s)", self.folder, error.strerror)
            self._kept[name + kind] = data
        return name

    def discard(self, name: str, kind: str = PACK) -> None:
        """Remove a file, here and in this process."""
        self._kept.pop(name + kind, None)
        with suppress(OSError):
            (self.folder / (name + kind)).unlink()

    def _make_space(self, size_bytes: int) -> None:
        """Remove the files that were not used for longest where the limit asks for it."""
        if self._size is None:
            self._remove_abandoned()
        if self._size is not None and self._size + size_bytes <= self.limit_bytes:
            self._size += size_bytes
            return
        stated = []
        for path in self._files():
            with suppress(OSError):
                status = path.stat()
                stated.append((status.st_mtime, path, status.st_size))
        total = sum(size for _, _, size in stated) + size_bytes
        if total > self.limit_bytes:
            for _, path, size in sorted(stated):
                if total <= self.limit_bytes * _SLACK:
                    break
                with suppress(OSError):
                    path.unlink()
                total -= size
        self._size = total

    def _remove_abandoned(self) -> None:
        for path in self.folder.glob(".*.tmp"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _ABANDONED_S:
                    path.unlink()

    def _files(self) -> Iterator[Path]:
        with suppress(OSError):
            yield from [path for path in self.folder.iterdir() if _NAME.fullmatch(path.name)]
