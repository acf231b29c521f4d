"""Groups of label and spurious attribute."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from spurious.data.attributes import UNKNOWN, GroupCounts
from spurious.scoring.groups import contradicts, count_groups, mostly_contradicts


def both(pairs: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Labels (N,) int64 and one attribute (N,) int8 from (y, s) pairs."""
    y, s = np.array(pairs).reshape(-1, 2).T
    return y.astype(np.int64), s.astype(np.int8)


def test_group_counts() -> None:
    """Each (y, s) is counted on its own, and unknown attributes per label."""
    pairs = [(0, 0)] * 1 + [(0, 1)] * 2 + [(1, 0)] * 3 + [(1, 1)] * 4
    unknown = [(0, UNKNOWN)] * 5 + [(1, UNKNOWN)] * 6
    counts = count_groups(*both(pairs + unknown))
    assert counts == GroupCounts(1, 2, 3, 4, y0_unknown=5, y1_unknown=6)
    assert counts.annotated == (1, 2, 3, 4)
    assert count_groups(*both([])) == GroupCounts(0, 0, 0, 0, 0, 0)


def test_contradicting_images() -> None:
    """With direction +1 {y=0, s=1} and {y=1, s=0}, with -1 the other two, unknown ones never."""
    y, s = both([(0, 0), (0, 1), (1, 0), (1, 1), (0, UNKNOWN), (1, UNKNOWN)])
    assert contradicts(y, s, 1).tolist() == [False, True, True, False, False, False]
    assert contradicts(y, s, -1).tolist() == [True, False, False, True, False, False]


def test_majority_of_several_attributes() -> None:
    """An image counts where more attributes contradict its label than agree with it."""
    y = np.array([1, 1, 1, 1, 0, 0], dtype=np.int64)
    attributes = np.array(
        [
            [0, 0, 1],  # two against, one for
            [0, 1, UNKNOWN],  # one each
            [0, UNKNOWN, UNKNOWN],  # one against
            [UNKNOWN, UNKNOWN, UNKNOWN],  # nothing known
            [1, 1, 0],  # two against
            [0, 1, 0],  # one against
        ],
        dtype=np.int8,
    )
    found = mostly_contradicts(y, attributes, (1, 1, 1))
    assert found.tolist() == [True, False, True, False, True, False]
    turned = mostly_contradicts(y, attributes, (-1, -1, -1))
    assert turned.tolist() == [False, False, False, False, False, True]
    mixed = mostly_contradicts(y, attributes, (1, 1, -1))
    assert mixed.tolist() == [True, False, True, False, True, True]


@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(-1, 1)), max_size=20),
    st.sampled_from([1, -1]),
)
def test_one_attribute_is_its_own_majority(pairs: list[tuple[int, int]], sign: int) -> None:
    """With a single attribute `mostly_contradicts` is `contradicts`."""
    y, s = both(pairs)
    assert (mostly_contradicts(y, s[:, None], [sign]) == contradicts(y, s, sign)).all()
