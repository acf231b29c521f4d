"""Plain geometry of the figure: moving coinciding points apart, and labels clear of everything."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]
"""Left, bottom, right, top in pixels."""


def apart(positions: NDArray[np.float64], least: float) -> NDArray[np.float64]:
    """Move positions as little as possible so that neighbours differ by at least `least`.

    The least-squares solution, an isotonic regression of position minus rank times `least`. Order
    is kept, equal positions in the order given; points far enough apart stay where they are.

    Args:
        positions: (C,), in any unit.
        least: Smallest distance, same unit.
    """
    from scipy.optimize import isotonic_regression

    order = np.argsort(positions, kind="stable")
    ranks = np.arange(len(positions)) * least
    moved = np.empty_like(positions)
    moved[order] = isotonic_regression(positions[order] - ranks).x + ranks
    return moved


def first_free(candidates: Sequence[Box], taken: Sequence[Box], inside: Box) -> Box | None:
    """Return the first candidate that lies inside a frame and overlaps no taken box, or None."""
    for box in candidates:
        fits = (
            box[0] >= inside[0]
            and box[1] >= inside[1]
            and box[2] <= inside[2]
            and box[3] <= inside[3]
        )
        if fits and not any(overlap(box, other) for other in taken):
            return box
    return None


def overlap(one: Box, other: Box) -> bool:
    """Return whether two boxes share more than an edge."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def around(x: float, low: float, high: float, width: float, height: float, gap: float) -> list[Box]:
    """Places for a label of a size around a vertical extent: above, below, right, left, corners.

    Args:
        x: Centre of the extent.
        low: Its lower end.
        high: Its upper end.
        width: Label width.
        height: Label height.
        gap: Distance kept from the extent.
    """
    middle = (low + high - height) / 2
    corners = [
        (x - width / 2, high + gap),
        (x - width / 2, low - gap - height),
        (x + gap, middle),
        (x - gap - width, middle),
        (x + gap, high),
        (x - gap - width, high),
        (x + gap, low - height),
        (x - gap - width, low - height),
    ]
    return [(left, bottom, left + width, bottom + height) for left, bottom in corners]
