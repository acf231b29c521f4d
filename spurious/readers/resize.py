"""Down-sampling of images and masks to the staged size."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from spurious.errors import DataError


def shrink_image(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Average each output pixel over the area it covers; (H, W) or (H, W, 3) uint8.

    Both sides are shrunk on their own, so an oblong image may become a square.

    Raises:
        DataError: The output would be larger than the input.
    """
    _refuse_enlarging(image.shape, height, width)
    if image.shape[:2] == (height, width):
        return image
    return cast(
        "NDArray[np.uint8]", cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    )


def shrink_mask(mask: NDArray[np.bool_], height: int, width: int) -> NDArray[np.bool_]:
    """Max-pool a (H, W) bool mask to (height, width), so that thin positives stay.

    An output pixel is True when any input pixel that its area touches is True, for sizes that do
    not divide too; there, one input pixel may mark two neighbouring outputs.

    Raises:
        DataError: The output would be larger than the input.
    """
    _refuse_enlarging(mask.shape, height, width)
    if mask.shape == (height, width):
        return mask
    return _pool_rows(_pool_rows(mask, height).T, width).T


def _pool_rows(mask: NDArray[np.bool_], rows: int) -> NDArray[np.bool_]:
    """Unite the input rows [floor(i n / m), ceil((i + 1) n / m)) of every output row i."""
    n = mask.shape[0]
    i = np.arange(rows)
    bounds = np.stack([i * n // rows, -(-(i + 1) * n // rows)], axis=1).ravel()
    # reduceat takes no bound past the end; an empty row there leaves the union as it is.
    padded = np.concatenate([mask, np.zeros((1, mask.shape[1]), bool)])
    return np.logical_or.reduceat(padded, bounds, axis=0)[::2]


def _refuse_enlarging(shape: tuple[int, ...], height: int, width: int) -> None:
    if height > shape[0] or width > shape[1]:
        raise DataError(
            f"image of {shape[0]} x {shape[1]} pixels is smaller than the staged size "
            f"{height} x {width}; choose a smaller image size"
        )
