"""Crosses: their published images, by checksums of regenerated ones, and what records say."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from spurious.config.datasets import Crosses
from spurious.data.records import Record
from spurious.errors import DataError
from spurious.generators.crosses import ARMS, MARKER_COLUMNS, MARKER_ROWS, SIDE, CrossesSource

CHECKSUMS = {
    ("easy", "train"): (11682, 14632, 3928, (4, 19, 7)),
    ("easy", "val"): (11576, 14518, 3852, (3, 23, 22)),
    ("easy", "test"): (11468, 14374, 3852, (3, 24, 15)),
    ("hard", "train"): (5216, 8242, 1792, (2, 16, 14)),
    ("hard", "val"): (5398, 8436, 1804, (1, 26, 21)),
    ("hard", "test"): (5318, 8348, 1768, (1, 19, 21)),
}
"""Sums of masks, images and the masks of label 0; arm, row and column of the first cross."""


def read_split(options: Crosses, split: str) -> list[tuple[Record, NDArray[np.bool_]]]:
    """Records of a split with the masks of their markers."""
    source = CrossesSource(options)
    records = [source.load(name) for name in source.index() if name.startswith(split)]
    return [(record, record.features["marker_right"]) for record in records]


def first_cross(mask: NDArray[np.bool_]) -> tuple[int, int, int]:
    """Arm, row and column of a lone cross."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (len(rows) - 1) // 2, int(rows.mean()), int(columns.mean())


@pytest.mark.parametrize(("difficulty", "split"), CHECKSUMS)
def test_images_are_the_published_ones(difficulty: str, split: str) -> None:
    """Validation and test are mirrored: the first cross is where its mirror image was drawn."""
    records = read_split(Crosses(difficulty=difficulty), split)  # type: ignore[arg-type]
    masks = np.stack([record.mask for record, _ in records if record.mask is not None])
    images = np.stack([record.image[:, :, 0] for record, _ in records])
    labels = np.array([record.label for record, _ in records])
    assert images.shape == (512, SIDE, SIDE)
    assert set(np.unique(images)) == {0.0, 1.0}
    assert np.bincount(labels).tolist() == [256, 256]
    arm, row, column = first_cross(masks[0] if split == "train" else masks[0, :, ::-1])
    found = (masks.sum(), images.sum(), masks[labels == 0].sum(), (arm, row, column))
    assert found == CHECKSUMS[difficulty, split]


@pytest.mark.parametrize("difficulty", ARMS)
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_the_marker_changes_sides(difficulty: str, split: str) -> None:
    """In training it goes with the label, afterwards against it; pixels say what records say."""
    for record, marker in read_split(Crosses(difficulty=difficulty), split):  # type: ignore[arg-type]
        assert marker.sum() == MARKER_ROWS * MARKER_COLUMNS
        right = np.flatnonzero(marker.any(axis=0)).mean() > SIDE / 2
        assert record.attributes == {"marker_right": right}
        assert right == (bool(record.label) == (split == "train"))
        assert record.mask is not None
        np.testing.assert_array_equal(record.image[:, :, 0] == 1, record.mask | marker)
        rows, columns = np.nonzero(marker)
        from_edge = SIDE - 1 - rows.max()
        assert from_edge == {"easy": 5, "hard": 3}[difficulty]
        assert min(columns.min(), SIDE - 1 - columns.max()) == from_edge


def test_unknown_ids_are_named() -> None:
    """By the id, with one that exists."""
    source = CrossesSource(Crosses(n_train=2))
    with pytest.raises(DataError, match=r"'train-0000002' of crosses; .*'train-0000000'"):
        source.load("train-0000002")
