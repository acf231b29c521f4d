"""Finds stretches of uncompressed pixels that were overwritten with one value.

Uncompressed films have no redundancy. But a block of a disk or the rest of a download that became
zeros cuts across rows, which no border, shutter or saturated area of a film does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spurious.errors import DataError

_MOSTLY = 0.75
_FEWEST = 8
"""Pixels of a row that an edge within it needs on its other side to be judged."""


def check_native(values: NDArray[Any]) -> None:
    """Refuse one value over a row's length or more that begins or ends abruptly inside a row.

    Abrupt is an edge where the row above (at the end: below) has mostly other values in the same
    columns. A stretch whose other edge is a border of the film's content is not judged.

    Args:
        values: (H, W) stored values.

    Raises:
        DataError: There is such a stretch; says where.
    """
    width, flat = values.shape[1], values.ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    begins, ends = np.append(0, changes), np.append(changes, flat.size)
    long = ends - begins >= width
    for begin, end in zip(begins[long].tolist(), ends[long].tolist(), strict=True):
        value = flat[begin]
        before, behind = (flat[:begin] != value)[::-1], flat[end:] != value
        edges = {_is_abrupt(before, -begin % width, width), _is_abrupt(behind, end % width, width)}
        if True in edges and False not in edges:
            raise DataError(
                f"all pixels from row {begin // width}, column {begin % width} to row "
                f"{(end - 1) // width}, column {(end - 1) % width} are {value}, across rows that "
                "have other values: overwritten, or a download that was not finished; restore the "
                "file from the release"
            )


def _is_abrupt(differs: NDArray[np.bool_], inside: int, width: int) -> bool | None:
    """Judge one edge of a stretch.

    Args:
        differs: Whether pixels differ from the stretch's value, from the edge outwards.
        inside: Pixels of the edge's row that belong to the stretch.
        width: Pixels of a row.

    Returns:
        True for an abrupt edge inside a row, False for one of the film's content, and None for an
        edge between rows or at the film's own, or one that is too short to be judged.
    """
    if not differs.size:
        return None
    row = differs[:width] if not inside else differs[width - inside : width]
    if inside and len(row) < _FEWEST:
        return None
    if row.mean() < _MOSTLY:
        return False
    return True if inside else None
