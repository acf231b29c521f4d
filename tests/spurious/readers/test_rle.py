"""Run-length codes of SIIM-ACR masks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from spurious.errors import DataError
from spurious.readers.siim_acr import rle


def test_gaps_are_relative_and_columns_come_first() -> None:
    """ "2 3 4 1" on 4 x 4 marks (2,0), (3,0), (0,1), (1,2); an absolute reader finds three."""
    mask, excess = rle.decode("2 3 4 1", 4, 4)
    assert sorted(zip(*np.nonzero(mask), strict=True)) == [(0, 1), (1, 2), (2, 0), (3, 0)]
    assert excess == 0


def test_height_and_width_are_not_swapped() -> None:
    """On 2 rows x 3 columns the third pixel is the top of the second column."""
    mask, _ = rle.decode("2 1", 2, 3)
    assert mask.shape == (2, 3)
    assert mask[0, 1]


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12)))
def test_decoding_undoes_encoding(mask: np.ndarray) -> None:
    """Every mask survives a round trip."""
    decoded, excess = rle.decode(rle.encode(mask), *mask.shape)
    assert (decoded == mask).all()
    assert excess == 0


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5)), min_size=1, max_size=9))
def test_pixels_of_a_code_are_the_sum_of_its_lengths(runs: list[tuple[int, int]]) -> None:
    """A decoder that misplaces a run so that runs overlap loses pixels."""
    total = sum(gap + length for gap, length in runs)
    mask, _ = rle.decode(" ".join(f"{gap} {length}" for gap, length in runs), 1, total)
    assert mask.sum() == sum(length for _, length in runs)
    assert mask[0, -1]


@pytest.mark.parametrize("code", ["-1", " -1", "-1 "])
def test_no_mask_with_or_without_a_space(code: str) -> None:
    """Both releases' way to say "no pneumothorax" gives an empty mask."""
    assert not rle.decode(code, 4, 4)[0].any()
    assert rle.encode(np.zeros((4, 4), bool)) == "-1"


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("2 3 4", "3 numbers"),
        ("2 -3", "not whole numbers"),
        ("-2 3", "not whole numbers"),
        ("2 x", "not whole numbers"),
        ("2 1.5", "not whole numbers"),
        ("1_0 2", "not whole numbers"),
        ("", "not whole numbers"),
        ("2 0", "length 0"),
        ("99999999999999999999 1", "not whole numbers"),
    ],
)
def test_broken_codes_are_refused(code: str, what: str) -> None:
    """Each kind of damage has its own message, never another mask."""
    with pytest.raises(DataError, match=what):
        rle.decode(code, 4, 4)


def test_last_run_past_the_end_is_clipped_and_reported() -> None:
    """Up to a column too long: the pixels inside stay, the excess is returned for a warning."""
    mask, excess = rle.decode("14 5", 4, 4)
    assert mask.sum() == 2
    assert excess == 3


@pytest.mark.parametrize("code", ["16 1", "14 7", "0 2 999999999 1", "2 999999999"])
def test_codes_of_another_image_size_are_refused(code: str) -> None:
    """A run that starts past the end, or exceeds it by more than a column, is no rounding slip."""
    with pytest.raises(DataError, match="mask of 4 x 4"):
        rle.decode(code, 4, 4)
