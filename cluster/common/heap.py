"""What a process of trials does with freed memory: it keeps it within a trial, not between them.

glibc gives a large block back to the system when it is freed, and takes it again for the next one,
page by page. A training loop frees and takes the same sizes in every step, and each page costs a
minor fault.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

_KEEPING = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "4294967296",
}
_VARIABLES = (*_KEEPING, "MALLOC_MMAP_THRESHOLD_", "MALLOC_ARENA_TEST", "MALLOC_TOP_PAD_")
_TUNABLES, _OF_MALLOC = "GLIBC_TUNABLES", "glibc.malloc."


def variables_that_keep_memory(environment: Mapping[str, str]) -> dict[str, str]:
    """Return variables with which a new process keeps what it frees, for what it takes next.

    They must be there before it starts: Ray Tune trains in a thread that is not the first one, and
    `mallopt` moves no thread to the one heap that is kept. In heaps of other threads a block of 64
    MiB is the system's whatever is set, and smaller ones go with their heap. Another libc ignores
    these variables.

    Args:
        environment: Where a user may have set variables of glibc's own; then there are none.
    """
    if any(name in environment for name in _VARIABLES):
        return {}
    return {} if _OF_MALLOC in environment.get(_TUNABLES, "") else dict(_KEEPING)


def return_freed_memory() -> None:
    """Give all free pages of this process back to the system, those between used ones with them."""
    libc = _libc()
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


@lru_cache(maxsize=1)
def _libc() -> Any:
    return ctypes.CDLL(None)
