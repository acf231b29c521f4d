"""The frontier: non-dominated points, and the share of seeds that agree."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps.errors import ResultError
from sweeps.report.frontier import frontier_share, on_frontier

COARSE = st.integers(0, 6).map(lambda n: n / 6)
"""Few distinct values, so that ties and exact duplicates are common."""
POINTS = st.lists(st.tuples(COARSE, COARSE | st.just(math.nan)), min_size=1, max_size=14)


def _dominates(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] <= other[0] and one[1] >= other[1] and one != other


def _front(points: list[tuple[float, float]]) -> list[bool]:
    dollars, scores = zip(*points, strict=True)
    return [bool(on) for on in on_frontier(dollars, scores)]


def test_by_hand() -> None:
    """Dearer and worse goes; cheaper or better stays."""
    dollars, scores = [10, 20, 30, 30, 40], [0.5, 0.7, 0.6, 0.8, 0.8]
    assert on_frontier(dollars, scores).tolist() == [True, True, False, True, False]


def test_ties() -> None:
    """Same price: the better; same score: the cheaper; exact duplicates: all of them."""
    assert on_frontier([10, 10], [0.5, 0.6]).tolist() == [False, True]
    assert on_frontier([10, 20], [0.6, 0.6]).tolist() == [True, False]
    assert on_frontier([10, 10], [0.6, 0.6]).tolist() == [True, True]


def test_nan_is_never_on_it_and_hides_nothing() -> None:
    """A point without a score or a price is off the frontier and dominates nobody."""
    assert on_frontier([1, 10], [math.nan, 0.1]).tolist() == [False, True]
    assert on_frontier([math.nan, 10], [0.9, 0.1]).tolist() == [False, True]
    assert on_frontier([1.0], [math.nan]).tolist() == [False]


@given(POINTS)
def test_no_frontier_point_is_dominated(points: list[tuple[float, float]]) -> None:
    """Every point on the frontier is free of domination by any point."""
    for point, on in zip(points, _front(points), strict=True):
        assert not (on and any(_dominates(other, point) for other in points))


@given(POINTS)
def test_every_other_point_is_dominated_by_one_on_it(points: list[tuple[float, float]]) -> None:
    """A defined point that is off the frontier is dominated, and by a point that is on it."""
    front = _front(points)
    best = [point for point, on in zip(points, front, strict=True) if on]
    for point, on in zip(points, front, strict=True):
        if not on and not math.isnan(point[1]):
            assert any(_dominates(other, point) for other in best)


@given(POINTS, st.randoms(use_true_random=False))
def test_order_does_not_matter(points: list[tuple[float, float]], random: object) -> None:
    """Shuffled points keep their membership."""
    order = list(range(len(points)))
    random.shuffle(order)  # type: ignore[attr-defined]
    front = _front(points)
    assert _front([points[i] for i in order]) == [front[i] for i in order]


@given(POINTS, COARSE, COARSE)
def test_dominated_point_changes_nothing(
    points: list[tuple[float, float]], dearer: float, worse: float
) -> None:
    """Adding a point that something dominates leaves all others as they were, and is off."""
    defined = [point for point in points if not math.isnan(point[1])]
    if defined:
        added = (defined[0][0] + dearer + 0.01, defined[0][1] - worse)
        assert _front([*points, added]) == [*_front(points), False]


def test_share_of_seeds() -> None:
    """Each seed has its own frontier; a missing seed counts neither for nor against."""
    dollars = np.array([[10.0, 10, 10], [20, 20, 20], [30, 30, 30], [40, 40, 40]])
    scores = np.array([[0.5, 0.5, 0.5], [0.6, 0.4, 0.6], [0.7, math.nan, 0.55], [math.nan] * 3])
    shares = frontier_share(dollars, scores)
    assert shares[:3].tolist() == [1.0, pytest.approx(2 / 3), 0.5]
    assert math.isnan(shares[3])


@pytest.mark.parametrize("function", [on_frontier, frontier_share])
def test_shapes_are_checked(function: object) -> None:
    """Arrays of different or wrong shape are refused instead of broadcast."""
    with pytest.raises(ResultError, match="one shape"):
        function([1.0, 2.0], [[0.5], [0.6]])  # type: ignore[operator]
