"""Arrays that follow from a dataset and few options, made once where a place for them is given.

Needs numpy alone. What is derived has a name that says everything that decides it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

VERSION: Final = 1
"""Raise it where what is derived gets other values: those that were kept are not used then."""


class DerivedArrays(Protocol):
    """Where a dataset's derived arrays are kept."""

    def get(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: DTypeLike,
        fill: Callable[[NDArray[Any]], None],
    ) -> NDArray[Any] | None:
        """Return a derived array, read-only; made now where it is not there or damaged.

        Args:
            name: Letters, digits and dashes, which say what it is and all that decides it.
            shape: Of the array.
            dtype: Of the array.
            fill: Sets every element of an array of this shape, which is zero before.

        Returns:
            None where no place is left for it: the caller then computes what it needs alone.
        """
        ...


def name_of(what: str, *, exact: bool = True) -> str:
    """Return the full name of a derived array.

    Args:
        what: Letters, digits and dashes.
        exact: Whether no version of numpy can change its last bits.
    """
    library = "" if exact else f"-numpy-{np.__version__.replace('.', '-')}"
    return f"{what}-v{VERSION}{library}"
