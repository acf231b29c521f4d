"""Boxes: cells of a table, checks against their image, staged pixels.

A box is x0, y0, x1, y1 in pixels from the top left corner: edges, so that a box of one pixel has
x1 - x0 = 1. Releases with `x_max` and `y_max` (VinDr-CXR) are read so, too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spurious.errors import DataError

BoxForm = Literal["x y width height", "x0 y0 x1 y1"]
FARTHEST = 1e9
"""Pixels that no image has; JSON holds whole numbers that no float does."""

_BLANK = ("", "nan", "none", "null", "na")
_BRACKETS = re.compile(r"[\[(](.*)[\])]", re.DOTALL)
_GUARD = 1e-6
"""Staged pixels within which an edge counts as on the grid, against rounding of the quotient."""


def read_box(cells: Sequence[str], form: BoxForm) -> NDArray[np.float64] | None:
    """Read one box from four cells, or from one cell such as `[x, y, w, h]`.

    Args:
        cells: Four cells in the order of the form, or one that holds four numbers with commas or
            spaces between them, with brackets or without.
        form: What the numbers are.

    Returns:
        (4,) float64, x0, y0, x1, y1; None where all cells are blank, which is a row without a box.

    Raises:
        DataError: Blank in part, not numbers, not finite, or a size of 0 or less.
    """
    held = [cell.strip() for cell in cells]
    if all(cell.lower() in _BLANK for cell in held):
        return None
    if len(held) == 1:
        inner = _BRACKETS.fullmatch(held[0])
        held = re.split(r"\s*,\s*|\s+", (inner[1] if inner else held[0]).strip())
    if len(held) != 4:
        raise DataError(f"box has {len(held)} numbers; expected 4, '{form}'")
    numbers = [_read_number(cell, held, form) for cell in held]
    return make_box(numbers, form)


def make_box(numbers: Sequence[float], form: BoxForm) -> NDArray[np.float64]:
    """Return x0, y0, x1, y1 of four numbers of a form, (4,) float64.

    Raises:
        DataError: Not finite, or a width or height of 0 or less.
    """
    shown = ", ".join(f"{number:g}" for number in numbers)
    if not all(math.isfinite(number) for number in numbers):
        raise DataError(f"box {shown} is not finite; expected '{form}'")
    x0, y0, x1, y1 = numbers
    if form == "x y width height":
        x1, y1 = x0 + x1, y0 + y1
    if x1 <= x0 or y1 <= y0:
        raise DataError(
            f"box {shown} is {x1 - x0:g} wide and {y1 - y0:g} high; expected '{form}' with sizes "
            "above 0"
        )
    return np.array([x0, y0, x1, y1], np.float64)


def clip_box(
    box: NDArray[np.float64], height: int, width: int
) -> tuple[NDArray[np.float64], float]:
    """Cut a box at the borders of its image.

    Returns:
        The (4,) float64 box, and by how many pixels it went past a border at most, for the caller
        to warn of.

    Raises:
        DataError: It lies outside, or reaches so far past a border, by more than the image's own
            side, that it belongs to an image of another size.
    """
    sides = np.array([width, height, width, height], np.float64)
    past = float(max(np.max(-box), np.max(box - sides), 0.0))
    inside = np.clip(box, 0, sides)
    shown = ", ".join(f"{edge:g}" for edge in box)
    if (inside[:2] >= inside[2:]).any() or (box < -sides).any() or (box > 2 * sides).any():
        raise DataError(
            f"box from x, y to x, y of {shown} lies outside its image of {width} x {height} (width "
            "x height), or reaches far past it; expected pixels of this image"
        )
    return inside, past


def stage_boxes(
    boxes: NDArray[np.float64], native: tuple[int, int], staged: tuple[int, int]
) -> NDArray[np.int32]:
    """Scale boxes to the staged image: every pixel that a box touches, so that none vanishes.

    Args:
        boxes: (k, 4) float64 in native pixels, inside the image (`clip_box`).
        native: Height and width of the native image.
        staged: Height and width of the staged one.

    Returns:
        (k, 4) int32, x0, y0, x1, y1, x1 and y1 exclusive.
    """
    sides = np.array([staged[1], staged[0]], np.float64)
    scale = sides / np.array([native[1], native[0]], np.float64)
    low, high = boxes[:, :2] * scale, boxes[:, 2:] * scale
    first = np.clip(np.floor(low + _GUARD), 0, sides - 1)
    last = np.clip(np.ceil(high - _GUARD), first + 1, sides)
    return np.concatenate([first, last], axis=1).astype(np.int32)


def _read_number(cell: str, cells: Sequence[str], form: BoxForm) -> float:
    try:
        if "_" in cell:  # Python's own way to group digits
            raise ValueError
        return float(cell)
    except ValueError:
        raise DataError(
            f"box ({', '.join(cells)[:80]}) has '{cell[:40]}', which is not a number; expected "
            f"'{form}', or all cells blank for no box"
        ) from None
