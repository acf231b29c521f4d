"""Moments of the pixels of each training image, kept with the dataset where there is a place.

Shape legend: n training images in row order, C channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spurious.config.options import Specificity
from spurious.data.dataset import Dataset
from spurious.data.derived import DerivedArrays, name_of
from spurious.data.inputs import PackedTargets, name_specificity
from spurious.scoring.measures import moments_dtype, moments_within


def derive_moments(
    data: Dataset, specificity: Specificity, derived: DerivedArrays
) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Return moments of all pixels, and of those that targets call abnormal.

    Args:
        data: The dataset.
        specificity: Of the targets; that of a label is the whole image.
        derived: Where they are kept.

    Returns:
        Two (n, 1 + 2 C) of `pixel_moments`; the second is zero for negative images. None where
        there is no place for them.
    """
    rows = data.rows("train")
    dtype = moments_dtype(data.images.dtype)
    shape = (len(rows), 1 + 2 * data.images.shape[3])
    exact = dtype.kind == "i"

    def fill_everything(moments: NDArray[Any]) -> None:
        for at, row in enumerate(rows):
            moments[at] = moments_within(np.asarray(data.images[row]), None)

    def fill_abnormal(moments: NDArray[Any]) -> None:
        targets = PackedTargets(data.masks, rows, specificity, None, data.boxes, derived)
        for at in np.flatnonzero(data.labels[rows] == 1):
            target = targets[np.array([at])][0]
            moments[at] = moments_within(np.asarray(data.images[rows[at]]), target)

    everything = derived.get(name_of("moments", exact=exact), shape, dtype, fill_everything)
    if everything is None or specificity.kind == "label":
        return None if everything is None else (everything, everything)
    name = name_of(f"moments-{name_specificity(specificity)}", exact=exact)
    abnormal = derived.get(name, shape, dtype, fill_abnormal)
    return None if abnormal is None else (everything, abnormal)
