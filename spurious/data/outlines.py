"""What drawing a mask would take: polygon vertices at a tolerance, components, area."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from spurious.data.records import Outline

_TOLERANCES = (2.0, 5.0)


def measure_outline(mask: NDArray[np.bool_]) -> Outline:
    """Count the vertices of the polygons that an annotator would click around a mask.

    Outer contours and those of holes are simplified as Douglas and Peucker (1973) do, so that none
    is farther from its polygon than the tolerance. A contour takes at least one click.

    Args:
        mask: (H, W) bool at native resolution.

    Returns:
        All zero where the mask is empty.
    """
    if not mask.any():
        return Outline(0, 0, 0, 0.0)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    pixels = mask.view(np.uint8) if mask.flags.c_contiguous else mask.astype(np.uint8)
    pixels = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    contours, hierarchy = cv2.findContours(
        np.ascontiguousarray(pixels), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE
    )
    vertices = [
        sum(len(cv2.approxPolyDP(contour, tolerance, closed=True)) for contour in contours)
        for tolerance in _TOLERANCES
    ]
    outer = int((hierarchy[0, :, 3] < 0).sum())
    return Outline(vertices[0], vertices[1], outer, float(np.count_nonzero(mask) / mask.size))
