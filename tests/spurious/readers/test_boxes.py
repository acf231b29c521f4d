"""Boxes from cells of tables, in staged pixels, and fused."""

from __future__ import annotations

import numpy as np
import pytest

from spurious.errors import DataError
from spurious.readers.marks.box_fusion import fuse_boxes, measure_overlaps
from spurious.readers.marks.boxes import clip_box, make_box, read_box, stage_boxes

SIZED, EDGES = "x y width height", "x0 y0 x1 y1"


@pytest.mark.parametrize(
    ("cells", "form"),
    [
        (("264.0", "152", "213", "379.0"), SIZED),
        ((" 264", "152 ", "477", "531"), EDGES),
        (("[264, 152, 213, 379]",), SIZED),
        (("264 152 477 531",), EDGES),
        (("(264,152,2.13e2,379)",), SIZED),
    ],
)
def test_forms_of_one_box(cells: tuple[str, ...], form: str) -> None:
    """The first box of the RSNA table, in every form that is read."""
    assert read_box(cells, form).tolist() == [264, 152, 477, 531]


@pytest.mark.parametrize("cells", [("", "", "", ""), ("NaN", "nan", "nan", "nan"), (" ",)])
def test_blank_cells_are_no_box(cells: tuple[str, ...]) -> None:
    """A row of an image on which nothing was drawn."""
    assert read_box(cells, SIZED) is None


@pytest.mark.parametrize(
    ("cells", "form", "what"),
    [
        (("1", "2", "", "4"), SIZED, "'', which is not a number.*all cells blank"),
        (("1", "2", "x", "4"), SIZED, "'x', which is not a number"),
        (("1", "2", "1_0", "4"), SIZED, "'1_0'"),
        (("1", "2", "nan", "4"), SIZED, "not finite"),
        (("1", "2", "inf", "4"), EDGES, "not finite"),
        (("1", "2", "0", "4"), SIZED, "0 wide and 4 high"),
        (("1", "2", "3", "-4"), SIZED, "3 wide and -4 high"),
        (("5", "2", "5", "4"), EDGES, "0 wide"),
        (("[1, 2, 3]",), SIZED, "3 numbers; expected 4"),
        (("[1 2, 3, 4, 5]",), SIZED, "5 numbers; expected 4"),
    ],
)
def test_what_is_no_box_is_refused(cells: tuple[str, ...], form: str, what: str) -> None:
    """Blank in part, text, not finite, without a size."""
    with pytest.raises(DataError, match=what):
        read_box(cells, form)


def test_boxes_are_cut_at_the_border_and_refused_beyond() -> None:
    """What is past it is counted; a box of another image size is refused."""
    inside, past = clip_box(make_box((-3, 5, 50, 30), EDGES), height=20, width=40)
    assert inside.tolist() == [0, 5, 40, 20]
    assert past == 10
    assert clip_box(make_box((0, 0, 40, 20), EDGES), 20, 40)[1] == 0
    for numbers in ((40, 0, 50, 10), (0, 20, 5, 25), (-9, 0, 0, 5), (10, 10, 90, 15)):
        with pytest.raises(DataError, match=r"outside its image of 40 x 20 \(width x height\)"):
            clip_box(make_box(numbers, EDGES), 20, 40)


def test_staged_boxes_hold_every_pixel_that_they_touch() -> None:
    """From 1000 x 2000 (height x width) to 100 x 100, a factor of 10 and of 20."""
    boxes = np.array(
        [
            [200, 100, 400, 300],  # on the grid
            [201, 109, 399, 291],  # inside the same staged pixels
            [1999.5, 999.5, 2000, 1000],  # the last corner, less than a pixel
            [39.9, 0, 40.1, 0.5],
        ]
    )
    staged = stage_boxes(boxes, native=(1000, 2000), staged=(100, 100))
    assert staged.dtype == np.int32
    assert staged.tolist() == [
        [10, 10, 20, 30],
        [10, 10, 20, 30],
        [99, 99, 100, 100],
        [1, 0, 3, 1],
    ]
    edge = 29 * 1024 / 224  # times 224 / 1024 is 29.000000000000004
    exact = stage_boxes(np.array([[0, 0, edge, edge]]), (1024, 1024), (224, 224))
    assert exact.tolist() == [[0, 0, 29, 29]]
    thin = stage_boxes(np.array([[5, 5, 5 + 1e-9, 6]]), (100, 100), (100, 100))
    assert thin.tolist() == [[5, 5, 6, 6]]
    assert stage_boxes(np.zeros((0, 4)), (9, 9), (3, 3)).shape == (0, 4)


def test_boxes_of_three_readers_are_fused() -> None:
    """By hand: the first two share 80 of 120 (2/3); their mean with the third 80 of 120 again.

    (0,0,10,10) and (2,0,12,10): shared 8 x 10 of 120. Their mean is (1,0,11,10); (3,0,13,10)
    shares 80 of 120 with it, and 90 of 110 with the second, so those two are joined first.
    """
    boxes = np.array([[0, 0, 10, 10], [2, 0, 12, 10], [3, 0, 13, 10], [50, 50, 60, 60]], float)
    assert measure_overlaps(boxes)[0, 1] == pytest.approx(2 / 3)
    readers = ["R1", "R2", "R3", "R1"]
    both = [[5 / 3, 0, 35 / 3, 10], [50, 50, 60, 60]]
    assert fuse_boxes(boxes, readers, min_readers=1) == pytest.approx(np.array(both))
    for order in ([3, 2, 1, 0], [1, 3, 0, 2]):
        fused = fuse_boxes(boxes[order], [readers[at] for at in order], min_readers=2)
        assert fused == pytest.approx(np.array(both[:1]))
    # (2.5,0,12.5,10), the mean of the last two, shares 75 of 125 with the first
    apart = fuse_boxes(boxes[:3], readers[:3], min_readers=1, min_overlap=0.61)
    assert apart == pytest.approx(np.array([[0, 0, 10, 10], [2.5, 0, 12.5, 10]]))
    at_it = fuse_boxes(boxes[:3], readers[:3], min_readers=3, min_overlap=0.6)
    assert at_it == pytest.approx(np.array(both[:1]))


def test_one_reader_twice_is_one_reader() -> None:
    """Two boxes of a reader do not confirm each other; nor is anything fused out of nothing."""
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9]], float)
    assert fuse_boxes(boxes, ["R1", "R1"], min_readers=2).shape == (0, 4)
    assert fuse_boxes(boxes[:0], [], min_readers=1).shape == (0, 4)
    with pytest.raises(DataError, match="501 boxes"):
        fuse_boxes(np.tile(boxes[:1], (501, 1)), ["R1"] * 501, min_readers=1)
