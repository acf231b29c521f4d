"""The walk through PNG files."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pytest
from PIL import Image

from spurious.errors import DataError
from spurious.readers.png import check_png


def encode(mode: str) -> bytes:
    """Return a PNG by Pillow, 13 x 21 pixels."""
    pixels = np.random.default_rng(0).integers(0, 256, (13, 21, 3)).astype(np.uint8)
    file = io.BytesIO()
    image = Image.fromarray(pixels).convert("L" if mode == "I;16" else mode)
    if mode == "I;16":
        image = Image.fromarray(pixels[:, :, 0].astype(np.uint16) << 7)
    image.save(file, "PNG", dpi=(72, 72))
    return file.getvalue()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_whole_files_pass_and_damaged_ones_do_not(mode: str) -> None:
    """A byte changed in any chunk, ancillary ones too, and every length that is cut."""
    data = encode(mode)
    check_png(data + b"behind")
    for place in (20, data.index(b"pHYs") + 6, data.index(b"IDAT") + 9, len(data) - 2):
        with pytest.raises(DataError):
            check_png(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    for length in (0, 8, 40, len(data) // 2, len(data) - 12, len(data) - 1):
        with pytest.raises(DataError):
            check_png(data[:length])


@pytest.mark.parametrize("rows", [12, 14])
def test_pixel_data_of_another_length_are_refused(rows: int) -> None:
    """A row less or more than the header has, in chunks that are sound by themselves."""
    data = encode("L")
    begin = data.index(b"IDAT")
    body = b"IDAT" + zlib.compress(bytes(22 * rows))
    chunk = (len(body) - 4).to_bytes(4) + body + zlib.crc32(body).to_bytes(4)
    with pytest.raises(DataError, match="pixel data end early or go on"):
        check_png(data[: begin - 4] + chunk + data[-12:])
