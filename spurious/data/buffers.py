"""Arrays that batches are written into, used again once nobody holds them.

Memory of this size is given back to the system when it is freed and then asked for again page by
page, which takes as long as filling it.
"""

from __future__ import annotations

import sys
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

_KEPT: Final = 8
_UNUSED: Final = 3
"""References to an array that only its list, the loop over that and the count itself hold."""


class Buffers:
    """Arrays of a few shapes; a tensor made of one holds it, so that it is never written under it.

    Threads may ask at once: whoever looks at an array holds it, so that no other finds it unused.
    """

    def __init__(self) -> None:
        self._arrays: dict[tuple[tuple[int, ...], str], list[NDArray[Any]]] = {}

    def take(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return an array of any content that nobody else holds."""
        kept = self._arrays.setdefault((shape, np.dtype(dtype).str), [])
        for array in kept:
            if sys.getrefcount(array) == _UNUSED:
                return array
        array = np.empty(shape, dtype)
        if len(kept) < _KEPT:
            kept.append(array)
        return array
