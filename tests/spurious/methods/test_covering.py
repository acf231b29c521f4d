"""Regions that cover the whole image: counted beside a plain count, and noted by trials."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from small_data import copy_array, fitted, method_config, no_weights, squares, values, with_arrays
from small_data import weights as kept_weights

from spurious.config.machine import Machine
from spurious.config.methods import METHODS
from spurious.config.options import FitConfig
from spurious.data.dataset import Dataset
from spurious.fit import _problem
from spurious.methods.covering import count_covering


@pytest.fixture(autouse=True)
def one_thread(torch_settings: None) -> None:
    """As fits run here."""
    torch.set_num_threads(1)


def config_of(name: str = "gradmask", **options: Any) -> FitConfig:
    """A method on masks, for an epoch."""
    return method_config(name, "mask", METHODS[name](**options), epochs=1)


def positives(data: Dataset) -> NDArray[np.int64]:
    """Training images with a region."""
    train = data.rows("train")
    found: NDArray[np.int64] = train[data.labels[train] == 1]
    return found


@pytest.mark.parametrize("radius", [0, 3, 9, 10, 11, 12, 15])
def test_the_count_is_a_plain_one(radius: int) -> None:
    """Of squares in other places, an image that is all inside, and one whose mask is empty."""
    data = squares()
    masks, rows = copy_array(data, "masks"), positives(data)
    masks[rows[0]], masks[rows[1]] = True, False
    data = with_arrays(data, masks=masks)
    problem = _problem(data, config_of(), Machine(), no_weights)
    side = np.ones((2 * radius + 1, 2 * radius + 1), dtype=bool)
    grown = [ndimage.binary_dilation(masks[row], side) for row in rows]
    expected = (len(rows) - 1, sum(bool(each.all()) for each in grown))
    assert count_covering(problem.training, radius) == expected


@pytest.mark.parametrize("options", [{"dilate": 15}, {"blur": 4.0}])
def test_a_trial_that_steers_by_nothing_notes_it(options: dict[str, Any]) -> None:
    """Its model is the one without a penalty, and no other row of it is another one."""
    data = squares()
    found = fitted(data, config_of(**options))
    assert values(found, "train", "covering_regions").tolist() == [len(positives(data))]
    plainly = fitted(data, config_of(weight=0.0))
    assert kept_weights(found) == kept_weights(plainly)
    rest = [row for row in found.rows if row.metric != "covering_regions"]
    assert repr(rest) == repr(plainly.rows)
    assert kept_weights(fitted(data, config_of(blur=0.0))) != kept_weights(plainly)


@pytest.mark.parametrize(("small", "noted"), [(1, True), (2, False)])
def test_few_regions_that_steer_are_enough(small: int, noted: bool) -> None:
    """From 95 % on: 19 of 20 are noted, 18 are not."""
    data = squares(n_train=60)
    rows = positives(data)[:20]
    masks = np.zeros(data.images.shape[:3], dtype=bool)
    masks[rows] = True
    masks[rows[:small], 4:] = False
    data = with_arrays(data, masks=masks)
    found = values(fitted(data, config_of(blur=0.0)), "train", "covering_regions")
    assert found.tolist() == ([20 - small] if noted else [])


def test_methods_that_steer_by_nothing_have_none() -> None:
    """ERM learns the masks, and does not steer by them."""
    config = replace(method_config("erm", "mask", METHODS["erm"](), epochs=1))
    masks = np.ones(squares().images.shape[:3], dtype=bool)
    found = fitted(with_arrays(squares(), masks=masks), config)
    assert not len(values(found, "train", "covering_regions"))
