"""Masks that are pictures of their own, written by Pillow as annotators' tools write them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from spurious.errors import DataError
from spurious.readers.marks.mask_files import read_mask

SQUARE = np.zeros((20, 30), bool)
SQUARE[5:12, 8:20] = True


def save(path: Path, values: Any, mode: str = "L", **options: Any) -> Path:
    """Write values of a mode."""
    image = Image.fromarray(np.asarray(values, np.uint16 if mode == "I;16" else np.uint8))
    if mode == "P":
        image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    elif mode not in ("L", "I;16"):
        image = image.convert(mode)
    image.save(path, **options)
    return path


def smooth(factor: int = 8) -> np.ndarray:
    """Return a circle with antialiased edges, (60, 60) uint8."""
    large = Image.new("L", (60 * factor, 60 * factor))
    ImageDraw.Draw(large).ellipse([15 * factor, 15 * factor, 44 * factor, 40 * factor], fill=255)
    return np.asarray(large.resize((60, 60), Image.Resampling.BOX))


@pytest.mark.parametrize(
    ("name", "most", "mode"),
    [
        ("m.png", 255, "L"),
        ("m.png", 1, "L"),
        ("m.png", 255, "1"),
        ("m.png", 255, "RGB"),
        ("m.png", 255, "RGBA"),
        ("m.png", 65535, "I;16"),
        ("m.bmp", 255, "L"),
        ("m.bmp", 255, "1"),
        ("m.bmp", 255, "RGB"),
        ("m.tif", 255, "L"),
        ("m.tif", 255, "1"),
        ("m.tif", 1, "L"),
    ],
)
def test_one_mask_in_every_kind(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, most: int, mode: str
) -> None:
    """Without a warning; an empty one is all False."""
    mask = read_mask(save(tmp_path / name, SQUARE.astype(np.uint16) * most, mode), SQUARE.shape)
    assert mask.dtype == np.bool_
    assert (mask == SQUARE).all()
    assert not read_mask(save(tmp_path / name, np.zeros((20, 30)), mode), SQUARE.shape).any()
    assert caplog.text == ""


def test_smoothed_edges_are_cut_at_a_threshold(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With a warning that counts the grey pixels; a JPEG of the mask differs at the edge alone."""
    values = smooth()
    mask = read_mask(save(tmp_path / "m.png", values), (60, 60))
    assert (mask == (values >= 128)).all()
    grey = np.count_nonzero((values > 0) & (values < 255))
    assert f"m.png: {grey} pixels of the mask are grey" in caplog.text
    assert (read_mask(tmp_path / "m.png", (60, 60), threshold=1) == (values > 0)).all()
    jpeg = read_mask(save(tmp_path / "m.jpg", values, quality=90), (60, 60))
    assert (jpeg != mask).sum() <= grey // 4
    with pytest.raises(DataError, match="JPEG does not keep the values of classes"):
        read_mask(tmp_path / "m.jpg", (60, 60), values=(1,))


def test_thin_lines_of_classes_are_refused(tmp_path: Path) -> None:
    """Small numbers are classes where no area shows it."""
    values = np.zeros((20, 30), np.uint8)
    values[3], values[8] = 1, 2
    with pytest.raises(DataError, match=r"m\.png: the mask has 3 values \(0, 1, 2\)"):
        read_mask(save(tmp_path / "m.png", values), (20, 30))


@pytest.mark.parametrize("labels", [(0, 1, 2), (0, 38), (0, 127, 255), (0, 85, 170, 255)])
def test_class_labels_are_refused_until_they_are_named(
    tmp_path: Path, labels: tuple[int, ...]
) -> None:
    """Small numbers, and areas of grey, are classes; the remedy reads them."""
    values = np.zeros((20, 30), np.uint8)
    for number, label in enumerate(labels):
        values[2:9, 7 * number : 7 * number + 7] = label
    path = save(tmp_path / "m.png", values)
    with pytest.raises(DataError, match=r"m\.png: the mask has .* classes.*name the values"):
        read_mask(path, (20, 30))
    assert (read_mask(path, (20, 30), values=(labels[1],)) == (values == labels[1])).all()
    assert not read_mask(path, (20, 30), values=(77,)).any()


def test_a_palette_in_colour_holds_classes(tmp_path: Path) -> None:
    """Its indices are what is named; colours without a palette cannot be."""
    path = save(tmp_path / "m.png", SQUARE * 2, "P")
    with pytest.raises(DataError, match="the mask is in colour"):
        read_mask(path, (20, 30))
    assert (read_mask(path, (20, 30), values=(2,)) == SQUARE).all()
    colour = Image.fromarray(np.stack([SQUARE * 255, SQUARE * 0, SQUARE * 0], 2).astype(np.uint8))
    colour.save(tmp_path / "c.png")
    for values in ((), (255,)):
        with pytest.raises(DataError, match=r"c\.png: the mask is in colour.*save it with class"):
            read_mask(tmp_path / "c.png", (20, 30), values=values)


def test_inverted_masks_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What covers the whole border is likely the background."""
    with caplog.at_level(logging.WARNING):
        read_mask(save(tmp_path / "m.png", ~SQUARE * 255), (20, 30))
    assert (
        f"m.png: {100 * (~SQUARE).mean():.0f} % of the mask is drawn, and all around" in caplog.text
    )


def test_a_mask_of_the_same_aspect_is_brought_to_its_image(tmp_path: Path) -> None:
    """As 256 for 299: by the nearest centre up, and any pixel of the area down."""
    small = np.zeros((256, 256), np.uint8)
    small[64:128, 32:96] = 255
    mask = read_mask(save(tmp_path / "m.png", small), (299, 299))
    assert mask.mean() == pytest.approx(64 * 64 / 256**2, rel=0.02)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    assert (rows[0], rows[-1] + 1) == (75, 149)  # first centre at or behind 64 * 299 / 256 = 74.75
    assert (columns[0], columns[-1] + 1) == (37, 112)  # 37.375: centre 37.5 is behind it
    dot = np.zeros((40, 60), np.uint8)
    dot[21, 33] = 255
    down = read_mask(save(tmp_path / "m.png", dot), (20, 30))
    assert np.argwhere(down).tolist() == [[10, 16]]
    assert read_mask(tmp_path / "m.png", (7, 10)).sum() == 1  # 10.5 to 10
    for size in ((30, 20), (20, 32), (40, 64), (40, 40)):
        with pytest.raises(DataError, match=r"m\.png: the mask is 40 x 60 pixels, and its image"):
            read_mask(tmp_path / "m.png", size)


@pytest.mark.parametrize("name", ["m.png", "m.bmp", "m.tif"])
def test_damaged_masks_are_refused(tmp_path: Path, name: str) -> None:
    """Cut at any length, or not a picture at all; the file is named."""
    path = save(tmp_path / name, SQUARE * 255)
    data = path.read_bytes()
    for length in (0, 10, len(data) // 2, len(data) - 5):
        path.write_bytes(data[:length])
        with pytest.raises(DataError, match=name):
            read_mask(path, SQUARE.shape)
