"""Down-sampling of images and masks to the staged size."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from spurious.data.specificity import find_box
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
    pooled = np.zeros((height, width), bool)
    box = find_box(mask)
    if box is not None:  # outside of it there is nothing to unite
        rows, row_bounds = _cover(box[0], mask.shape[0], height)
        columns, column_bounds = _cover(box[1], mask.shape[1], width)
        first, last = column_bounds[0][0], column_bounds[1][-1]
        across = _pool_rows(np.ascontiguousarray(mask[:, first:last]), *row_bounds)
        pooled[rows, columns] = _pool_rows(across.T, *(b - first for b in column_bounds)).T
    return pooled


def _cover(
    span: slice, n: int, m: int
) -> tuple[slice, tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Return the outputs i of m that a span of n inputs touches, with begins and ends of theirs.

    The inputs of output i are [floor(i n / m), ceil((i + 1) n / m)).
    """
    outputs = slice(span.start * m // n, -(-span.stop * m // n))
    i = np.arange(outputs.start, outputs.stop)
    return outputs, (i * n // m, -(-(i + 1) * n // m))


def _pool_rows(
    mask: NDArray[np.bool_], begins: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Unite the rows from each begin to its end."""
    united = mask[begins]
    for step in range(1, int((ends - begins).max())):  # a row that is united twice does no harm
        united |= mask[np.minimum(begins + step, ends - 1)]
    return united


def _refuse_enlarging(shape: tuple[int, ...], height: int, width: int) -> None:
    if height > shape[0] or width > shape[1]:
        raise DataError(
            f"image of {shape[0]} x {shape[1]} pixels is smaller than the staged size "
            f"{height} x {width}; choose a smaller image size"
        )
