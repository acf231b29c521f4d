"""Reads a mask that is a picture of its own: PNG, BMP, TIFF, or a JPEG that was once one of them.

Rules, in this order:

- Colours must be grey (all channels equal); a palette in colour holds class labels.
- With `values`, the mask is where the stored value, or the palette's index, is one of them.
- 0 and 255, 0 and 1, and 0 and 65535 are masks. Other values below the threshold alone are class
  labels, and so are areas of one grey value: refused, as `values` must say which are meant.
- What is left is antialiased: at `threshold` and above counts, and the grey pixels are warned of.
- JPEG changes values near edges, so there up to 32 counts as 0, and 223 and more as 255.
- A mask smaller or larger than its image has the same aspect within a pixel. It is enlarged by the
  nearest pixel centre; shrunk, a pixel counts when any pixel of its area does, so thin parts stay.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spurious.errors import DataError
from spurious.readers.images import NativeImage, read_image
from spurious.readers.marks.inversion import looks_inverted
from spurious.readers.resize import shrink_mask

_log = logging.getLogger(__name__)
THRESHOLD = 128
_JPEG_SLACK = 32
_NAMED = 8
"""Values that a message shows."""


def read_mask(
    path: Path,
    size: tuple[int, int],
    *,
    values: Collection[int] = (),
    threshold: int = THRESHOLD,
) -> NDArray[np.bool_]:
    """Read one mask at the size of its image, see the rules above.

    Args:
        path: The mask's file.
        size: Height and width of its image.
        values: Values, or palette indices, that count; for masks of several classes.
        threshold: Value from which an antialiased pixel counts.

    Returns:
        (H, W) bool; all False where nothing is drawn.

    Raises:
        DataError: Damaged, in colour, with class labels that nobody chose, or of another aspect;
            names the file.
    """
    picture = read_image(path)
    stored = _read_indices(path, picture) if values else None
    if stored is None:
        stored = _take_grey(path, picture)
    if values:
        mask = np.isin(stored, list(values))
    else:
        mask = _find_drawn(path, picture, stored, threshold)
    if looks_inverted(mask):
        _log.warning(
            "%s: %.0f %% of the mask is drawn, and all around its border, as where it is inverted; "
            "look at it, and where it is, invert it",
            path,
            100 * mask.mean(),
        )
    return _fit(path, mask, size)


def _read_indices(path: Path, picture: NativeImage) -> NDArray[Any] | None:
    """Return the indices of a picture with a palette, (H, W) uint8, else None."""
    if picture.header.kind not in ("PNG", "BMP", "TIFF"):
        raise DataError(
            f"{path}: {picture.header.kind} does not keep the values of classes; save it as PNG"
        )
    with Image.open(path) as opened:  # it was checked before
        if opened.mode != "P":
            return None
        if picture.header.orientation != 1:
            raise DataError(f"{path}: turned by EXIF; save it upright")
        return np.asarray(opened)


def _take_grey(path: Path, picture: NativeImage) -> NDArray[Any]:
    """Return (H, W) values; raises DataError where channels differ."""
    pixels = picture.values
    if picture.inverted:
        raise DataError(f"{path}: larger values are darker; save the mask as PNG")
    if pixels.ndim == 2:
        return pixels
    if (pixels != pixels[..., :1]).any():
        raise DataError(
            f"{path}: the mask is in colour; expected black and white. Where its colours are "
            "classes, save it with class numbers (a palette or grey) and name those that count"
        )
    return pixels[..., 0]


def _find_drawn(
    path: Path, picture: NativeImage, stored: NDArray[Any], threshold: int
) -> NDArray[np.bool_]:
    """Return where something is drawn, by the rules without named values."""
    there = np.unique(stored)
    for most in (1, 255, 65535):
        if set(there.tolist()) <= {0, most}:
            return stored == most
    if picture.header.kind == "JPEG":
        stored = np.where(stored <= _JPEG_SLACK, 0, stored)
        stored = np.where(stored >= 255 - _JPEG_SLACK, 255, stored).astype(np.uint8)
        there = np.unique(stored)
    grey = (stored != 0) & (stored != 255)
    if picture.header.bits > 8 or there.max() < threshold or _has_areas(stored, grey):
        shown = ", ".join(str(value) for value in there[:_NAMED])
        raise DataError(
            f"{path}: the mask has {len(there)} values ({shown}{', ...' * (len(there) > _NAMED)}), "
            "as labels of several classes have; expected 0 and 255, or name the values that count"
        )
    if grey.any():
        _log.warning(
            "%s: %d pixels of the mask are grey, as where it was smoothed; %d and more counts",
            path,
            np.count_nonzero(grey),
            threshold,
        )
    return stored >= threshold


def _has_areas(stored: NDArray[Any], grey: NDArray[np.bool_]) -> bool:
    """Return whether 3 x 3 pixels somewhere have one grey value, as no smoothed edge does."""
    if not grey.any():
        return False
    square = np.ones((3, 3), np.uint8)
    low = cv2.erode(stored, square, borderType=cv2.BORDER_REFLECT_101)
    high = cv2.dilate(stored, square, borderType=cv2.BORDER_REFLECT_101)
    return bool((grey & (low == high)).any())


def _fit(path: Path, mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the mask at the size of its image; raises DataError for another aspect."""
    (rows, columns), (height, width) = mask.shape, size
    if (rows, columns) == size:
        return mask
    if abs(rows * width - height * columns) > max(rows, columns, height, width):
        raise DataError(
            f"{path}: the mask is {rows} x {columns} pixels, and its image is {height} x {width}; "
            "expected the same size, or the same aspect within a pixel: export it again at the "
            "image's size"
        )
    if rows >= height and columns >= width:
        return shrink_mask(mask, height, width)
    down = ((np.arange(height) + 0.5) * rows / height).astype(np.int64)
    across = ((np.arange(width) + 0.5) * columns / width).astype(np.int64)
    return mask[down[:, None], across]
