"""A verified file of the node cache, and the array that maps it."""

from __future__ import annotations

import errno
import hashlib
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from cluster.errors import Unavailable
from cluster.node_cache.checksums import Identity, identify

OF_THIS_PROCESS: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""What a process or node runs out of while the cached files are sound."""


class CacheChanged(Unavailable):
    """A cached file was damaged while a trial had it mapped; another attempt fetches it again."""


@dataclass(frozen=True)
class CachedFile:
    """A verified file of a cached dataset, and the array that maps it."""

    path: Path
    sha256: str
    identity: Identity
    array: NDArray[Any]

    def check(self) -> None:
        """Raise CacheChanged where the file has another identity now and the map other bytes.

        The map is hashed only then: a file may be replaced, or its permissions changed, without
        harm to those who have it open.
        """
        try:
            if identify(self.path) == self.identity:
                return
        except OSError:
            pass  # evicted or replaced
        if hashlib.sha256(self.array.base).hexdigest() != self.sha256:  # type: ignore[arg-type]
            raise CacheChanged(f"cached file {self.path} changed while it was in use")


def map_array(file: BufferedReader) -> NDArray[Any]:
    """Map one `.npy` file, whose shared lock holds for as long as the map lives.

    The lock belongs to the open file, which `mmap` duplicates and closes when it goes; so the lock
    ends with the last view of the array, or with the process, however that ends.
    """
    file.seek(0)
    npy.read_magic(file)
    shape, fortran, dtype = npy.read_array_header_1_0(file)
    if fortran:
        raise ValueError(f"{file.name} is in Fortran order")
    return np.memmap(file, dtype=dtype, mode="r", offset=file.tell(), shape=shape)
