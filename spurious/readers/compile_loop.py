"""Compiles loops over bytes, which Python would take longer for than decoders take in all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Loop = TypeVar("Loop", bound=Callable[..., Any])


def compile_loop(loop: Loop) -> Loop:
    """Compile at the first call; kept on disk where a folder can be written."""
    try:
        return cast("Loop", numba.njit(cache=True, nogil=True)(loop))
    except RuntimeError:  # no folder for it: each process compiles
        return cast("Loop", numba.njit(nogil=True)(loop))
