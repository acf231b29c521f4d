"""Targets and the variance from kept arrays: the same bits as without, computed once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import DTypeLike, NDArray
from small_data import fit_config, fitted, grey_squares, squares

from spurious.after_fit import iterate_annotated, variance_measure
from spurious.config.options import Budget, Specificity
from spurious.data.dataset import Dataset
from spurious.data.derived import VERSION
from spurious.data.inputs import PackedTargets
from spurious.data.training_set import TrainingSet
from spurious.scoring.measures import empirical_variance

pytestmark = pytest.mark.usefixtures("torch_settings")
KINDS = [
    Specificity("label"),
    Specificity("mask"),
    Specificity("box"),
    Specificity("box", box_per="image"),
    Specificity("r", r=4),
]


class Kept:
    """Keeps derived arrays in memory, and counts what was made."""

    def __init__(self) -> None:
        self.arrays: dict[str, NDArray[Any]] = {}

    def get(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: DTypeLike,
        fill: Callable[[NDArray[Any]], None],
    ) -> NDArray[Any]:
        if name not in self.arrays:
            array = np.zeros(shape, dtype)
            fill(array)
            self.arrays[name] = array
        assert self.arrays[name].shape == shape
        return self.arrays[name]


def images(dtype: str) -> Dataset:
    """Squares as floats or integers; of three channels, which are summed apart."""
    dataset = squares() if dtype == "float32" else grey_squares(dtype)
    colours = np.concatenate([dataset.images, dataset.images[::-1], dataset.images[:, ::-1]], 3)
    return replace(dataset, images=np.ascontiguousarray(colours))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("specificity", KINDS, ids=str)
def test_the_variance_has_the_same_bits(dtype: str, specificity: Specificity) -> None:
    """Of every type of image and of some annotated images only, in any of their orders."""
    dataset, kept = images(dtype), Kept()
    config = fit_config("label").train
    for count in (21, 7, 1):
        rows = dataset.rows("train")[-count:]
        training = TrainingSet(dataset, rows, specificity, config, 0)
        expected = empirical_variance(iterate_annotated(dataset, training))
        with_kept = replace(dataset, derived=kept)
        training = TrainingSet(with_kept, rows, specificity, config, 0)
        found = variance_measure(with_kept, training, specificity)
        assert np.array([found]).tobytes() == np.array([expected]).tobytes()


@pytest.mark.parametrize("specificity", KINDS[2:], ids=str)
def test_targets_are_the_same(specificity: Specificity) -> None:
    """At any positions, of images of both labels, with classes and where negatives have none."""
    dataset, kept = squares(), Kept()
    rows = dataset.rows("train")[::-1].copy()
    for classes in (None, dataset.labels[rows], dataset.labels[rows] + 1):
        plain = PackedTargets(dataset.masks, rows, specificity, classes)
        ours = PackedTargets(dataset.masks, rows, specificity, classes, None, kept)
        for positions in (np.arange(len(rows)), np.array([3, 0, 3])):
            np.testing.assert_array_equal(ours[positions], plain[positions])
            np.testing.assert_array_equal(ours.pixels(positions), plain.pixels(positions))
    assert len(kept.arrays) == 1


@pytest.mark.parametrize("kind", ["box", "r"])
def test_a_whole_fit_is_the_same_and_later_ones_make_nothing(kind: str) -> None:
    """Every row of two seeds and budgets; the second finds what the first has made."""
    dataset, kept = grey_squares(n_train=40), Kept()
    r = 4 if kind == "r" else None
    for seed, budget in ((0, 20), (1, 10)):
        config = replace(fit_config(kind, r=r, seed=seed, epochs=2), budget=Budget(budget))
        plain, ours = fitted(dataset, config), fitted(replace(dataset, derived=kept), config)
        assert repr(ours.rows) == repr(plain.rows)
        assert any(row.metric == "variance_measure" for row in ours.rows)
        assert len(kept.arrays) == 3


def test_other_values_need_another_version() -> None:
    """What is kept on nodes is believed by its name: values of this version never change."""
    dataset, kept = grey_squares(), Kept()
    config = fit_config("label").train
    digest = hashlib.sha256()
    for specificity in KINDS:
        training = TrainingSet(
            replace(dataset, derived=kept), dataset.rows("train"), specificity, config, 0
        )
        variance_measure(replace(dataset, derived=kept), training, specificity)
    for name, array in sorted(kept.arrays.items()):
        digest.update(name.encode() + array.tobytes())
    assert (VERSION, digest.hexdigest()[:16]) == (1, "3875a4dab219a125")
