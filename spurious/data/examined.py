"""Training images whose explanations are examples: named ones, or those that a rule picks from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spurious.data.dataset import Dataset
from spurious.data.drawn import MASK
from spurious.data.randomness import generator
from spurious.errors import ConfigError


def find_named(dataset: Dataset, names: tuple[str, str]) -> NDArray[np.int64]:
    """Return the rows of two training images, in the order of their names, (2,) int64.

    Raises:
        ConfigError: a name is of no image, or of one of another split.
    """
    rows = []
    for name in names:
        matches = np.flatnonzero(dataset.sample_ids == name)
        if not len(matches):
            raise ConfigError(
                f"the dataset has no image '{name}'; expected the id of a training image"
            )
        split = dataset.splits[matches[0]]
        if split != "train":
            raise ConfigError(f"image '{name}' is of {split}; expected the id of a training image")
        rows.append(int(matches[0]))
    return np.array(rows, np.int64)


def draw_shown(
    dataset: Dataset, annotated: NDArray[np.int64], most: int, seed: int
) -> NDArray[np.int64]:
    """Draw positive images with a mask that is not empty, whose explanations somebody is shown.

    Args:
        dataset: The dataset.
        annotated: (n,) int64 rows of the training images with labels.
        most: How many at most.
        seed: The trial's seed.

    Returns:
        Ascending rows, (m,) int64.

    Raises:
        ConfigError: fewer than two, of which none would be good and none bad.
    """
    positive = annotated[dataset.labels[annotated] == 1]
    drawn = positive[(dataset.drawn_on(positive) & MASK) != 0]
    shown: list[int] = []
    for row in map(int, drawn[generator("shown", seed).permutation(len(drawn))]):
        if len(shown) < most and dataset.masks[row].any():
            shown.append(row)
    if len(shown) < 2:
        raise ConfigError(
            f"{len(shown)} of {len(positive)} annotated positive images have a mask that is not "
            "empty, and a good and a bad explanation are of two; raise the budget, or name good "
            "and bad"
        )
    return np.sort(np.array(shown, np.int64))
