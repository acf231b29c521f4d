"""Finds masks of lesions that are likely inverted: skin is drawn instead of the lesion."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spurious.errors import DataError
from spurious.readers.issues import ReaderIssues
from spurious.readers.joins import name_some
from spurious.readers.pictures import read_picture

_LOOKED_AT = 20
_FEWEST = 5
_BORDER_SHARE = 0.95


def looks_inverted(mask: NDArray[np.bool_]) -> bool:
    """Return whether a mask covers nearly the whole border of its picture.

    A lesion seldom leaves the picture on all four sides; the skin around one always does.
    """
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    return bool(border.mean() >= _BORDER_SHARE)


def check_inversion(masks: Sequence[Path], issues: ReaderIssues) -> None:
    """Report a release in which most masks look inverted, by up to 20 spread over it.

    Args:
        masks: Files of masks; what cannot be read is passed over, as loading it reports it.
        issues: Receives the shares.
    """
    shares = {}
    read = 0
    for path in masks[:: max(1, len(masks) // _LOOKED_AT)]:
        try:
            mask = read_picture(path, "PNG", "L", "1") != 0
        except DataError:
            continue
        read += 1
        if looks_inverted(mask):
            shares[path.name] = float(mask.mean())
    if read >= _FEWEST and 2 * len(shares) > read:
        issues.add(
            f"{len(shares)} of {read} masks that were looked at cover the whole border of their "
            f"picture and {np.mean(list(shares.values())):.0%} of it on average "
            f"({name_some(shares)}), as inverted ones do; lesions must be white (255)"
        )
