"""Masks as packed bits."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from spurious.config.options import Specificity
from spurious.data.inputs import PackedTargets
from spurious.data.masks import PackedMasks
from spurious.errors import DataError


@pytest.mark.parametrize("shape", [(4, 5, 7), (3, 8, 8)])
def test_rows_are_unpacked_as_they_were_packed(shape: tuple[int, int, int]) -> None:
    """One row, some in any order, all; also where the pixels fill no whole byte."""
    masks = np.random.default_rng(0).random(shape) < 0.4
    packed = PackedMasks.pack(masks)
    assert (packed.shape, len(packed)) == (shape, shape[0])
    assert packed.bits.nbytes == shape[0] * -(-shape[1] * shape[2] // 8)
    rows = np.array([2, 0, 2])
    for found, expected in (
        (packed[:], masks),
        (packed[1], masks[1]),
        (packed[rows], masks[rows]),
        (packed[rows[:0]], masks[:0]),
    ):
        assert (found.dtype, found.shape) == (np.bool_, expected.shape)
        assert (found == expected).all()
    packed[:][:] = False  # a copy
    assert (packed[:] == masks).all()


@pytest.mark.parametrize("bits", [np.zeros((2, 35), np.bool_), np.zeros((2, 35), np.uint8)])
def test_a_byte_per_pixel_is_refused(bits: NDArray[np.uint8]) -> None:
    """Masks that are not packed are never read as bits."""
    with pytest.raises(DataError, match=r"expected \(N, 5\) uint8 for masks of 5 x 7"):
        PackedMasks(bits, 5, 7)


def test_targets_of_masks_are_the_bits_of_the_dataset() -> None:
    """They share its memory; a target of class 0 is empty whatever is drawn, of any kind."""
    masks = np.ones((4, 5, 7), dtype=bool)
    packed = PackedMasks.pack(masks)
    classes = np.array([1, 0])
    for specificity in (Specificity("mask"), Specificity("box"), Specificity("r", r=5)):
        targets = PackedTargets(packed, np.array([3, 1]), specificity, classes)
        assert (targets._masks is packed) == (specificity.kind == "mask")
        assert [int(target.sum()) for target in targets[np.array([1, 0, 1])]] == [0, 35, 0]
