"""Masks as runs."""

from __future__ import annotations

import numpy as np
import pytest

from spurious.data.runs import decode_runs, encode_runs


def test_a_known_mask() -> None:
    """Row-major, the first run is of False, also where the mask begins with True."""
    mask = np.array([[0, 1, 1], [1, 0, 0]], bool)
    assert encode_runs(mask) == [1, 3, 2]
    assert encode_runs(~mask) == [0, 1, 3, 2]
    assert encode_runs(np.zeros((2, 2), bool)) == [4]
    assert encode_runs(np.ones((2, 2), bool)) == [0, 4]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 1.0])
def test_what_is_encoded_comes_back(share: float) -> None:
    """For any mask."""
    mask = np.random.default_rng(0).random((17, 23)) < share
    assert np.array_equal(decode_runs(encode_runs(mask), (17, 23)), mask)


@pytest.mark.parametrize("lengths", [[3], [1, 2, 2], [5, -1], []])
def test_runs_of_another_shape_are_refused(lengths: list[int]) -> None:
    """Also where a negative length makes up for it."""
    with pytest.raises(ValueError, match="runs of"):
        decode_runs(lengths, (2, 2)) if sum(lengths) != 4 else decode_runs(lengths, (2, 3))
