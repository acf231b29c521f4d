"""Boxes at the staged size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spurious.errors import DataError

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in native pixels; x1 and y1 exclusive."""

_PAST = 1.0
"""Native pixels by which tools round a box past the border; such boxes are clipped."""


def shrink_boxes(boxes: Sequence[Box], shape: tuple[int, int], side: int) -> NDArray[np.int32]:
    """Scale boxes to a square of `side` pixels, outwards, so that they keep what they surround.

    Args:
        boxes: In native pixels.
        shape: Native height and width.
        side: Of the staged image.

    Returns:
        (k, 4) int32, each of at least one pixel.

    Raises:
        DataError: A box without area, or one that leaves the image by more than a pixel.
    """
    height, width = shape
    scaled = np.zeros((len(boxes), 4), np.int32)
    for place, (x0, y0, x1, y1) in enumerate(boxes):
        inside = min(x0, y0) >= -_PAST and x1 <= width + _PAST and y1 <= height + _PAST
        if not (inside and x0 < x1 and y0 < y1):
            raise DataError(
                f"box from ({x0:g}, {y0:g}) to ({x1:g}, {y1:g}) in an image of {height} x {width} "
                "pixels; expected corners in order and inside the image: use the boxes and the "
                "images of one release"
            )
        across, down = side / width, side / height
        low = np.floor([x0 * across, y0 * down]).clip(0, side - 1)
        high = np.ceil([x1 * across, y1 * down]).clip(low + 1, side)
        scaled[place] = [*low, *high]
    return scaled
