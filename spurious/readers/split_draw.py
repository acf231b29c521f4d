"""Draws train, val and test for releases that name none: by patient, stratified, seeded."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from typing import Protocol

from spurious.config.release_fields import parse_shares
from spurious.data.splits import SPLITS


class DrawnSplit(Protocol):
    """Options of a reader that draws its splits."""

    @property
    def split(self) -> str:
        """Shares of train, val and test, as `0.7/0.1/0.2`."""

    @property
    def seed(self) -> int:
        """Another seed draws other splits."""


def draw_splits(
    patients: Mapping[str, str], strata: Mapping[str, tuple[int, ...]], options: DrawnSplit
) -> dict[str, str]:
    """Draw the split of every image, so that a patient is in one split only.

    A patient's stratum is the largest of its images'. Within each stratum patients are ordered by
    a hash of seed and name and cut by the shares, so the draw does not depend on the files' order.

    Args:
        patients: Image to patient.
        strata: Image to what the splits should have in equal shares, such as the label.
        options: Shares and seed.

    Returns:
        Image to split.
    """
    highest: dict[str, tuple[int, ...]] = {}
    for image, patient in patients.items():
        highest[patient] = max(highest.get(patient, strata[image]), strata[image])
    groups: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for patient, stratum in highest.items():
        groups[stratum].append(patient)
    train, val, _ = parse_shares(options.split)
    split_of: dict[str, str] = {}
    for group in groups.values():
        group.sort(key=lambda patient: _hash(options.seed, patient))
        cuts = (round(train * len(group)), round((train + val) * len(group)))
        for place, patient in enumerate(group):
            split_of[patient] = SPLITS[(place >= cuts[0]) + (place >= cuts[1])]
    return {image: split_of[patient] for image, patient in patients.items()}


def _hash(seed: int, patient: str) -> bytes:
    return hashlib.sha256(f"{seed}/{patient}".encode()).digest()
