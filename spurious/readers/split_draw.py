"""Draws train, val and test where nothing names them: by patient, stratified, seeded.

There are two ways, and what is staged depends on which drew its splits, so both stay as they are.
Releases (`draw_splits`) cut patients of the same stratum at the shares. A team's own folder
(`split_by_patient`) is smaller, its patients have several images with several attributes, and some
of these are unknown; there, patients are placed one by one, so that small groups reach every split.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

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


@dataclass(frozen=True)
class Case:
    """What splitting an image depends on.

    Attributes:
        patient: Who the image is of.
        label: 0 or 1, or the number of its class.
        attributes: Spurious attributes; None is unknown.
    """

    patient: str
    label: int
    attributes: Mapping[str, bool | None]


def split_by_patient(
    cases: Mapping[str, Case], shares: Sequence[float], seed: int
) -> Mapping[str, str]:
    """Return the split of every image; all images of a patient are in one.

    Every group of label and attribute value is to be shared out alike, and so are all images.
    Patients are placed one by one, those with most images first and patients of equal size in an
    order by hash of seed and id, each where the sum of (count - aim)^2 / aim over groups grows
    least. That is the greedy placement of scikit-learn's StratifiedGroupKFold and of Sechidis et
    al. 2011, for shares that differ. The order of rows does not matter.

    Args:
        cases: By image id.
        shares: Of train, val and test; they sum to 1.
        seed: Another one puts other patients into each split.
    """
    images: dict[str, list[str]] = defaultdict(list)
    for image in sorted(cases):
        images[cases[image].patient].append(image)
    counts = _count_groups(cases, images)
    patients = sorted(images, key=lambda patient: (-len(images[patient]), _order(patient, seed)))
    aims = np.outer(shares, np.sum(list(counts.values()), axis=0))
    placed = np.zeros_like(aims)
    splits: dict[str, str] = {}
    for patient in patients:
        added = counts[patient]
        # of (placed + added - aim)^2 / aim, only what adding changes
        growth = (added * (2 * (placed - aims) + added) / np.maximum(aims, 1e-9)).sum(axis=1)
        chosen = int(np.argmin(growth))
        placed[chosen] += added
        splits.update(dict.fromkeys(images[patient], SPLITS[chosen]))
    return splits


def _order(patient: str, seed: int) -> str:
    return hashlib.sha256(f"{seed} {patient}".encode()).hexdigest()


def _count_groups(
    cases: Mapping[str, Case], images: Mapping[str, Sequence[str]]
) -> Mapping[str, NDArray[np.float64]]:
    """Return each patient's images by group: all, per label, per label and attribute value."""
    groups: dict[tuple[object, ...], int] = {}
    members = {
        patient: [
            groups.setdefault(group, len(groups))
            for image in of_patient
            for group in _groups_of(cases[image])
        ]
        for patient, of_patient in sorted(images.items())
    }
    return {
        patient: np.bincount(held, minlength=len(groups)).astype(np.float64)
        for patient, held in members.items()
    }


def _groups_of(case: Case) -> list[tuple[object, ...]]:
    known = sorted((name, value) for name, value in case.attributes.items() if value is not None)
    return [(), (case.label,), *((case.label, name, value) for name, value in known)]
