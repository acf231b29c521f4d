"""How far the spurious attributes alone give a dataset's label away, with no image seen.

A classifier that looks at the shortcuts alone reaches these figures: on training what it would
learn, on a test split whose correlation is reversed the floor that it would fall to.

Shape legend: N images, A spurious attributes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spurious.data.attributes import GroupCounts
from spurious.data.splits import SPLITS
from spurious.scoring.metrics import auroc


@dataclass(frozen=True)
class AttributeOnly:
    """AUROC of a logistic model on the attributes alone, fitted on the training split.

    Attributes:
        auroc: Split to AUROC; NaN where a split has one class.
        images: Split to images with all attributes annotated, which alone are used.
    """

    auroc: dict[str, float]
    images: dict[str, int]


def measure_correlation(counts: GroupCounts) -> float:
    """Return the phi coefficient of label and attribute over annotated images; NaN if undefined."""
    n00, n01, n10, n11 = counts.annotated
    scale = math.sqrt((n00 + n01) * (n10 + n11) * (n00 + n10) * (n01 + n11))
    return (n11 * n00 - n10 * n01) / scale if scale else math.nan


def measure_attribute_only(
    splits: NDArray[np.str_], labels: NDArray[np.int64], attributes: NDArray[np.int8]
) -> AttributeOnly | None:
    """Fit a logistic model on the attributes of the training split and score every split.

    Args:
        splits: (N,) str.
        labels: (N,) int64 in {0, 1}.
        attributes: (N, A) int8, -1 where not annotated.

    Returns:
        None where no training image of each label has all attributes annotated, or there are none.
    """
    from sklearn.linear_model import LogisticRegression

    known = (attributes >= 0).all(axis=1)
    of_split = {split: np.flatnonzero(known & (splits == split)) for split in SPLITS}
    train = of_split["train"]
    if not attributes.shape[1] or len(np.unique(labels[train])) < 2:
        return None
    model = LogisticRegression(max_iter=1000).fit(attributes[train], labels[train])
    scores = {
        split: model.decision_function(attributes[rows]) if len(rows) else np.zeros(0)
        for split, rows in of_split.items()
    }
    return AttributeOnly(
        {split: auroc(labels[rows], scores[split]) for split, rows in of_split.items()},
        {split: len(rows) for split, rows in of_split.items()},
    )
