"""The direction of a spurious attribute."""

from __future__ import annotations

import pytest

from spurious.data.attributes import GroupCounts, measure_direction


@pytest.mark.parametrize(
    ("train", "direction"),
    [
        (GroupCounts(10, 10, 10, 10, 0, 0), 1),
        (GroupCounts(5, 5, 4, 6, 0, 0), 1),
        (GroupCounts(5, 5, 6, 4, 0, 0), -1),
        (GroupCounts(900, 100, 9, 1, 0, 0), 1),
        (GroupCounts(900, 100, 10, 1, 50, 50), -1),
        (GroupCounts(0, 0, 3, 4, 9, 0), None),
        (GroupCounts(3, 4, 0, 0, 0, 9), None),
    ],
)
def test_direction_is_measured_on_rates(train: GroupCounts, direction: int | None) -> None:
    """The sign of P(s|y=1) - P(s|y=0) counts, ties are +1, and a missing rate gives none."""
    assert measure_direction(train) == direction
