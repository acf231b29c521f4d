"""What annotators drew on an image: a mask, boxes, both or neither. Needs numpy alone.

Shape legend: N images, H height, W width.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from spurious.config.fields import SupervisionKind

MASK: Final = 1
"""Bit of an image whose mask somebody drew, an empty one included."""
BOXES: Final = 2
"""Bit of an image on which somebody drew boxes, or looked and drew none."""


def carries(drawn: NDArray[np.uint8], kind: SupervisionKind) -> NDArray[np.bool_]:
    """Return which images have the annotation of a kind; boxes of a drawn mask follow from it.

    Args:
        drawn: (N,) uint8, the bits `MASK` and `BOXES`.
        kind: Every image carries a `label`.

    Returns:
        (N,) bool.
    """
    if kind == "label":
        return np.ones(len(drawn), bool)
    return (drawn & (MASK | BOXES if kind == "box" else MASK)) != 0


def rank_by_detail(drawn: NDArray[np.uint8], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return 0 for images with a mask, 1 for those with boxes alone, 2 for others; (N,) int64.

    What is drawn on images of one label alone counts for nothing here: no cell can be trained on
    it, and a natural draw that began with it would have that label alone.

    Args:
        drawn: (N,) uint8, the bits `MASK` and `BOXES`.
        labels: (N,) int64 in {0, 1}.
    """
    ranks = np.full(len(drawn), 2, np.int64)
    kinds: tuple[SupervisionKind, ...] = ("box", "mask")
    for rank, kind in zip((1, 0), kinds, strict=True):
        carrying = carries(drawn, kind)
        if len(np.unique(labels[carrying])) > 1:
            ranks[carrying] = rank
    return ranks


def fill_boxes(corners: NDArray[np.int32], height: int, width: int) -> NDArray[np.bool_]:
    """Fill boxes; (k, 4) x0, y0, x1, y1 with the last two exclusive to (height, width) bool."""
    filled = np.zeros((height, width), bool)
    for x0, y0, x1, y1 in corners.tolist():
        filled[y0:y1, x0:x1] = True
    return filled
