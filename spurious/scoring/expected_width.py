"""How wide the interval of an AUROC will be, from the sizes of its two groups alone."""

from __future__ import annotations

import math

from spurious.data.attributes import GroupCounts

ASSUMED_AUROC = 0.8
_Z95 = 1.959963984540054


def expected_half_width(positives: int, negatives: int, auroc: float = ASSUMED_AUROC) -> float:
    """Return half of an AUROC's expected 95 % interval for new patients, for one trained model.

    Source: Hanley and McNeil 1982, equation 1 with Q1 = A / (2 - A) and Q2 = 2 A^2 / (1 + A),
    exact for exponential scores. That seeds differ comes on top.

    Args:
        positives: Positive images.
        negatives: Negative images.
        auroc: The AUROC that is expected, strictly between 0 and 1.

    Returns:
        NaN where a group is empty.
    """
    if not positives or not negatives:
        return math.nan
    q1, q2 = auroc / (2.0 - auroc), 2.0 * auroc * auroc / (1.0 + auroc)
    square = auroc * auroc
    variance = (
        auroc * (1.0 - auroc) + (positives - 1) * (q1 - square) + (negatives - 1) * (q2 - square)
    ) / (positives * negatives)
    return _Z95 * math.sqrt(variance)


def robust_groups(counts: GroupCounts, direction: int) -> tuple[int, int]:
    """Return the positive and negative images that an attribute's robust AUROC compares.

    They are those on which the attribute contradicts the label: with a direction of +1 positives
    without and negatives with it, with -1 the reverse.
    """
    if direction > 0:
        return counts.y1_s0, counts.y0_s1
    return counts.y1_s1, counts.y0_s0
