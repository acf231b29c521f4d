"""Run-length codes of SIIM-ACR masks: relative gaps, column by column.

A code is pairs "gap length ..." over the mask read column by column from the top left. A gap counts
pixels from the END of the previous run (from the first pixel for the first run), so it is not the
absolute start that most other releases use. "-1" stands for an empty mask.

Source: SIIM-ACR Pneumothorax Segmentation, description of `train-rle.csv`.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from spurious.errors import DataError

NO_MASK = "-1"
_CODE = re.compile(r"[0-9]{1,9}(?:\s+[0-9]{1,9})*", re.ASCII)


def parse(code: str) -> NDArray[np.int64]:
    """Return the (K, 2) int64 runs (gap, length) of a code; K is 0 for `NO_MASK`.

    Raises:
        DataError: Not whole numbers in pairs, or a run without pixels.
    """
    code = code.strip()
    if code == NO_MASK:
        return np.zeros((0, 2), np.int64)
    if not _CODE.fullmatch(code):
        shown = code if len(code) <= 40 else f"{code[:40]}..."
        raise DataError(
            f"run-length code '{shown}' is not whole numbers of 0 or more separated by spaces; "
            f"expected 'gap length gap length ...' or {NO_MASK} for no mask"
        )
    numbers = np.array(code.split(), dtype=np.int64)
    if len(numbers) % 2:
        raise DataError(
            f"run-length code has {len(numbers)} numbers; expected pairs 'gap length', "
            "so an even number: it may be cut off"
        )
    runs = numbers.reshape(-1, 2)
    if (runs[:, 1] == 0).any():
        raise DataError("run-length code has a run of length 0; expected lengths of 1 or more")
    return runs


def decode(code: str, height: int, width: int) -> tuple[NDArray[np.bool_], int]:
    """Decode a code into a mask of known size.

    Returns:
        The (height, width) bool mask, and the number of pixels by which the last run went past
        the last pixel (0 in a sound code). Such a run is clipped; the caller warns.

    Raises:
        DataError: `parse` refuses the code, or it reaches so far past the last pixel that it
            belongs to an image of another size: a run that starts there, or one that exceeds
            the end by more than a column.
    """
    runs = parse(code)
    mask = np.zeros(height * width, bool)
    ends = np.cumsum(runs.ravel())[1::2]
    starts = ends - runs[:, 1]
    excess = max(0, int(ends[-1]) - mask.size) if len(ends) else 0
    if excess and (int(starts[-1]) >= mask.size or excess > height):
        raise DataError(
            f"run-length code ends at pixel {int(ends[-1])} of a mask of {height} x {width} = "
            f"{mask.size} pixels; expected the code of an image of this size, "
            "with gaps relative to the previous run"
        )
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        mask[start:end] = True
    return mask.reshape(width, height).T, excess


def encode(mask: NDArray[np.bool_]) -> str:
    """Return the code of a (H, W) bool mask; `NO_MASK` when it is empty."""
    flat = np.concatenate(([False], mask.T.ravel(), [False]))
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    if not len(edges):
        return NO_MASK
    return " ".join(str(number) for number in np.diff(edges, prepend=0))
