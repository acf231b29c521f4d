"""Down-sampling of images and masks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spurious.errors import DataError
from spurious.readers.resize import shrink_image, shrink_mask


def test_one_pixel_survives_max_pooling() -> None:
    """A thin positive must not vanish: 1024 to 256 keeps a single pixel, in its cell only."""
    mask = np.zeros((1024, 1024), bool)
    mask[515, 1023] = True
    assert np.argwhere(shrink_mask(mask, 256, 256)).tolist() == [[128, 255]]


@given(st.integers(1, 13), st.integers(1, 13), st.integers(1, 13), st.integers(1, 13), st.data())
def test_pooling_marks_exactly_the_touched_cells(
    height: int, width: int, rows: int, columns: int, data: st.DataObject
) -> None:
    """For any sizes a cell is True if and only if a positive pixel overlaps it (brute force)."""
    rows, columns = min(rows, height), min(columns, width)
    is_dense = data.draw(st.booleans())
    pixels = st.sets(st.integers(0, height * width - 1), max_size=height * width if is_dense else 3)
    mask = np.zeros((height, width), bool)
    mask.flat[sorted(data.draw(pixels))] = True
    expected = np.zeros((rows, columns), bool)
    for y, x in np.argwhere(mask).tolist():
        for i in range(rows):
            for j in range(columns):
                beside = (i + 1) * height <= y * rows or i * height >= (y + 1) * rows
                above = (j + 1) * width <= x * columns or j * width >= (x + 1) * columns
                expected[i, j] |= not (beside or above)
    assert (shrink_mask(mask, rows, columns) == expected).all()
    assert (shrink_mask(np.asfortranarray(mask), rows, columns) == expected).all()


def test_images_are_averaged_over_area() -> None:
    """Each output pixel is the mean of its cell; sub-sampling would return one of its corners."""
    image = np.array([[0, 100, 8, 8], [200, 100, 8, 8]], np.uint8)
    assert shrink_image(image, 1, 2).tolist() == [[100, 8]]


def test_colours_and_sides_are_averaged_on_their_own() -> None:
    """An oblong image of three channels becomes a square, each channel as if it were alone."""
    image = np.random.default_rng(0).integers(0, 256, (30, 45, 3)).astype(np.uint8)
    found = shrink_image(image, 20, 20)
    assert found.shape == (20, 20, 3)
    for channel in range(3):
        alone = shrink_image(np.ascontiguousarray(image[:, :, channel]), 20, 20)
        assert (found[:, :, channel] == alone).all()
    assert shrink_image(image, 30, 45) is image
    with pytest.raises(DataError, match="30 x 45 pixels is smaller"):
        shrink_image(image, 31, 31)


def test_sizes_that_do_not_divide_keep_the_mean() -> None:
    """1000 to 384 by area leaves the mean brightness of a ramp within one level."""
    image = np.tile(np.linspace(0, 255, 1000).astype(np.uint8), (1000, 1))
    small = shrink_image(image, 384, 384)
    assert small.shape == (384, 384)
    assert abs(small.mean() - image.mean()) < 1


def test_enlarging_is_refused() -> None:
    """Staging invents no detail."""
    with pytest.raises(DataError, match="smaller than the staged size 8 x 8"):
        shrink_mask(np.zeros((4, 4), bool), 8, 8)
    with pytest.raises(DataError, match="smaller than the staged size 4 x 8"):
        shrink_image(np.zeros((4, 4), np.uint8), 4, 8)
