"""Run-length codes of masks, in every declared convention."""

from __future__ import annotations

import itertools
import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from spurious.errors import DataError
from spurious.readers.issues import ReaderIssues
from spurious.readers.marks import rle
from spurious.readers.marks.rle import RleConvention
from spurious.readers.marks.rle_checks import check_starts, find_odd_pitch, find_other_starts
from spurious.readers.siim_acr.siim_files import RLE as SIIM

KAGGLE = RleConvention("absolute", 1, "columns")
CHEXMASK = RleConvention("absolute", 1, "rows")
CONVENTIONS = [
    RleConvention(starts, base, order)
    for starts, base, order in itertools.product(
        ("relative", "absolute"), (0, 1), ("columns", "rows")
    )
]


def pixels(code: str, convention: RleConvention, height: int = 4, width: int = 4) -> list[tuple]:
    """Decode a sound code to its pixels (row, column) in ascending order."""
    mask, excess = rle.decode(code, height, width, convention)
    assert excess == 0
    assert mask.shape == (height, width)
    return sorted((int(row), int(column)) for row, column in zip(*np.nonzero(mask), strict=True))


def test_gaps_are_relative_and_columns_come_first() -> None:
    """ "2 3 4 1" on 4 x 4 marks (2,0), (3,0), (0,1), (1,2); an absolute reader refuses it."""
    assert pixels("2 3 4 1", SIIM) == [(0, 1), (1, 2), (2, 0), (3, 0)]
    with pytest.raises(DataError, match=r"'2 3' and then '4 1'.* before 5.* declare starts relati"):
        rle.decode("2 3 4 1", 4, 4, RleConvention("absolute", 0, "columns"))


@pytest.mark.parametrize(
    ("convention", "code"),
    [
        (RleConvention("relative", 0, "columns"), "2 3 4 1"),
        (RleConvention("relative", 1, "columns"), "3 3 4 1"),
        (RleConvention("absolute", 0, "columns"), "2 3 9 1"),
        (RleConvention("absolute", 1, "columns"), "3 3 10 1"),
        (RleConvention("relative", 0, "rows"), "1 1 4 1 1 1 3 1"),
        (RleConvention("relative", 1, "rows"), "2 1 4 1 1 1 3 1"),
        (RleConvention("absolute", 0, "rows"), "1 1 6 1 8 1 12 1"),
        (RleConvention("absolute", 1, "rows"), "2 1 7 1 9 1 13 1"),
    ],
)
def test_one_mask_in_every_convention(convention: RleConvention, code: str) -> None:
    """Codes written by hand for one mask; the writer returns them."""
    assert pixels(code, convention) == [(0, 1), (1, 2), (2, 0), (3, 0)]
    assert rle.encode(rle.decode(code, 4, 4, convention)[0], convention) == code


def test_height_and_width_are_not_swapped() -> None:
    """On 2 rows x 3 columns the third pixel is the top of the second column, or the first row's."""
    assert pixels("2 1", SIIM, 2, 3) == [(0, 1)]
    assert pixels("3 1", CHEXMASK, 2, 3) == [(0, 2)]


@given(
    arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12)), st.sampled_from(CONVENTIONS)
)
def test_decoding_undoes_encoding(mask: np.ndarray, convention: RleConvention) -> None:
    """Every mask survives a round trip."""
    decoded, excess = rle.decode(rle.encode(mask, convention), *mask.shape, convention)
    assert (decoded == mask).all()
    assert excess == 0


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5)), min_size=1, max_size=9))
def test_pixels_of_a_code_are_the_sum_of_its_lengths(runs: list[tuple[int, int]]) -> None:
    """A decoder that misplaces a run so that runs overlap loses pixels."""
    total = sum(gap + length for gap, length in runs)
    code = " ".join(f"{gap} {length}" for gap, length in runs)
    mask, _ = rle.decode(code, 1, total, SIIM)
    assert mask.sum() == sum(length for _, length in runs)
    assert mask[0, -1]


@pytest.mark.parametrize("code", ["-1", " -1", "-1 "])
def test_no_mask_with_or_without_a_space(code: str) -> None:
    """Both releases' way to say "no pneumothorax" gives an empty mask in every convention."""
    for convention in CONVENTIONS:
        assert pixels(code, convention) == []
        assert rle.encode(np.zeros((4, 4), bool), convention) == "-1"


def test_text_that_is_blank_is_an_empty_mask_only_where_declared() -> None:
    """Elsewhere it is refused, since nobody may have drawn."""
    assert pixels(" ", RleConvention("absolute", 1, "rows", blank_is_empty=True)) == []
    with pytest.raises(DataError, match="-1 for no mask"):
        rle.decode(" ", 4, 4, CHEXMASK)


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
        ("nan", "not whole numbers"),
        ("2 0", "length 0"),
        ("99999999999999999999 1", "not whole numbers"),
    ],
)
def test_broken_codes_are_refused(code: str, what: str) -> None:
    """Each kind of damage has its own message, never another mask."""
    for convention in (SIIM, CHEXMASK):
        with pytest.raises(DataError, match=what):
            rle.decode(code, 4, 4, convention)


@pytest.mark.parametrize(
    ("code", "convention", "what"),
    [
        ("0 2", KAGGLE, "declare base 0"),
        ("0 2", RleConvention("relative", 1, "rows"), "declare base 0"),
        ("9 2 3 1", KAGGLE, "starts before 11.*declare starts relative"),
        ("3 3 5 1", KAGGLE, "starts before 6"),
        ("14 4", KAGGLE, "ends at pixel 17 of a mask of 4 x 4 = 16"),
        ("13 4", RleConvention("absolute", 0, "rows"), "count the first pixel as 0"),
    ],
)
def test_codes_of_another_convention_are_refused(
    code: str, convention: RleConvention, what: str
) -> None:
    """A base of 0 or 1 too many, gaps as starts, runs that overlap or pass the end."""
    with pytest.raises(DataError, match=what):
        rle.decode(code, 4, 4, convention)
    assert pixels("3 3 6 1", KAGGLE) == [(0, 1), (1, 1), (2, 0), (3, 0)]  # may touch


def test_last_run_past_the_end_is_clipped_and_reported() -> None:
    """Up to a column too long: the pixels inside stay, the excess is returned for a warning."""
    mask, excess = rle.decode("14 5", 4, 4, SIIM)
    assert mask.sum() == 2
    assert excess == 3


@pytest.mark.parametrize("code", ["16 1", "14 7", "0 2 999999999 1", "2 999999999"])
def test_codes_of_another_image_size_are_refused(code: str) -> None:
    """A run that starts past the end, or exceeds it by more than a column, is no rounding slip."""
    with pytest.raises(DataError, match="mask of 4 x 4"):
        rle.decode(code, 4, 4, SIIM)


def test_a_table_of_gaps_read_as_starts_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    """As the reverse is; of a few codes among many it is a warning, and short ones show nothing."""
    gaps, starts = "2 2 3 2 3 2", "3 2 8 2 13 2"
    assert find_other_starts([gaps, starts, "9 1 3 1"], KAGGLE) == ([0], 2)
    assert find_other_starts([gaps, starts, "9 1 3 1"], SIIM) == ([1], 2)
    issues = ReaderIssues()
    check_starts([(2, gaps), (5, gaps), (6, "1 1")], KAGGLE, "m.csv", "say so", issues)
    assert issues.shown == [
        "m.csv: 2 of 2 codes with 3 runs or more do not ascend, as gaps from the end of the run "
        "before do not (lines 2, 5); expected absolute starts that ascend: say so"
    ]
    with caplog.at_level(logging.WARNING):
        check_starts([(2, gaps), (3, starts), (4, starts)], KAGGLE, "m.csv", "say so", issues)
    assert issues.count == 1
    assert "m.csv: 1 of 3 codes" in caplog.text


def test_lines_of_the_other_order_are_warned_of() -> None:
    """Rows read as columns of images that are no squares are runs that lie another pitch apart."""
    mask = np.zeros((8, 12), bool)
    mask[2:6, 3:9] = True
    sizes = [(8, 12)]
    assert find_odd_pitch([rle.encode(mask, CHEXMASK)], sizes, CHEXMASK) is None
    assert find_odd_pitch([rle.encode(mask, KAGGLE)], sizes, KAGGLE) is None
    odd = find_odd_pitch([rle.encode(mask, CHEXMASK)], sizes, KAGGLE)
    assert odd is not None
    assert odd.startswith("runs are mostly 1.5 of an image's column apart")
    assert find_odd_pitch(["-1"], sizes, KAGGLE) is None
