"""Arrays of the node cache written row by row, and hashed as they are."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

_PART: Final = 1 << 20
"""Bytes written at once: with more the system seeks large pages for them, three times as long."""

ArrayForm = tuple[tuple[int, ...], np.dtype[Any]]
"""Shape and dtype."""


def allocate(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Create an array file with its blocks reserved: no other fetch can count on them.

    Moving rows through a map of a sparse file on a full disk would kill the process (SIGBUS).
    """
    npy.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


class ArrayFiles:
    """Allocated array files of a folder that are filled row by row, together.

    What is written is hashed from memory, which was verified.

    Args:
        folder: Where they are.
        names: Of the arrays.
    """

    def __init__(self, folder: Path, names: tuple[str, ...]) -> None:
        self._stack = ExitStack()
        self._files = {
            name: self._stack.enter_context((folder / f"{name}.npy").open("r+b", buffering=0))
            for name in names
        }
        self._hashes = {name: hashlib.sha256() for name in names}
        self._starts: dict[str, int] = {}
        for name, file in self._files.items():
            npy.read_magic(file)
            npy.read_array_header_1_0(file)
            self._starts[name] = file.tell()
            file.seek(0)
            self._hashes[name].update(file.read(self._starts[name]))

    def __enter__(self) -> ArrayFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def write(self, first: int, rows: Mapping[str, NDArray[Any]]) -> None:
        """Write rows of every array from a row number on; threads may do so at once.

        Not through a map, whose page faults are slower.
        """
        for name, file in self._files.items():
            data = _bytes_of(rows[name])
            at = self._starts[name] + first * (len(data) // max(1, len(rows[name])))
            written = 0
            while written < len(data):
                part = data[written : written + _PART]
                written += os.pwrite(file.fileno(), part, at + written)

    def hash(self, rows: Mapping[str, NDArray[Any]]) -> None:
        """Take in the next rows of every array, in their order."""
        for name, digest in self._hashes.items():
            digest.update(_bytes_of(rows[name]))

    def hexdigests(self) -> dict[str, str]:
        """Return the SHA-256 of each file as it is now, by file name."""
        return {f"{name}.npy": digest.hexdigest() for name, digest in self._hashes.items()}


def _bytes_of(rows: NDArray[Any]) -> Any:
    return np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data
