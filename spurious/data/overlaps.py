"""How much of a spurious feature lies inside what annotators draw: boxes let it in, masks do not.

Source: Saab et al. 2022, section 3.1: spurious pixels inside the target weaken its label.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from spurious.data.records import Overlap
from spurious.data.specificity import boxes


def measure_overlap(feature: NDArray[np.bool_], mask: NDArray[np.bool_]) -> Overlap | None:
    """Measure which shares of a spurious feature lie in a mask and in the boxes around its parts.

    Args:
        feature: (H, W) bool, the pixels of the spurious feature.
        mask: (H, W) bool, the abnormality, at the same size.

    Returns:
        None where the image has no pixel of the feature.
    """
    total = np.count_nonzero(feature)
    if not total:
        return None
    in_mask = np.count_nonzero(feature & mask)
    in_boxes = np.count_nonzero(feature & boxes(mask)) if mask.any() else 0
    return Overlap(in_mask / total, in_boxes / total)


def measure_overlaps(
    features: Mapping[str, NDArray[np.bool_]], mask: NDArray[np.bool_]
) -> dict[str, Overlap]:
    """Measure the overlap of several features by name; those without a pixel are left out."""
    measured = {name: measure_overlap(feature, mask) for name, feature in features.items()}
    return {name: overlap for name, overlap in measured.items() if overlap is not None}
