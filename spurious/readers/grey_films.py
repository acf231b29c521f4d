"""Reads a radiograph that a release has as a picture, in 8 bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spurious.readers.images import read_image
from spurious.readers.windows import apply_window

_LUMINANCE = np.array([299, 587, 114], np.uint32)
"""Thousandths of red, green and blue (ITU-R BT.601)."""


def read_grey(path: Path, window: str = "full") -> NDArray[np.uint8]:
    """Return a picture as (H, W) uint8, larger is brighter.

    Pictures of more than 8 bits go through a window (`spurious.readers.windows`), whatever their
    file; of colour its luminance is kept, which of equal channels is each of them.

    Args:
        path: PNG, JPEG, TIFF, BMP or DICOM.
        window: `full`, `data`, `percentile` or `LOW/HIGH`.

    Raises:
        DataError: It cannot be read whole; names the file.
    """
    picture = read_image(path)
    pixels = apply_window(picture.values, picture.header.bits, window)
    if pixels.ndim == 3:
        weighted = pixels.astype(np.uint32) @ _LUMINANCE
        pixels = ((weighted + 500) // 1000).astype(np.uint8)
    return 255 - pixels if picture.inverted else pixels
