"""Spurious attributes: images per (label, attribute), and the direction of an attribute.

Reading a manifest imports this file, so it needs nothing but the standard library.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

UNKNOWN: Final = -1
"""Code of a spurious attribute that nobody annotated."""


@dataclass(frozen=True)
class GroupCounts:
    """Images per label y and spurious attribute s, and per label where s is not annotated.

    Manifests store the fields under these names.
    """

    y0_s0: int
    y0_s1: int
    y1_s0: int
    y1_s1: int
    y0_unknown: int
    y1_unknown: int

    @property
    def annotated(self) -> tuple[int, int, int, int]:
        """The counts of the four groups 2 y + s, without images whose attribute is unknown."""
        return self.y0_s0, self.y0_s1, self.y1_s0, self.y1_s1


def measure_direction(train: GroupCounts) -> int | None:
    """Return +1 where P(s=1 | y=1) >= P(s=1 | y=0) among annotated training images, else -1.

    Returns:
        None where training has no annotated positive or no annotated negative image.
    """
    positives, negatives = train.y1_s0 + train.y1_s1, train.y0_s0 + train.y0_s1
    if not positives or not negatives:
        return None
    return 1 if train.y1_s1 * negatives >= train.y0_s1 * positives else -1
