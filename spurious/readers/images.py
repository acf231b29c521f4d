"""Reads any picture that teams hold, PNG, JPEG, TIFF, BMP or DICOM, at its own depth, upright.

The kind is what a file's first bytes say, whatever its name ends with.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from spurious.errors import DataError
from spurious.readers.bmp import check_bmp
from spurious.readers.dicom import read_stored_film
from spurious.readers.jpeg import check_jpeg
from spurious.readers.png import PngData, check_png
from spurious.readers.png_rows import decode_rows
from spurious.readers.tiff import check_tiff

IMAGE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".bmp", ".dib"),
    *(".dcm", ".dicom"),
)
"""Endings of image files, in lower case."""

_CHECKS: Mapping[str, Callable[[bytes], Any]] = {
    "PNG": check_png,
    "JPEG": check_jpeg,
    "TIFF": check_tiff,
    "BMP": check_bmp,
}
_MARKS = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
    b"BM": "BMP",
}
_GREY = ("1", "L", "LA", "I;16", "I;16B")
_COLOUR = ("RGB", "RGBA")
_RESTORE = "restore or convert the file"
_OLD_EXIF = "Raw profile type exif"
_ORIENTATION, _BITS_PER_SAMPLE, _PHOTOMETRIC, _MIN_IS_WHITE = 274, 258, 262, 0


@dataclass(frozen=True)
class ImageHeader:
    """What a picture's header states.

    Attributes:
        kind: `PNG`, `JPEG`, `TIFF`, `BMP` or `DICOM`.
        shape: (height, width) of the upright picture.
        stored: (height, width) before it is turned.
        orientation: EXIF orientation, 1 to 8.
        colour: Whether it is in colour; a palette is where any of its colours is not grey.
        bits: Of each value, 8 to 16.
        patient_id: PatientID of a DICOM file, else "".
        sop_uid: SOPInstanceUID of a DICOM file, else "".
    """

    kind: str
    shape: tuple[int, int]
    stored: tuple[int, int]
    orientation: int
    colour: bool
    bits: int
    patient_id: str = ""
    sop_uid: str = ""


@dataclass(frozen=True)
class NativeImage:
    """A decoded picture.

    Attributes:
        header: What its header states.
        values: (H, W), or (H, W, 3) in the order red, green, blue; uint8, or uint16 or uint32
            where `header.bits` is above 8. Upright; larger is brighter, unless inverted.
        inverted: Whether larger is darker, which a window comes before.
    """

    header: ImageHeader
    values: NDArray[Any]
    inverted: bool = False


def turn_upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn (H, W) or (H, W, C) pixels as an EXIF orientation of 1 to 8 says (EXIF 2.32, 4.6.4)."""
    if orientation >= 5:  # rows and columns change places
        pixels = np.swapaxes(pixels, 0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def read_header(path: Path) -> ImageHeader:
    """Read what a picture's header states, without its pixels.

    Raises:
        DataError: No image that is read, or colours, a depth or pages that are not; names the file.
    """
    with _naming(path), path.open("rb") as file:
        kind = _find_kind(file.read(132))
        file.seek(0)
        if kind == "DICOM":
            return _read_film_header(file)
        with Image.open(file, formats=[kind]) as picture:
            file.seek(0)
            begin = file.read(26)
            return _describe(picture, kind, begin, kind == "PNG" and _has_exif_chunk(file))


def read_image(path: Path) -> NativeImage:
    """Decode one picture that is whole, upright.

    Alpha channels are dropped where they are opaque throughout; palettes are looked up.

    Raises:
        DataError: It cannot be read, is damaged, makes the decoder warn, is transparent, or has
            colours, a depth or pages that are not read; names the file.
    """
    with _naming(path):
        data = path.read_bytes()
        kind = _find_kind(data[:132])
        if kind == "DICOM":
            film = read_stored_film(path)
            shape = (film.values.shape[0], film.values.shape[1])
            header = ImageHeader(
                kind, shape, shape, 1, False, film.bits, film.patient_id, film.sop_uid
            )
            return NativeImage(header, film.values, film.inverted)
        checked = _CHECKS[kind](data)
        with Image.open(io.BytesIO(data), formats=[kind]) as picture:
            has_exif = kind == "PNG" and _has_exif_chunk(io.BytesIO(data))
            header = _describe(picture, kind, data[:26], has_exif)
            rows = decode_rows(checked) if isinstance(checked, PngData) else None
            pixels = _decode(picture, header, data) if rows is None else rows
        return NativeImage(header, pixels)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turn whatever reading raises, and warnings of decoders, into a DataError with the path."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: its header is damaged; {_RESTORE}") from error
    except DataError as error:
        if str(path) in str(error):
            raise
        raise DataError(f"{path}: {error}; {_RESTORE}") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"{path}: cannot be read ({reason}); {_RESTORE}") from error
    except Exception as error:  # damaged files make the decoders raise nearly anything
        text = f"{type(error).__name__}: {str(error)[:200]}"
        raise DataError(f"{path}: cannot be read ({text}); {_RESTORE}") from error


def _find_kind(begin: bytes) -> str:
    if begin[128:132] == b"DICM":  # before TIFF: a preamble may be one (PS3.10 7.1)
        return "DICOM"
    for mark, kind in _MARKS.items():
        if begin.startswith(mark):
            return kind
    raise DataError(
        "it is not a PNG, JPEG, TIFF, BMP or DICOM file, or its first bytes are damaged"
    )


def _read_film_header(file: BinaryIO) -> ImageHeader:
    tags = ["Rows", "Columns", "BitsStored", "PatientID", "SOPInstanceUID"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names and dates; decoding is strict
        header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=tags)
    shape = (int(header.Rows), int(header.Columns))
    patient, uid = (str(header.get(n) or "").strip() for n in ("PatientID", "SOPInstanceUID"))
    return ImageHeader("DICOM", shape, shape, 1, False, int(header.BitsStored), patient, uid)


def _has_exif_chunk(file: BinaryIO) -> bool:
    """Return whether a PNG has orientation data; Pillow would decode all pixels to find out."""
    position = 8
    while True:
        file.seek(position)
        begin = file.read(8)
        if len(begin) < 8 or begin[4:] == b"IEND":
            return False
        if begin[4:] == b"eXIf":
            return True
        position += 12 + int.from_bytes(begin[:4])


def _describe(picture: Image.Image, kind: str, begin: bytes, has_exif: bool) -> ImageHeader:
    """Return the header of an opened picture that is not decoded yet.

    Args:
        picture: The picture.
        kind: Its format.
        begin: The first 26 bytes of its file.
        has_exif: Whether it is a PNG with orientation data.
    """
    mode, (width, height) = picture.mode, picture.size
    if kind != "JPEG" and getattr(picture, "n_frames", 1) != 1:  # phones put previews into JPEGs
        raise DataError("it has several pages or frames, expected one: save the one that is meant")
    colour = _is_colour(picture)
    bits = 16 if mode.startswith("I;16") or _is_deep_colour(picture, kind, begin) else 8
    may_turn = kind != "PNG" or has_exif or _OLD_EXIF in picture.info
    orientation = picture.getexif().get(_ORIENTATION, 1) or 1 if may_turn else 1  # 0: not known
    if orientation not in range(1, 9):
        raise DataError(f"EXIF orientation is {orientation!r}, expected 1 to 8")
    shape, turned = (height, width), (width, height)
    if kind == "TIFF":  # Pillow states the upright size
        stored = turned if orientation >= 5 else shape
    else:
        stored, shape = shape, turned if orientation >= 5 else shape
    return ImageHeader(kind, shape, stored, int(orientation), colour, bits)


def _is_colour(picture: Image.Image) -> bool:
    if picture.mode == "P":
        palette = np.array(picture.getpalette("RGB") or [0, 0, 0], np.uint8).reshape(-1, 3)
        return bool((palette != palette[:, :1]).any())
    if picture.mode not in (*_GREY, *_COLOUR):
        raise DataError(
            f"colours are {picture.mode}, expected grey or RGB of 8 or 16 bits: convert it"
        )
    return picture.mode in _COLOUR


def _is_deep_colour(picture: Image.Image, kind: str, begin: bytes) -> bool:
    """Return whether a picture that Pillow would cut to 8 bits has 16."""
    if kind == "PNG":
        return begin[24] == 16
    if kind == "TIFF":
        tags: Any = getattr(picture, "tag_v2", {})
        bits = tags.get(_BITS_PER_SAMPLE, (1,))
        bits = bits if isinstance(bits, tuple) else (bits,)
        if max(bits) > 8 and tags.get(_PHOTOMETRIC) == _MIN_IS_WHITE:
            raise DataError("16 bits of which 0 is white are not read: save it as PNG")
        return bool(max(bits) > 8)
    return False


def _decode(picture: Image.Image, header: ImageHeader, data: bytes) -> NDArray[Any]:
    """Return the upright pixels of an opened picture, (H, W) or (H, W, 3)."""
    if header.bits > 8 and picture.mode not in ("I;16", "I;16B"):
        pixels = _decode_deep(data)
        return turn_upright(pixels, header.orientation)
    if picture.mode == "P" or "transparency" in picture.info:
        picture = picture.convert("RGBA")  # TIFF loads upright, before this
    pixels = np.asarray(picture)
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    elif pixels.dtype != np.uint8:
        pixels = pixels.astype(np.uint16)
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        pixels = _drop_alpha(pixels, 255)
    if pixels.ndim == 3 and not header.colour:  # grey with a palette or alpha
        pixels = pixels[..., 0]
    return pixels if header.kind == "TIFF" else turn_upright(pixels, header.orientation)


def _decode_deep(data: bytes) -> NDArray[Any]:
    """Decode 16-bit colours, which Pillow would cut to 8 bits."""
    pixels: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        raise DataError("its 16-bit colours cannot be decoded")
    if pixels.ndim == 2:
        return np.asarray(pixels)
    if pixels.shape[2] == 4:
        pixels = _drop_alpha(pixels, 65535)
    return np.ascontiguousarray(pixels[..., ::-1])


def _drop_alpha(pixels: NDArray[Any], opaque: int) -> NDArray[Any]:
    if (pixels[..., -1] != opaque).any():
        raise DataError(
            "parts of it are transparent, so its colours there are undefined: save it without an "
            "alpha channel"
        )
    return pixels[..., :-1]
