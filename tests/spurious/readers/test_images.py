"""Pictures of every kind, depth and colour, as a decoder must give them or refuse them."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from spurious.errors import DataError
from spurious.readers.bmp import check_bmp
from spurious.readers.images import read_header, read_image, turn_upright
from spurious.readers.tiff import check_tiff
from spurious.readers.windows import apply_window, count_unused_bits

GREY = (np.add.outer(np.arange(24) * 5, np.arange(30) * 3) % 256).astype(np.uint8)
COLOUR = np.stack([GREY, 255 - GREY, GREY // 2], axis=2)
DEEP = GREY.astype(np.uint16) * 201 + 3
DEEP_COLOUR = np.stack([DEEP, 65535 - DEEP, DEEP // 2], axis=2)
TIFF = ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits")
UNTURN = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}
"""EXIF orientation to the one that undoes it."""


def encode(pixels: Any, kind: str, **options: Any) -> bytes:
    """A picture as a file's bytes, by Pillow."""
    stream = io.BytesIO()
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    picture.save(stream, kind, **options)
    return stream.getvalue()


def by_opencv(pixels: np.ndarray, suffix: str, *options: int) -> bytes:
    """16-bit colours, which Pillow cannot write."""
    return cv2.imencode(suffix, pixels[..., [2, 1, 0, *range(3, pixels.shape[2])]], options)[
        1
    ].tobytes()


def palette(colours: list[tuple[int, int, int]]) -> Image.Image:
    """A palette picture of GREY // 64."""
    picture = Image.fromarray(GREY // 64).convert("P")
    picture.putpalette([value for colour in colours for value in colour])
    return picture


GREYS = [(60 * i, 60 * i, 60 * i) for i in range(4)]
COLOURS = [(60 * i, 10, 200 - 50 * i) for i in range(4)]
OPAQUE_DEEP = np.dstack([DEEP_COLOUR, np.full(DEEP.shape, 65535, np.uint16)])

WHOLE: dict[str, tuple[bytes, np.ndarray]] = {
    "grey png": (encode(GREY, "PNG"), GREY),
    "1 bit png": (encode(GREY > 99, "PNG"), (GREY > 99) * np.uint8(255)),
    "colour png": (encode(COLOUR, "PNG"), COLOUR),
    "opaque alpha": (encode(np.dstack([COLOUR, GREY * 0 + 255]), "PNG"), COLOUR),
    "grey alpha": (encode(Image.fromarray(GREY).convert("LA"), "PNG"), GREY),
    "deep png": (encode(DEEP, "PNG"), DEEP),
    "deep colour png": (by_opencv(DEEP_COLOUR, ".png"), DEEP_COLOUR),
    "deep opaque png": (by_opencv(OPAQUE_DEEP, ".png"), DEEP_COLOUR),
    "palette png": (encode(palette(COLOURS), "PNG"), np.array(COLOURS, np.uint8)[GREY // 64]),
    "grey palette": (encode(palette(GREYS), "PNG"), GREY // 64 * np.uint8(60)),
    "grey bmp": (encode(GREY, "BMP"), GREY),
    "colour bmp": (encode(COLOUR, "BMP"), COLOUR),
    "1 bit bmp": (encode(GREY > 99, "BMP"), (GREY > 99) * np.uint8(255)),
    "deep colour tiff": (by_opencv(DEEP_COLOUR, ".tiff"), DEEP_COLOUR),
    **{f"grey {how}": (encode(GREY, "TIFF", compression=how), GREY) for how in TIFF},
    **{f"colour {how}": (encode(COLOUR, "TIFF", compression=how), COLOUR) for how in TIFF},
    **{f"deep {how}": (encode(DEEP, "TIFF", compression=how), DEEP) for how in TIFF},
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_picture_is_read_at_its_own_depth(name: str, tmp_path: Path) -> None:
    """Whatever its name ends with: nothing is cut to 8 bits, and the header says the same."""
    data, expected = WHOLE[name]
    path = tmp_path / "picture.dat"
    path.write_bytes(data)
    image = read_image(path)
    assert image.values.dtype == expected.dtype
    assert np.array_equal(image.values, expected)
    header = read_header(path)
    assert header == image.header
    assert (header.shape, header.colour) == (expected.shape[:2], expected.ndim == 3)
    assert header.bits == 8 * expected.dtype.itemsize


@pytest.mark.parametrize("orientation", UNTURN)
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("pixels", [COLOUR, DEEP], ids=["colour", "deep"])
def test_pictures_are_turned_upright(
    kind: str, orientation: int, pixels: np.ndarray, tmp_path: Path
) -> None:
    """By EXIF orientation, once, also where the decoder turns them itself (TIFF)."""
    exif = Image.Exif()
    exif[274] = orientation
    stored = turn_upright(pixels, UNTURN[orientation])
    path = tmp_path / "turned"
    path.write_bytes(encode(stored, kind, exif=exif))
    image = read_image(path)
    assert np.array_equal(image.values, pixels)
    assert (image.header.shape, image.header.stored) == (pixels.shape[:2], stored.shape[:2])


REFUSED: dict[str, tuple[bytes, str]] = {
    "transparent": (encode(np.dstack([COLOUR, GREY]), "PNG"), "transparent"),
    "cmyk": (encode(Image.fromarray(COLOUR).convert("CMYK"), "JPEG"), "CMYK"),
    "float": (encode(GREY.astype(np.float32), "TIFF"), "colours are F"),
    "pages": (
        encode(GREY, "TIFF", save_all=True, append_images=[Image.fromarray(GREY)]),
        "pages",
    ),
    "frames": (
        encode(GREY, "PNG", save_all=True, append_images=[Image.fromarray(255 - GREY)]),
        "frames",
    ),
    "webp": (encode(COLOUR, "WEBP"), "not a PNG, JPEG, TIFF, BMP or DICOM"),
    "tiff of jpeg": (encode(COLOUR, "TIFF", compression="jpeg"), "save it without compression"),
    "empty": (b"", "not a PNG"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_as_it_is_meant_is_refused(name: str, tmp_path: Path) -> None:
    """By the file's name and the reason."""
    data, reason = REFUSED[name]
    path = tmp_path / "picture.png"
    path.write_bytes(data)
    with pytest.raises(DataError, match=reason) as caught:
        read_image(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "name", [name for name, (data, _) in WHOLE.items() if data[:2] in (b"BM", b"II", b"MM")]
)
def test_bmp_and_tiff_that_are_cut_anywhere_are_refused(name: str) -> None:
    """Neither has a checksum of its own, so lengths are compared with headers."""
    data, _ = WHOLE[name]
    check: Callable[[bytes], None] = check_bmp if data.startswith(b"BM") else check_tiff
    check(data)
    for length in {*range(0, len(data), max(1, len(data) // 40)), len(data) - 1} - {len(data)}:
        with pytest.raises(DataError):
            check(data[:length])


@pytest.mark.parametrize("how", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_a_compressed_strip_that_lacks_bytes_is_refused(how: str) -> None:
    """Zeros over its end unpack to fewer or other bytes, or to codes that do not exist."""
    data = bytearray(encode(COLOUR, "TIFF", compression=how))
    with Image.open(io.BytesIO(data)) as picture:
        begin, length = picture.tag_v2[273][0], picture.tag_v2[279][0]
    data[begin + length // 2 : begin + length] = bytes(length - length // 2)
    with pytest.raises(DataError):
        check_tiff(bytes(data))


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ("full", [0, 4, 8, 12, 16]),
        ("data", [0, 64, 128, 191, 255]),
        ("1024/3072", [0, 0, 128, 255, 255]),
    ],
)
def test_windows_map_16_bits_to_8_by_their_rule(window: str, expected: list[int]) -> None:
    """12-bit values in 16 bits: `full` is dark, nothing wraps round, values outside are clipped."""
    values = np.array([[0, 1024, 2048, 3072, 4095]], np.uint16)
    assert apply_window(values, 16, window).tolist() == [expected]
    assert count_unused_bits(values, 16) == 4
    assert count_unused_bits(values, 12) == 0


def test_percentiles_ignore_single_outliers_and_8_bits_stay() -> None:
    """One hot pixel of a thousand does not decide the window."""
    values = np.arange(1000, dtype=np.uint16).reshape(20, 50)
    values[0, 0] = 60000
    assert apply_window(values, 16, "percentile")[10, 0] == 127
    assert apply_window(values, 16, "data").max() == 255
    assert apply_window(values, 16, "data")[10, 0] == 2
    assert np.array_equal(apply_window(GREY, 8, "data"), GREY)
    assert apply_window(values * 0 + 7, 16, "data").max() == 0
    with pytest.raises(DataError, match="LOW below HIGH"):
        apply_window(values, 16, "9/9")
