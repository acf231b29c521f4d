"""Both pixel measures on the generated squares themselves, beside what `square_model` expects.

Saab et al. 2022, definitions 1 and 3. No staged dataset says where the spurious block is, but the
generator does: training images are drawn again, with the block's mask.

Shape legend: P positive images of side n.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from spurious.config.datasets import GaussianSquares
from spurious.config.options import Specificity
from spurious.data.specificity import supervision_target
from spurious.generators.gaussian_squares import GaussianSquaresSource
from spurious.scoring.measures import empirical_mi
from spurious.squares.model import SquareMeasures

MOST_PIXELS = 20_000_000
"""Pixels that are drawn again at most: 12,500 images of the paper's size, in seconds."""


@dataclass(frozen=True)
class MeasuredSquares:
    """The measures on some training images.

    Attributes:
        images: The first training images, all of them where these are few enough.
        positives: Those with an abnormality, which alone have a target.
        by_specificity: Both measures at each specificity; NaN without positives. The variance is
            of raw pixels, in squared intensities of the generator.
    """

    images: int
    positives: int
    by_specificity: dict[Specificity, SquareMeasures]


@lru_cache(maxsize=2)
def measure_squares(
    options: GaussianSquares, specificities: tuple[Specificity, ...]
) -> MeasuredSquares:
    """Draw training images and measure each specificity's targets, pooled over their pixels."""
    source = GaussianSquaresSource(options)
    most = max(1, MOST_PIXELS // options.image_size**2)
    ids = [sample_id for sample_id in source.index() if sample_id.startswith("train-")][:most]
    drawn = [record for record in map(source.load, ids) if record.label]
    shape = len(drawn), options.image_size, options.image_size
    pixels, abnormal, spurious = np.empty(shape), np.empty(shape, bool), np.empty(shape, bool)
    for at, record in enumerate(drawn):
        pixels[at], abnormal[at] = record.image[:, :, 0], record.mask
        spurious[at] = record.features.get("block", False)
    measures = {
        specificity: _measures(pixels, abnormal, spurious, specificity)
        for specificity in specificities
    }
    return MeasuredSquares(len(ids), len(drawn), measures)


def _measures(
    pixels: NDArray[np.float64],
    abnormal: NDArray[np.bool_],
    spurious: NDArray[np.bool_],
    specificity: Specificity,
) -> SquareMeasures:
    """Of (P, n, n) pixels, their masks Y and the blocks S."""
    target = np.ones_like(abnormal)
    if specificity.kind != "label":
        for at, mask in enumerate(abnormal):
            target[at] = supervision_target(mask, specificity)
    nan = float("nan")
    if not target.any():
        return SquareMeasures(nan, nan, nan, nan)
    normal = target & ~abnormal
    return SquareMeasures(
        gamma=float(abnormal[target].mean()),
        w=float(spurious[normal].mean()) if normal.any() else nan,
        variance=float(pixels[target].var()),
        mi=empirical_mi(abnormal, spurious, target),
    )
