"""The walk through PNG files."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pytest
from PIL import Image

from spurious.errors import DataError
from spurious.readers.png import check_png
from spurious.readers.png_rows import decode_rows


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


def wrap(name: bytes, body: bytes) -> bytes:
    """Return a chunk."""
    return len(body).to_bytes(4) + name + body + zlib.crc32(name + body).to_bytes(4)


def write_rows(filters: list[int], channels: int, *between: bytes) -> bytes:
    """Return a PNG of random rows with some filters, its data in two chunks."""
    rows = np.random.default_rng(1).integers(0, 256, (len(filters), 1 + 9 * channels), np.uint8)
    rows[:, 0] = filters
    packed = zlib.compress(rows.tobytes())
    header = (9).to_bytes(4) + len(filters).to_bytes(4) + bytes([8, channels - 1, 0, 0, 0])
    data = (wrap(b"IDAT", packed[:20]), *between, wrap(b"IDAT", packed[20:]))
    return b"\x89PNG\r\n\x1a\n" + b"".join((wrap(b"IHDR", header), *data, wrap(b"IEND", b"")))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("first", range(5))
def test_rows_decode_as_pillow_decodes_them(channels: int, first: int) -> None:
    """All filters, each in the first row too, and behind each other one."""
    order = [first, *np.random.default_rng(first).permutation(np.repeat(range(5), 8)).tolist()]
    data = write_rows(order, channels)
    pixels = decode_rows(check_png(data))
    assert pixels is not None
    np.testing.assert_array_equal(pixels, np.asarray(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize("mode", ["1", "LA", "P", "RGBA", "I;16"])
def test_other_colours_are_left_to_pillow(mode: str) -> None:
    """As is a file with chunks that may turn the picture, or amid its data."""
    assert decode_rows(check_png(encode(mode))) is None
    for between in (wrap(b"eXIf", b""), wrap(b"pHYs", bytes(9))):
        assert decode_rows(check_png(write_rows([0, 1], 3, between))) is None


def test_unknown_filters_are_refused() -> None:
    """As Pillow refuses them."""
    data = write_rows([0, 5, 0], 3)
    with pytest.raises(DataError, match="row 1 has filter 5"):
        decode_rows(check_png(data))
    with pytest.raises(OSError, match="unrecognized data"):
        Image.open(io.BytesIO(data)).load()
