"""Maps pictures of more than 8 bits to 8 by a stated rule; nothing is cut off without one."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spurious.errors import DataError

WINDOW = r"full|data|percentile|[0-9]{1,5}/[0-9]{1,5}"
"""What a window is written as: a regular expression."""

PERCENTILES = (0.5, 99.5)
_LEVELS = 255
_UNUSED_BITS = 2


def apply_window(values: NDArray[Any], bits: int, window: str) -> NDArray[np.uint8]:
    """Scale whole numbers of `bits` bits linearly to 0 to 255, rounded to the nearest.

    Args:
        values: Unsigned whole numbers, any shape.
        bits: How many of each value's bits are in use; 8 bits stay as they are.
        window: `full` maps 0 to 2**bits - 1, `data` the smallest to the largest value of this
            picture, `percentile` its `PERCENTILES`, `LOW/HIGH` these two values. What is outside
            becomes 0 or 255.

    Raises:
        DataError: LOW is not below HIGH.
    """
    if bits == 8:
        return values.astype(np.uint8)
    low, high = _choose_limits(values, bits, window)
    if high == low:  # `data` of a picture of one value
        return np.zeros(values.shape, np.uint8)
    scaled = (values.astype(np.float64) - low) * (_LEVELS / (high - low))
    return np.floor(np.clip(scaled, 0, _LEVELS) + 0.5).astype(np.uint8)


def _choose_limits(values: NDArray[Any], bits: int, window: str) -> tuple[float, float]:
    if window == "full":
        return 0.0, 2.0**bits - 1
    if window == "data":
        return float(values.min()), float(values.max())
    if window == "percentile":
        low, high = np.percentile(values, PERCENTILES)
        return float(low), float(high)
    match = re.fullmatch(r"([0-9]+)/([0-9]+)", window)
    if match is None or int(match[1]) >= int(match[2]):
        raise DataError(f"window is {window!r}, expected LOW/HIGH with LOW below HIGH")
    return float(match[1]), float(match[2])


def count_unused_bits(values: NDArray[Any], bits: int) -> int:
    """Count the upper bits that no value of a picture uses; 0 where it is `_UNUSED_BITS` or fewer.

    A picture that uses a quarter of its range or less is dark under the window `full`.
    """
    used = int(values.max()).bit_length()
    unused = bits - used if bits > 8 and used else 0
    return unused if unused >= _UNUSED_BITS else 0
