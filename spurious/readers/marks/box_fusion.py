"""Fuses the boxes of several readers into one set.

Source: Solovyev, Wang and Gabruseva 2021 (weighted boxes fusion), with equal weights, since boxes
of readers have no scores. Theirs depends on the order of boxes of equal scores; this does not: the
two clusters whose mean boxes overlap most are joined first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spurious.errors import DataError

_MOST = 500


def fuse_boxes(
    boxes: NDArray[np.float64],
    readers: Sequence[str],
    *,
    min_readers: int,
    min_overlap: float = 0.4,
) -> NDArray[np.float64]:
    """Join boxes that overlap, and keep what enough readers drew.

    Every box begins as a cluster. The two clusters whose mean boxes have the largest intersection
    over union are joined while that is `min_overlap` or more. A cluster counts where at least
    `min_readers` different readers have a box in it; its box is the mean of its boxes' edges.

    Args:
        boxes: (n, 4) float64, x0, y0, x1, y1, of one finding on one image.
        readers: Who drew each of them.
        min_readers: Fewest readers of a box that is kept.
        min_overlap: Intersection over union from which two clusters are one.

    Returns:
        (k, 4) float64 in ascending order.

    Raises:
        DataError: More than 500 boxes on one image.
    """
    if len(boxes) > _MOST:
        raise DataError(f"{len(boxes)} boxes of one finding on one image; expected {_MOST} or less")
    order = sorted(range(len(boxes)), key=lambda position: (*boxes[position], readers[position]))
    clusters = [[position] for position in order]
    while len(clusters) > 1:
        means = np.stack([boxes[members].mean(axis=0) for members in clusters])
        overlaps = np.triu(measure_overlaps(means), k=1)
        first, second = np.unravel_index(int(overlaps.argmax()), overlaps.shape)
        if overlaps[first, second] < min_overlap:
            break
        clusters[first] += clusters.pop(int(second))
    kept = [
        boxes[members].mean(axis=0)
        for members in clusters
        if len({readers[position] for position in members}) >= min_readers
    ]
    return np.array(sorted(map(tuple, kept)), np.float64).reshape(-1, 4)


def measure_overlaps(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the (n, n) intersections over unions of (n, 4) boxes."""
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return shared / (areas[:, None] + areas[None, :] - shared)
