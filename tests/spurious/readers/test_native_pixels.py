"""Stretches of one value in uncompressed pixels: overwritten ones are refused, borders are not."""

from __future__ import annotations

import numpy as np
import pytest

from spurious.errors import DataError
from spurious.readers.native_pixels import check_native

HEIGHT, WIDTH = 40, 50
FILM = np.random.default_rng(0).integers(1, 255, (HEIGHT, WIDTH)).astype(np.uint16)


def overwrite(begin: int, end: int, value: int = 0) -> np.ndarray:
    """Return the film with one value in a range of its pixels."""
    film = FILM.copy()
    film.ravel()[begin:end] = value
    return film


@pytest.mark.parametrize("value", [0, 255])
@pytest.mark.parametrize(
    ("begin", "end", "where"),
    [
        (1020, 1500, "from row 20, column 20 to row 29, column 49"),
        (1000, 1070, "from row 20, column 0 to row 21, column 19"),
        (1020, 2000, "from row 20, column 20 to row 39, column 49"),
        (0, 230, "from row 0, column 0 to row 4, column 29"),
    ],
    ids=["block", "from a row on", "rest of a download", "beginning"],
)
def test_one_value_across_rows_is_refused(value: int, begin: int, end: int, where: str) -> None:
    """Zeroed blocks of disks, and what a download has not filled."""
    with pytest.raises(DataError, match=f"{where} are {value}, across rows"):
        check_native(overwrite(begin, end, value))


def test_borders_and_shutters_pass() -> None:
    """Whole rows, frames, rounded corners, slanted edges, and a film of nothing else."""
    rows, columns = np.indices(FILM.shape)
    slanted = rows + columns > 60
    circle = (rows - 20) ** 2 + (columns - 25) ** 2 > 360
    frame = (rows < 5) | (rows >= 34) | (columns < 4) | (columns >= 46)
    corners = frame | (abs(rows - 19) + abs(columns - 25) > 32)
    for outside in (slanted, circle, frame, corners, rows > 30, rows < 9, rows == 20, rows >= 0):
        check_native(np.where(outside, 0, FILM))
        check_native(np.where(outside, 4095, FILM))
    check_native(FILM)
    check_native(FILM[:, :1])
