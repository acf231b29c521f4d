"""Regions that cover the whole image: they leave nothing outside for a method to penalise.

Regions are those of the stored images; augmentation moves them a little.

Shape legend: B batch, H height, W width.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from spurious.config.steering import Steering
from spurious.data.training_set import TrainingSet
from spurious.methods.base import TrainingProblem
from spurious.scoring.events import COVERING_REGIONS
from spurious.training.evaluate import MetricRow
from spurious.training.regions import dilate

logger = logging.getLogger(__name__)

NEARLY_ALL = 0.95
"""Share of regions, from which on a trial is noted as one that steers by nothing."""
_BATCH = 64


class Covering(NamedTuple):
    """How many images have a region, and how many of these regions cover the whole image."""

    regions: int
    covering: int

    @property
    def nearly_all(self) -> bool:
        """Whether at least 95 % of the regions do, and there is one."""
        return self.regions > 0 and self.covering >= NEARLY_ALL * self.regions


def count_covering(images: TrainingSet, radius: int = 0) -> Covering:
    """Count regions, and those that cover the whole image once dilated by `radius` pixels."""
    assert images.targets is not None
    regions = covering = 0
    positions = np.flatnonzero(images.targets.classes)
    for start in range(0, len(positions), _BATCH):
        targets = images.targets[positions[start : start + _BATCH]]
        regions += int(targets.any(axis=(1, 2)).sum())
        near = targets[_reach_corners(targets, radius)]
        if len(near):
            covering += int(dilate(torch.from_numpy(near), radius).flatten(1).all(dim=1).sum())
    return Covering(regions, covering)


def covering_rows(problem: TrainingProblem) -> list[MetricRow]:
    """Return the count of covering regions where they are nearly all that the method steers by.

    Other trials have no such row.
    """
    method, images = problem.config.method, problem.training
    if not isinstance(method, Steering) or not images.steered or images.targets is None:
        return []
    counted = count_covering(images, method.radius)
    if not counted.nearly_all:
        return []
    logger.warning(
        "%d of %d regions that %s steers by cover the whole image, so that nothing is outside them "
        "and it is ERM on labels there; use a finer specificity, or less blur and dilate",
        counted.covering,
        counted.regions,
        problem.config.method_name,
    )
    value = float(counted.covering)
    return [MetricRow(problem.train.epochs, "train", COVERING_REGIONS, None, value)]


def _reach_corners(targets: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """Return which of (B, H, W) regions reach all four corners once dilated, (B,) bool."""
    reach = radius + 1
    low, high = slice(None, reach), slice(-reach, None)
    corners = [targets[:, rows, columns] for rows in (low, high) for columns in (low, high)]
    return np.all([corner.any(axis=(1, 2)) for corner in corners], axis=0)
