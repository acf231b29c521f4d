"""Run-length codes of masks, in a convention that the caller declares.

A code is pairs of whole numbers over the mask read line by line: where a run starts, and how many
pixels it has. Releases differ in three ways that no single code shows, so none of them is guessed:
whether a start counts from the image's first pixel or from the end of the run before, whether the
first pixel is 0 or 1, and whether lines are columns or rows.

Sources: SIIM-ACR Pneumothorax Segmentation, description of `train-rle.csv` (relative, 0, columns);
CheXmask, notebook of the release (absolute, 1, rows).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spurious.errors import DataError

NO_MASK = "-1"
_CODE = re.compile(r"[0-9]{1,9}(?:\s+[0-9]{1,9})*", re.ASCII)


@dataclass(frozen=True)
class RleConvention:
    """What the numbers of a code mean.

    Attributes:
        starts: `relative`: a start counts from the end of the run before it, for the first run
            from the first pixel; `absolute`: always from the first pixel.
        base: Number of the first pixel.
        order: Whether the mask is read column by column or row by row, from the top left.
        blank_is_empty: Whether a code without text is an empty mask, as `NO_MASK` always is. Where
            not, it is refused: a blank cell may as well be a mask that nobody drew.
    """

    starts: Literal["relative", "absolute"]
    base: Literal[0, 1]
    order: Literal["columns", "rows"]
    blank_is_empty: bool = False


def read_pairs(code: str, convention: RleConvention) -> NDArray[np.int64]:
    """Return the (K, 2) int64 numbers of a code as they are written; K is 0 for an empty mask.

    Raises:
        DataError: Not whole numbers in pairs, or a run without pixels.
    """
    code, first = code.strip(), "gap" if convention.starts == "relative" else "start"
    if code == NO_MASK or (not code and convention.blank_is_empty):
        return np.zeros((0, 2), np.int64)
    if not _CODE.fullmatch(code):
        shown = code if len(code) <= 40 else f"{code[:40]}..."
        raise DataError(
            f"run-length code '{shown}' is not whole numbers of 0 or more separated by spaces; "
            f"expected '{first} length {first} length ...' or {NO_MASK} for no mask"
        )
    numbers = np.array(code.split(), dtype=np.int64)
    if len(numbers) % 2:
        raise DataError(
            f"run-length code has {len(numbers)} numbers; expected pairs '{first} length', "
            "so an even number: it may be cut off"
        )
    pairs = numbers.reshape(-1, 2)
    if (pairs[:, 1] == 0).any():
        raise DataError("run-length code has a run of length 0; expected lengths of 1 or more")
    return pairs


def find_runs(code: str, convention: RleConvention) -> NDArray[np.int64]:
    """Return the (K, 2) int64 runs of a code: first pixel, and the pixel behind the last, from 0.

    Raises:
        DataError: `read_pairs` refuses the code, it starts before the first pixel, or absolute
            starts do not ascend from run to run.
    """
    pairs = read_pairs(code, convention)
    if not len(pairs):
        return pairs
    if convention.base and not pairs[0, 0]:
        raise DataError(
            "run-length code starts at pixel 0; expected numbers that count the first pixel as 1: "
            "where they count it as 0, declare base 0"
        )
    if convention.starts == "relative":
        ends = np.cumsum(pairs.ravel())[1::2] - convention.base
        return np.stack([ends - pairs[:, 1], ends], axis=1)
    starts = pairs[:, 0] - convention.base
    runs = np.stack([starts, starts + pairs[:, 1]], axis=1)
    wrong = np.flatnonzero(runs[1:, 0] < runs[:-1, 1])
    if len(wrong):
        before, after = pairs[wrong[0]].tolist(), pairs[wrong[0] + 1].tolist()
        raise DataError(
            f"run-length code has '{before[0]} {before[1]}' and then '{after[0]} {after[1]}', "
            f"which starts before {before[0] + before[1]}, where the run before it ends; expected "
            "absolute starts that ascend: where they are gaps from the end of the run before, "
            "declare starts relative"
        )
    return runs


def decode(
    code: str, height: int, width: int, convention: RleConvention
) -> tuple[NDArray[np.bool_], int]:
    """Decode a code into a mask of known size.

    Returns:
        The (height, width) bool mask, and the number of pixels by which the last run went past
        the last pixel (0 in a sound code). Such a run is clipped; the caller warns.

    Raises:
        DataError: `find_runs` refuses the code, or it reaches so far past the last pixel that it
            belongs to an image of another size: a run that starts there, one of relative starts
            that exceeds the end by more than a line, one of absolute starts that exceeds it at all.
    """
    runs = find_runs(code, convention)
    size = height * width
    line = height if convention.order == "columns" else width
    excess = max(0, int(runs[-1, 1]) - size) if len(runs) else 0
    allowed = line if convention.starts == "relative" else 0
    if excess and (int(runs[-1, 0]) >= size or excess > allowed):
        detail = (
            "with gaps relative to the previous run"
            if convention.starts == "relative"
            else f"with starts that count the first pixel as {convention.base}"
        )
        raise DataError(
            f"run-length code ends at pixel {int(runs[-1, 1])} of a mask of {height} x {width} = "
            f"{size} pixels; expected the code of an image of this size, {detail}"
        )
    mask = np.zeros(size, bool)
    for start, end in runs.tolist():
        mask[start:end] = True
    if convention.order == "columns":
        return mask.reshape(width, height).T, excess
    return mask.reshape(height, width), excess


def encode(mask: NDArray[np.bool_], convention: RleConvention) -> str:
    """Return the code of a (H, W) bool mask; `NO_MASK` when it is empty."""
    lines = mask.T if convention.order == "columns" else mask
    flat = np.concatenate(([False], lines.ravel(), [False]))
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    if not len(edges):
        return NO_MASK
    if convention.starts == "relative":
        numbers = np.diff(edges, prepend=0)
        numbers[0] += convention.base
    else:
        runs = edges.reshape(-1, 2)
        numbers = np.stack([runs[:, 0] + convention.base, runs[:, 1] - runs[:, 0]], axis=1).ravel()
    return " ".join(str(number) for number in numbers)
