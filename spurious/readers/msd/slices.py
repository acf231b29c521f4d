"""Slices of volumes: which are taken, and how their values become 8 bits."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spurious.data.splits import SPLITS
from spurious.errors import DataError
from spurious.readers.marks.nifti import Volume
from spurious.readers.windows import PERCENTILES

AXES = {"sagittal": 0, "coronal": 1, "axial": 2}


@dataclass(frozen=True)
class Slice:
    """One slice: its volume, its place along the axis, and whether something is drawn on it."""

    volume: str
    position: int
    label: int


def list_slices(
    volume: str, labels: NDArray[np.bool_], axis: int, min_voxels: int
) -> dict[str, Slice]:
    """Return the slices of a volume by id; those with fewer voxels than `min_voxels`, but some, go.

    Args:
        volume: Its name.
        labels: (X, Y, Z) bool, where a class that counts is drawn.
        axis: 0 sagittal, 1 coronal, 2 axial.
        min_voxels: Fewest voxels of a positive slice.
    """
    remaining = tuple(other for other in range(3) if other != axis)
    counts = np.count_nonzero(labels, axis=remaining)
    return {
        f"{volume}_{'xyz'[axis]}{position:04d}": Slice(volume, position, int(count > 0))
        for position, count in enumerate(counts.tolist())
        if count == 0 or count >= min_voxels
    }


def balance_slices(
    slices: Mapping[str, Slice], splits: Mapping[str, str], seed: int
) -> dict[str, Slice]:
    """Return, for each split, its positive slices and as many negative ones, or all of the fewer.

    Args:
        slices: By id.
        splits: Split of each volume.
        seed: Another seed draws other slices.
    """
    taken: dict[str, Slice] = {}
    for split in SPLITS:
        groups: dict[int, list[str]] = {0: [], 1: []}
        for name in sorted(
            slices, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest()
        ):
            if splits[slices[name].volume] == split:
                groups[slices[name].label].append(name)
        most = min(len(groups[0]), len(groups[1]))
        taken |= {name: slices[name] for group in groups.values() for name in group[:most]}
    return taken


def find_limits(values: NDArray[Any], window: str) -> tuple[float, float]:
    """Return the values of a volume that become 0 and 255.

    Args:
        values: The whole volume, so that its slices stay comparable.
        window: `data` for its smallest and largest, `percentile` for its `PERCENTILES`, or
            `LOW/HIGH`, such as -160/240 Hounsfield units.

    Raises:
        DataError: LOW is not below HIGH.
    """
    if window == "data":
        return float(values.min()), float(values.max())
    if window == "percentile":
        low, high = np.percentile(values, PERCENTILES)
        return float(low), float(high)
    low, high = (float(number) for number in window.split("/"))
    if low >= high:
        raise DataError(f"window is {window}; expected LOW/HIGH with LOW below HIGH")
    return low, high


def scale_slice(plane: NDArray[Any], limits: tuple[float, float]) -> NDArray[np.uint8]:
    """Scale values linearly to 0 to 255, rounded; what is outside becomes one or the other."""
    low, high = limits
    if high == low:
        return np.zeros(plane.shape, np.uint8)
    scaled = (plane.astype(np.float64) - low) * (255 / (high - low))
    return np.floor(np.clip(scaled, 0, 255) + 0.5).astype(np.uint8)


def find_classes(volume: Volume, classes: Collection[int]) -> NDArray[np.bool_]:
    """Return where a label map has one of some classes, (X, Y, Z) bool."""
    return np.isin(volume.values, list(classes))
