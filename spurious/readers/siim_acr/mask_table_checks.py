"""Judges a whole mask table by the shapes that its codes draw.

In the released table no code ascends as absolute starts do (0 of 3,576), columns are 1024 pixels
apart, and 77 % of the area is in the upper half of the films, 58 % in the left one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spurious.readers.marks.rle import find_runs
from spurious.readers.marks.rle_checks import find_odd_pitch
from spurious.readers.siim_acr.siim_files import RLE

_LOOKED_AT = 500
_FEWEST = 50
"""Masks that a share is taken of; at 50 its standard error is about 0.07."""
_MORE_LEFT = 0.1


def find_odd_shapes(codes: Sequence[str], rows: int) -> list[str]:
    """Return warnings of a table whose masks do not look like those of chest films.

    Args:
        codes: Run-length codes of masks.
        rows: Rows of the films, which are squares; 0 where they are not known.
    """
    spread = codes[:: max(1, len(codes) // _LOOKED_AT)]
    if len(spread) < _FEWEST or not rows:
        return []
    if odd := find_odd_pitch(spread, [(rows, rows)] * len(spread), RLE):
        return [odd]
    left, upper = _halves([find_runs(code, RLE) for code in spread], rows)
    if left - upper > _MORE_LEFT:
        return [
            f"{left:.0%} of the masks' area is in the left half of the films and {upper:.0%} in "
            "the upper half, and pneumothoraces are mostly in the upper half: the codes may go "
            "row by row instead of column by column"
        ]
    return []


def _halves(spread: Sequence[NDArray[np.int64]], rows: int) -> tuple[float, float]:
    """Return the mean shares of the left and the upper half, each mask counting once."""
    left, upper = [], []
    for runs in spread:
        lengths = runs[:, 1] - runs[:, 0]
        weights, middles = lengths / lengths.sum(), runs[:, 0] + lengths // 2
        left.append(weights[middles // rows < rows / 2].sum())
        upper.append(weights[middles % rows < rows / 2].sum())
    return float(np.mean(left)), float(np.mean(upper))
