"""From an abnormality mask to the target that an annotation of some specificity would give.

Source: Saab et al. 2022, section 3.1 (definition of the dilated label) and section 4.1.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from spurious.config.options import Specificity
from spurious.errors import ConfigError

_EIGHT_CONNECTED = np.ones((3, 3), dtype=bool)


def find_box(mask: NDArray[np.bool_]) -> tuple[slice, slice] | None:
    """Return the rows and columns of the box around a (H, W) mask; None where it is empty."""
    if not mask.size or not mask.any():
        return None
    rows, columns = (np.asarray(mask.any(axis=axis)) for axis in (1, 0))
    top, left = int(rows.argmax()), int(columns.argmax())
    return (
        slice(top, len(rows) - int(rows[::-1].argmax())),
        slice(left, len(columns) - int(columns[::-1].argmax())),
    )


def count_components(mask: NDArray[np.bool_]) -> int:
    """Return the number of 8-connected components of a (H, W) mask, 0 where it is empty."""
    box = find_box(mask)
    if box is None:
        return 0
    pixels = np.ascontiguousarray(mask[box]).view(np.uint8)
    # Borders are followed three times as fast as pixels are labelled; outer ones have no parent.
    _, hierarchy = cv2.findContours(pixels, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    return int((hierarchy[0, :, 3] < 0).sum())


def boxes(mask: NDArray[np.bool_], per: str = "component") -> NDArray[np.bool_]:
    """Fill the inclusive bounding box of every 8-connected component, or of the whole mask.

    Args:
        mask: (H, W) bool.
        per: `component` or `image`.

    Returns:
        (H, W) bool; empty where the mask is. A one-pixel mask is a one-pixel box.
    """
    labelled = mask.astype(np.int32)
    if per == "component":
        labelled, _ = ndimage.label(mask, structure=_EIGHT_CONNECTED)
    filled = np.zeros_like(mask)
    for box in ndimage.find_objects(labelled):
        if box is not None:
            filled[box] = True
    return filled


def dilate(mask: NDArray[np.bool_], r: int) -> NDArray[np.bool_]:
    """Return the label of resolution r: pixels closer than floor(n / r) to the mask (Chebyshev).

    With k = floor(n / r), a pixel is positive where a mask pixel lies within |di| < k and
    |dj| < k, clipped at the border; n is the image side, for oblong images each side has its own.
    r = 1 gives the whole image, r = n the mask itself.

    Args:
        mask: (H, W) bool.
        r: 1 <= r <= min(H, W).

    Raises:
        ConfigError: r is below 1, or larger than the image, which would leave an empty target.
    """
    if not 1 <= r <= min(mask.shape):
        raise ConfigError(
            f"r={r} does not fit an image side of {min(mask.shape)}: expected 1 <= r <= "
            f"{min(mask.shape)}; use 'mask' for the finest target"
        )
    reach = [2 * (side // r - 1) + 1 for side in mask.shape]
    dilated: NDArray[np.bool_] = ndimage.maximum_filter(
        mask.astype(np.uint8), size=reach, mode="constant", cval=0
    ).astype(bool)
    return dilated


def supervision_target(mask: NDArray[np.bool_], specificity: Specificity) -> NDArray[np.bool_]:
    """Return the (H, W) bool target that training at `specificity` sees for one mask.

    Raises:
        ConfigError: the specificity is `label`, which has no pixel target, or r is too large.
    """
    if specificity.kind == "label":
        raise ConfigError("specificity 'label' has no pixel target; use the image label")
    if specificity.kind == "mask":
        return mask
    if specificity.kind == "box":
        return boxes(mask, specificity.box_per)
    if specificity.r is None:
        raise ConfigError("specificity 'r' needs its resolution, e.g. {r: 4}")
    return dilate(mask, specificity.r)
