"""Finds masks that are likely inverted: what surrounds an abnormality is drawn instead of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spurious.errors import DataError
from spurious.readers.issues import ReaderIssues
from spurious.readers.joins import name_some

_LOOKED_AT = 20
_FEWEST = 5
_BORDER_SHARE = 0.95


def looks_inverted(mask: NDArray[np.bool_]) -> bool:
    """Return whether a mask covers nearly the whole border of its picture.

    A lesion seldom leaves the picture on all four sides; what is around one always does.
    """
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    return bool(border.mean() >= _BORDER_SHARE)


def check_inversion(
    masks: Sequence[Path],
    read: Callable[[Path], NDArray[np.bool_]],
    what: str,
    issues: ReaderIssues,
) -> None:
    """Report a folder in which most masks look inverted, by up to 20 spread over it.

    Args:
        masks: Files of masks.
        read: Returns the (H, W) bool mask of a file; one for which it raises DataError is passed
            over, as loading it reports it.
        what: What is drawn, in the plural.
        issues: Receives the shares.
    """
    shares = {}
    looked_at = 0
    for path in masks[:: max(1, len(masks) // _LOOKED_AT)]:
        try:
            mask = read(path)
        except DataError:
            continue
        looked_at += 1
        if looks_inverted(mask):
            shares[path.name] = float(mask.mean())
    if looked_at >= _FEWEST and 2 * len(shares) > looked_at:
        issues.add(
            f"{len(shares)} of {looked_at} masks that were looked at cover the whole border of "
            f"their picture and {np.mean(list(shares.values())):.0%} of it on average "
            f"({name_some(shares)}), as inverted ones do; {what} must be white (255): invert "
            "the masks"
        )
