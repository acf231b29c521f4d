"""Judges a whole mask table by the shapes that its codes draw.

A code of another convention is still a list of numbers, and most of them decode to something. What
single masks cannot show, hundreds can: in the released table no code ascends as absolute starts do
(0 of 3,576), columns are 1024 pixels apart, and 77 % of the area is in the upper half of the films,
58 % in the left one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spurious.readers.siim_acr import rle

_LOOKED_AT = 500
_FEWEST = 50
"""Masks that a share is taken of; at 50 its standard error is about 0.07."""
_MORE_LEFT = 0.1
_PITCH_TOLERANCE = 0.02


def find_absolute_starts(codes: Sequence[str]) -> tuple[list[int], int]:
    """Find codes that hold absolute starts instead of gaps.

    Gaps of a mask are about a column long and do not ascend; absolute starts always do.

    Returns:
        Positions of codes that ascend, and how many codes could be judged (3 runs or more).
    """
    ascending, judged = [], 0
    for position, runs in enumerate(map(rle.parse, codes)):
        if len(runs) > 2:
            judged += 1
            if (runs[1:, 0] >= runs[:-1].sum(1)).all():
                ascending.append(position)
    return ascending, judged


def find_odd_shapes(codes: Sequence[str], rows: int) -> list[str]:
    """Return warnings of a table whose masks do not look like those of chest films.

    Args:
        codes: Run-length codes of masks.
        rows: Rows of the films, which are squares; 0 where they are not known.
    """
    spread = [rle.parse(code) for code in _spread(codes)]
    if len(spread) < _FEWEST or not rows:
        return []
    starts = [np.cumsum(runs.ravel())[0::2] for runs in spread]
    distances = np.concatenate([np.diff(held) for held in starts])
    pitch = int(np.median(distances)) if distances.size else rows
    if abs(pitch - rows) > _PITCH_TOLERANCE * rows:
        return [
            f"runs are mostly {pitch} pixels apart, and the films have {rows} rows, so the masks "
            "look like stripes: the codes may be of images of another size"
        ]
    left, upper = _halves(spread, starts, rows)
    if left - upper > _MORE_LEFT:
        return [
            f"{left:.0%} of the masks' area is in the left half of the films and {upper:.0%} in "
            "the upper half, and pneumothoraces are mostly in the upper half: the codes may go "
            "row by row instead of column by column"
        ]
    return []


def _spread(codes: Sequence[str]) -> Sequence[str]:
    return codes[:: max(1, len(codes) // _LOOKED_AT)]


def _halves(
    spread: Sequence[NDArray[np.int64]], starts: Sequence[NDArray[np.int64]], rows: int
) -> tuple[float, float]:
    """Return the mean shares of the left and the upper half, each mask counting once."""
    left, upper = [], []
    for runs, begins in zip(spread, starts, strict=True):
        weights, middles = runs[:, 1] / runs[:, 1].sum(), begins + runs[:, 1] // 2
        left.append(weights[middles // rows < rows / 2].sum())
        upper.append(weights[middles % rows < rows / 2].sum())
    return float(np.mean(left)), float(np.mean(upper))
