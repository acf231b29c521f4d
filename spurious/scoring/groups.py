"""Groups of (label, spurious attribute): their sizes, and who contradicts the label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spurious.data.attributes import UNKNOWN, GroupCounts


def count_groups(labels: NDArray[np.int64], attribute: NDArray[np.int8]) -> GroupCounts:
    """Count images per label and attribute; labels (N,), attribute (N,) in {0, 1, UNKNOWN}."""
    place = np.where(attribute == UNKNOWN, 2, attribute) + 3 * labels
    y0, y1 = np.bincount(place, minlength=6).reshape(2, 3).tolist()
    return GroupCounts(y0[0], y0[1], y1[0], y1[1], y0_unknown=y0[2], y1_unknown=y1[2])


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
        labels: (N,) in {0, 1}, or classes from 0.
        attributes: (N, A) in {0, 1, UNKNOWN}.

    Returns:
        (N,) int64: y times 2^A plus the attributes as binary digits, the first the highest;
        UNKNOWN where any attribute is.
    """
    count = attributes.shape[1]
    digits = 2 ** np.arange(count - 1, -1, -1, dtype=np.int64)
    groups = labels * 2**count + attributes.astype(np.int64) @ digits
    return np.where((attributes == UNKNOWN).any(axis=1), UNKNOWN, groups)


def number_groups(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Groups renumbered 0 to G - 1, in their order, those without an image left out."""
    return np.unique(groups, return_inverse=True)[1].astype(np.int64)
