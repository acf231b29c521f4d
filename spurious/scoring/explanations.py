"""How much of an explanation lies in a region: of the abnormality, or of a spurious feature.

All measures are from 0 to 1, and their chance level is the region's share of the image: what a map
without any preference has.

Shape legend: N images, H height, W width.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Maps = NDArray[np.floating[Any]]
PERCENT = 5.0
"""tau of activation precision, as Hagos et al. 2023 choose it."""


def chance_level(regions: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the share of each image that its region covers, (N, H, W) to (N,)."""
    return np.asarray(regions.reshape(len(regions), -1).mean(axis=1))


def activation_precision(
    maps: Maps, regions: NDArray[np.bool_], percent: float = PERCENT
) -> NDArray[np.float64]:
    """Return the share of a map's strongest pixels that lie in the region (Barnett et al. 2021).

    The strongest are those at or above the percentile 100 - `percent`, linearly interpolated; all
    that are tied with it count, so that a map of zeros has the region's share.

    Args:
        maps: (N, H, W).
        regions: (N, H, W) bool.
        percent: Of the pixels that count.

    Returns:
        (N,).
    """
    values, inside = maps.reshape(len(maps), -1), regions.reshape(len(maps), -1)
    limit = np.percentile(values, 100.0 - percent, axis=1, keepdims=True)
    strongest = values >= limit
    return np.asarray((strongest & inside).sum(axis=1) / strongest.sum(axis=1))


def share_inside(maps: Maps, regions: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the share of a map's sum that lies in the region, (N,); NaN for a map of zeros.

    Args:
        maps: (N, H, W), nothing below 0.
        regions: (N, H, W) bool.
    """
    values = maps.reshape(len(maps), -1).astype(np.float64)
    inside = (values * regions.reshape(len(maps), -1)).sum(axis=1)
    total = values.sum(axis=1)
    return np.divide(inside, total, out=np.full(len(maps), np.nan), where=total > 0)


def pointing_hits(maps: Maps, regions: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return whether a map's maximum lies in the region, (N,) (Zhang et al. 2018).

    Of tied maxima the share that does. The region is taken as it is, without a margin.

    Args:
        maps: (N, H, W).
        regions: (N, H, W) bool.
    """
    values, inside = maps.reshape(len(maps), -1), regions.reshape(len(maps), -1)
    highest = values == values.max(axis=1, keepdims=True)
    return np.asarray((highest & inside).sum(axis=1) / highest.sum(axis=1))
