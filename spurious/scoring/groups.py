"""Groups of (label, spurious attribute): direction, cells, and who contradicts the label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spurious.data.dataset import UNKNOWN


@dataclass(frozen=True)
class Cells:
    """Numbers of images per (label y, attribute s) and without an annotation of s."""

    y0_s0: int
    y0_s1: int
    y1_s0: int
    y1_s1: int
    unknown: int


def cells(labels: NDArray[np.int64], attribute: NDArray[np.int8]) -> Cells:
    """Count the four groups g = 2 y + s; labels (N,), attribute (N,) in {0, 1, UNKNOWN}."""
    known = attribute != UNKNOWN
    group = 2 * labels[known] + attribute[known]
    counts = np.bincount(group, minlength=4)
    y0_s0, y0_s1, y1_s0, y1_s1 = (int(count) for count in counts)
    return Cells(y0_s0, y0_s1, y1_s0, y1_s1, unknown=int((~known).sum()))


def direction(labels: NDArray[np.int64], attribute: NDArray[np.int8]) -> int:
    """+1 where the attribute goes with the label, -1 against it, 0 where nothing shows it.

    Measured on training images: the sign of P(s=1 | y=1) - P(s=1 | y=0), a tie counting as +1.
    """
    counted = cells(labels, attribute)
    positives, negatives = counted.y1_s0 + counted.y1_s1, counted.y0_s0 + counted.y0_s1
    if positives == 0 or negatives == 0:
        return 0
    return 1 if counted.y1_s1 / positives >= counted.y0_s1 / negatives else -1


def contradicts(
    labels: NDArray[np.int64], attribute: NDArray[np.int8], direction: int
) -> NDArray[np.bool_]:
    """(N,) bool: the attribute, turned by its direction, says the opposite of the label.

    For direction +1 these are the groups {y=0, s=1} and {y=1, s=0} that the robust AUROC is
    computed on; an attribute nobody annotated contradicts nothing.
    """
    suggested = attribute if direction > 0 else 1 - attribute
    return (attribute != UNKNOWN) & (suggested != labels)


def mostly_contradicts(
    labels: NDArray[np.int64], attributes: NDArray[np.int8], directions: Sequence[int]
) -> NDArray[np.bool_]:
    """(N,) bool: more attributes contradict the label than agree with it; attributes (N, A)."""
    against = np.zeros(len(labels), dtype=np.int64)
    for column, sign in enumerate(directions):
        known = attributes[:, column] != UNKNOWN
        contradicting = contradicts(labels, attributes[:, column], sign)
        against += np.where(contradicting, 1, np.where(known, -1, 0))
    return against > 0


def known_groups(labels: NDArray[np.int64], attributes: NDArray[np.int8]) -> NDArray[np.int64]:
    """Groups of label and attributes: g = 2 y + s for one attribute.

    Args:
        labels: (N,) in {0, 1}.
        attributes: (N, A) in {0, 1, UNKNOWN}.

    Returns:
        (N,) int64: y times 2^A plus the attributes as binary digits, the first the highest;
        UNKNOWN where any attribute is.
    """
    count = attributes.shape[1]
    digits = 2 ** np.arange(count - 1, -1, -1, dtype=np.int64)
    groups = labels * 2**count + attributes.astype(np.int64) @ digits
    return np.where((attributes == UNKNOWN).any(axis=1), UNKNOWN, groups)


def numbered(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Groups renumbered 0 to G - 1, in their order, those without an image left out."""
    return np.unique(groups, return_inverse=True)[1].astype(np.int64)
