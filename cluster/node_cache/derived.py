"""Arrays that follow from a cached dataset: made by one process of a node, mapped by the others.

They lie in the dataset's folder, and go with it. Each has its SHA-256 in a file beside it and is
verified as the dataset's own files are; what is damaged is made again, and noted. A lock for each
name lets one process make it while others go on with the dataset.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.lib import format as npy
from numpy.typing import DTypeLike, NDArray

from cluster.common.atomic import write_atomic
from cluster.common.locks import lock_shared
from cluster.errors import Corrupt, Denied
from cluster.node_cache.array_files import allocate
from cluster.node_cache.cached_file import OF_THIS_PROCESS, CachedFile, map_array
from cluster.node_cache.checksums import hash_new_files, protect, settle_on_disk, verify_files
from cluster.node_cache.eviction import DiskFull, folder_size, held_lock, make_room

_PREFIX: Final = "derived-"
_HEADER: Final = 4096
"""Bytes that an array's header and its checksum take at most."""
_log = logging.getLogger(__name__)


class DerivedFiles:
    """The derived arrays of one cached dataset; implements `spurious.data.derived.DerivedArrays`.

    Attributes:
        files: Those that were mapped so far.
        discarded: Why files were damaged and made again.

    Args:
        folder: The cached dataset.
        base: Its files, which derived arrays follow from.
        wait_seconds: How long to wait for another process that makes the same array.
    """

    def __init__(self, folder: Path, base: tuple[CachedFile, ...], wait_seconds: float) -> None:
        self._folder, self._base, self._wait_seconds = folder, base, wait_seconds
        self.files: tuple[CachedFile, ...] = ()
        self.discarded: tuple[str, ...] = ()

    def get(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: DTypeLike,
        fill: Callable[[NDArray[Any]], None],
    ) -> NDArray[Any] | None:
        """See `spurious.data.derived.DerivedArrays`.

        Raises:
            CacheChanged: the dataset's own files changed while the array was made from them.
            Unavailable: another process made it for too long.
        """
        path, form = self._folder / f"{_PREFIX}{name}.npy", (shape, np.dtype(dtype))
        for file in self.files:
            if file.path == path:
                return file.array
        place = self._folder.with_name(f"{self._folder.name}.{name}")
        with held_lock(place, f"{name} being derived", self._wait_seconds):
            mapped = self._map_if_sound(path, form)
            if mapped is None:
                try:
                    self._make(path, form, fill)
                    mapped = self._map(path, form)
                except (OSError, DiskFull, Denied) as error:
                    if isinstance(error, OSError) and error.errno in OF_THIS_PROCESS:
                        raise
                    _log.info("%s is not kept in %s: %s", name, self._folder, error)
                    return None
        self.files += (mapped,)
        return mapped.array

    def _map_if_sound(self, path: Path, form: tuple[Any, ...]) -> CachedFile | None:
        """Map an array that is there and as recorded; note what is damaged."""
        if not _record_of(path).exists():
            return None
        try:
            return self._map(path, form)
        except Corrupt as error:
            _log.warning("%s: made again", error)
            self.discarded += (str(error),)
            return None

    def _map(self, path: Path, form: tuple[Any, ...]) -> CachedFile:
        try:
            entry = json.loads(_record_of(path).read_bytes())
            with path.open("rb") as file:
                lock_shared(file)
                with self._locked():
                    [identity] = verify_files(
                        self._folder, {path.name: file}, {path.name: entry}
                    ).values()
                array = map_array(file)
        except (ValueError, KeyError, TypeError, OSError, RecursionError) as error:
            if isinstance(error, OSError) and error.errno in OF_THIS_PROCESS:
                raise
            raise Corrupt(f"cached file {path} cannot be opened: {error!r}") from error
        if (array.shape, array.dtype) != form:
            raise Corrupt(f"cached file {path} is {array.shape} {array.dtype}; expected {form}")
        return CachedFile(path, entry["sha256"], identity, array)

    def _make(
        self, path: Path, form: tuple[Any, ...], fill: Callable[[NDArray[Any]], None]
    ) -> None:
        """Write, check, and put in place; the record comes last, so that no half is believed."""
        shape, dtype = form
        temporary = path.with_suffix(".tmp")  # what a killed process left is overwritten
        record = _record_of(path)
        needed = math.prod(shape) * dtype.itemsize + _HEADER
        try:
            record.unlink(missing_ok=True)
            with make_room(self._folder, needed, held=folder_size(self._folder)):
                temporary.unlink(missing_ok=True)
                allocate(temporary, shape, dtype)
            if math.prod(shape):
                array = npy.open_memmap(temporary, mode="r+")
                fill(array)
                del array
            for file in self._base:
                file.check()
            protect(temporary)
            settle_on_disk(temporary)
            with self._locked():
                temporary.rename(path)
                [entry] = hash_new_files(self._folder, [path.name]).values()
                write_atomic(record, json.dumps(entry).encode(), mode=0o444)
                settle_on_disk(record)
                settle_on_disk(self._folder)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the dataset's lock, under which files are recorded as verified."""
        with held_lock(self._folder, f"{self._folder.name} in use", self._wait_seconds):
            yield


def _record_of(path: Path) -> Path:
    return path.with_suffix(".json")
