"""From masks to supervision targets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from scipy import ndimage

from spurious.config.datasets import GaussianSquares
from spurious.config.options import Specificity
from spurious.data.specificity import boxes, count_components, dilate, find_box, supervision_target
from spurious.errors import ConfigError
from spurious.generators.gaussian_squares import region

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.booleans())
N = 40


def block(top: int, left: int, height: int = 8, width: int = 8, side: int = N) -> NDArray[np.bool_]:
    """A (side, side) mask with one filled rectangle."""
    mask = np.zeros((side, side), bool)
    mask[top : top + height, left : left + width] = True
    return mask


def test_box_includes_its_last_row_and_column() -> None:
    """Rows 2..4 and columns 1..5 make 15 pixels; slices that end one too early make 8."""
    mask = np.zeros((8, 8), bool)
    mask[2, 1] = mask[4, 5] = True
    box = boxes(mask, per="image")
    assert box.sum() == 15
    assert np.argwhere(box).min(axis=0).tolist() == [2, 1]
    assert np.argwhere(box).max(axis=0).tolist() == [4, 5]


@pytest.mark.parametrize("per", ["component", "image"])
def test_one_pixel_is_its_own_box(per: str) -> None:
    """A thin finding must not vanish."""
    mask = block(39, 0, 1, 1)
    assert (boxes(mask, per) == mask).all()


def test_boxes_per_component_and_per_image() -> None:
    """Two findings give two boxes, or one around both; diagonal neighbours are one finding."""
    mask = block(0, 0, 2, 2) | block(2, 2, 2, 2) | block(10, 20, 1, 3)
    assert count_components(mask) == 2
    assert (boxes(mask) == (block(0, 0, 4, 4) | block(10, 20, 1, 3))).all()
    assert (boxes(mask, per="image") == block(0, 0, 11, 23)).all()


@given(MASKS, st.integers(0, 3), st.integers(0, 3))
def test_components_are_those_of_the_whole_mask(
    mask: NDArray[np.bool_], before: int, behind: int
) -> None:
    """Only the box around a mask is labelled: an empty border, or none, changes no count."""
    framed = np.pad(mask, (before, behind))
    expected = ndimage.label(framed, structure=np.ones((3, 3)))[1]
    assert count_components(framed) == count_components(mask) == expected
    box = find_box(framed)
    assert (box is None) == (not mask.any())
    if box is not None:
        rows, columns = np.nonzero(framed)
        edges = [rows.min(), rows.max() + 1, columns.min(), columns.max() + 1]
        assert [box[0].start, box[0].stop, box[1].start, box[1].stop] == edges


def test_shapes_against_their_boxes() -> None:
    """A square is its own box; a ring and a disc are not, and their box is the whole square."""
    for shape, same in (("square", True), ("ring", False), ("disc", False)):
        mask = block(5, 7)
        mask[5:13, 7:15] = region(GaussianSquares(shape=shape))  # type: ignore[arg-type]
        assert (boxes(mask) == mask).all() == same
        assert (boxes(mask) == block(5, 7)).all()


@pytest.mark.parametrize(
    ("start", "sides"),
    [
        ((16, 16), {1: 40, 2: 40, 4: 26, 20: 10, 40: 8, 3: 32, 30: 8, 39: 8}),
        ((0, 0), {1: 40, 2: 27, 4: 17, 20: 9, 40: 8}),
    ],
)
def test_side_of_the_dilated_label(start: tuple[int, int], sides: dict[int, int]) -> None:
    """The paper's grid of resolutions, in the centre and clipped in the corner."""
    mask = block(*start)
    for r, side in sides.items():
        target = dilate(mask, r)
        assert target.sum() == side**2, r
        assert (boxes(target) == target).all(), r
    for r in (30, 39, 40):
        assert (dilate(mask, r) == mask).all()
    assert dilate(mask, 1).all()


@pytest.mark.parametrize("r", [0, -1, 41])
def test_impossible_resolutions_are_refused(r: int) -> None:
    """r > n would leave an empty target, and r < 1 means nothing; the range is named."""
    with pytest.raises(ConfigError, match=rf"r={r} .*1 <= r <= 40"):
        dilate(block(0, 0), r)


def test_each_side_of_an_oblong_image_has_its_own_reach() -> None:
    """In 20 x 40 pixels r = 4 reaches 4 rows and 9 columns; r may not exceed the short side."""
    mask = np.zeros((20, 40), bool)
    mask[10, 20] = True
    found = np.argwhere(dilate(mask, 4))
    assert found.min(axis=0).tolist() == [6, 11]
    assert found.max(axis=0).tolist() == [14, 29]
    assert (dilate(mask, 20).sum(axis=0) > 0).sum() == 3  # floor(40 / 20) = 2: one to either side
    with pytest.raises(ConfigError, match="r=21"):
        dilate(mask, 21)


@given(MASKS, st.data())
def test_dilation_is_its_definition(mask: NDArray[np.bool_], data: st.DataObject) -> None:
    """A pixel is positive if a mask pixel lies within |di| < floor(h / r), |dj| < floor(w / r)."""
    height, width = mask.shape
    r = data.draw(st.integers(1, min(mask.shape)))
    expected = np.zeros_like(mask)
    for i in range(height):
        for j in range(width):
            expected[i, j] = any(
                abs(i - k) < height // r and abs(j - m) < width // r
                for k, m in np.argwhere(mask).tolist()
            )
    assert (dilate(mask, r) == expected).all()


@given(MASKS)
def test_coarser_targets_contain_finer_ones(mask: NDArray[np.bool_]) -> None:
    """mask ⊆ r = n ⊆ ... ⊆ r = 1, and mask ⊆ boxes ⊆ one box; an empty mask stays empty."""
    finer = mask
    for r in range(min(mask.shape), 0, -1):
        target = dilate(mask, r)
        assert (target | ~finer).all()
        finer = target
    assert finer.all() == mask.any()
    each, one = boxes(mask), boxes(mask, per="image")
    assert (each | ~mask).all()
    assert (one | ~each).all()
    if not mask.any():
        assert not finer.any()
        assert not one.any()


def test_target_of_each_specificity() -> None:
    """`supervision_target` leads to the function that its specificity names."""
    mask = block(0, 0, 2, 2) | block(2, 2, 2, 2) | block(10, 20, 1, 3)
    assert (supervision_target(mask, Specificity("mask")) == mask).all()
    assert (supervision_target(mask, Specificity("box")) == boxes(mask)).all()
    one = supervision_target(mask, Specificity("box", box_per="image"))
    assert (one == boxes(mask, per="image")).all()
    assert (supervision_target(mask, Specificity("r", r=4)) == dilate(mask, 4)).all()


@pytest.mark.parametrize("specificity", [Specificity("label"), Specificity("r")])
def test_no_pixel_target(specificity: Specificity) -> None:
    """A label has no pixel target, and `r` none without its number."""
    with pytest.raises(ConfigError):
        supervision_target(block(0, 0), specificity)
