"""Reads a JPEG or PNG picture that is whole, upright."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from spurious.errors import DataError
from spurious.readers.jpeg import check_jpeg
from spurious.readers.png import check_png
from spurious.readers.png_rows import decode_rows

_ORIENTATION = 0x0112


def read_picture(path: Path, kind: str, *modes: str) -> NDArray[Any]:
    """Decode one picture; (H, W) or (H, W, 3), turned as its EXIF orientation says.

    Args:
        path: The file.
        kind: `JPEG` or `PNG`.
        modes: Pillow's names of the colours that are taken.

    Raises:
        DataError: It cannot be read, is damaged, makes the decoder warn, or has another format or
            colours; names the file.
    """
    try:
        data = path.read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with Image.open(io.BytesIO(data), formats=[kind]) as picture:
                mode, pixels = picture.mode, _decode(picture, data)
    except UnidentifiedImageError as error:
        raise DataError(
            f"{path}: cannot be read as {kind} (it has another format or no header); restore the "
            "file from the release"
        ) from error
    except Exception as error:  # damaged files make the decoders raise nearly anything
        raise DataError(
            f"{path}: cannot be read as {kind} ({error}); restore the file from the release"
        ) from error
    if mode not in modes:
        raise DataError(
            f"{path}: colours are {mode} instead of {' or '.join(modes)}; restore the file from "
            "the release"
        )
    return pixels


def _decode(picture: Image.Image, data: bytes) -> NDArray[Any]:
    """Check and decode an opened picture."""
    if picture.format == "PNG" and (pixels := decode_rows(check_png(data))) is not None:
        return pixels
    if picture.format == "JPEG":
        check_jpeg(data)
    return np.asarray(_turn_upright(picture))


def _turn_upright(picture: Image.Image) -> Image.Image:
    orientation = picture.getexif().get(_ORIENTATION, 1)
    if orientation in (0, 1):  # 0: not known
        return picture
    if orientation not in range(2, 9):
        raise DataError(f"EXIF orientation is {orientation!r}, expected 1 to 8")
    return ImageOps.exif_transpose(picture)
