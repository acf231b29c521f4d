"""What was drawn on one image, at its native size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Drawing:
    """Mask and boxes of one image.

    Attributes:
        mask: (H, W) bool; all False where somebody looked and drew nothing, None where nobody drew
            a mask.
        boxes: (k, 4) float64, x0, y0, x1, y1 in native pixels: edges, so that x1 - x0 is the
            width. Empty where somebody looked and drew nothing.
    """

    mask: NDArray[np.bool_] | None
    boxes: NDArray[np.float64]


def bound_mask(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the box around all that a (H, W) mask holds, (4,) float64; the mask is not empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float64)
