"""Places a made-up anatomy so that a drawn mask lies in its lungs, at the chest wall."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from spurious.generators.chest.chest_anatomy import Anatomy, Lung
from spurious.generators.chest.raster import Curve, region
from spurious.readers.resize import shrink_mask

_TRIES = 64
_SIDE = 128
"""Pixels of the raster on which placements are compared."""
_WORTH_OF_WALL = 4.0
"""A gap of a hundredth of the film to the wall counts as much as 4 % of the mask outside."""


@dataclass(frozen=True)
class _Placement:
    """Scale about the film's middle, then shift; (x, y) each."""

    scale: Curve
    shift: Curve

    def move(self, curve: Curve) -> Curve:
        """Return a curve of an anatomy where this placement puts it."""
        return np.asarray((curve - 0.5) * self.scale + 0.5 + self.shift)


def place_around(rng: np.random.Generator, anatomy: Anatomy, mask: NDArray[np.bool_]) -> Anatomy:
    """Return the anatomy scaled and shifted a little, so that its lungs hold a mask.

    Of 64 placements, drawn whatever the mask, that one is taken whose lungs hold most of the mask
    and whose edge it comes nearest to.

    Args:
        rng: Generator.
        anatomy: The patient.
        mask: (size, size) bool, not empty; `size` is at least 128.
    """
    small = shrink_mask(mask, _SIDE, _SIDE)
    placements = [
        _Placement(rng.uniform(0.86, 1.12, 2), rng.normal(0, (0.035, 0.05))) for _ in range(_TRIES)
    ]
    fits = [
        _fit([placement.move(lung.outline) for lung in anatomy.lungs], small)
        for placement in placements
    ]
    return _move(anatomy, placements[int(np.argmax(fits))])


def lung_at(anatomy: Anatomy, mask: NDArray[np.bool_]) -> int:
    """Return the index of the lung on whose side most of a (size, size) bool mask lies."""
    columns = (np.arange(mask.shape[1]) + 0.5) / mask.shape[1]
    return int(2 * mask[:, columns > anatomy.midline].sum() > mask.sum())


def _fit(outlines: Sequence[Curve], mask: NDArray[np.bool_]) -> float:
    """Share of the mask inside the lungs, less its distance from their edge; higher is better."""
    lungs = region(outlines[0], _SIDE) | region(outlines[1], _SIDE)
    held = lungs & mask
    if not held.any():
        return -1.0
    depth = np.asarray(cv2.distanceTransform(lungs.astype(np.uint8), cv2.DIST_L2, 3))
    gap = (float(depth[held].min()) - 1) / _SIDE
    return float(held.sum() / mask.sum()) - _WORTH_OF_WALL * gap


def _move(anatomy: Anatomy, placement: _Placement) -> Anatomy:
    move = placement.move

    def move_all(curves: Sequence[Curve]) -> list[Curve]:
        return [move(curve) for curve in curves]

    def move_lung(lung: Lung) -> Lung:
        return replace(
            lung,
            wall=move(lung.wall),
            dome=move(lung.dome),
            outline=move(lung.outline),
            hilum=move(lung.hilum),
        )

    return Anatomy(
        midline=float(move(np.array([anatomy.midline, 0.5]))[0]),
        lungs=(move_lung(anatomy.lungs[0]), move_lung(anatomy.lungs[1])),
        body=move(anatomy.body),
        heart=move(anatomy.heart),
        mediastinum=move(anatomy.mediastinum),
        trachea=move(anatomy.trachea),
        stomach=move(anatomy.stomach),
        vertebrae=move_all(anatomy.vertebrae),
        clavicles=move_all(anatomy.clavicles),
        scapulae=move_all(anatomy.scapulae),
        breasts=move_all(anatomy.breasts),
        posterior_ribs=move_all(anatomy.posterior_ribs),
        anterior_ribs=move_all(anatomy.anterior_ribs),
    )
