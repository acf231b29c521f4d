"""Records (what readers yield) and Dataset (what methods read).

Shape legend: N images, H height, W width, C channels, A spurious attributes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spurious.errors import DataError

SPLITS = ("train", "val", "test")
UNKNOWN = -1
"""Code of a spurious attribute that nobody annotated."""


@dataclass(frozen=True)
class Record:
    """One image as a reader or generator yields it, at its staged size.

    Attributes:
        sample_id: Unique id within the dataset.
        patient_id: Splits never share one.
        split: One of `SPLITS`.
        label: 1 when the abnormality is present, else 0.
        image: (H, W, C), `uint8`, `uint16` or `float32`; one dtype and shape per dataset.
        mask: (H, W) bool, True on abnormal pixels. Where label is 0 it is all False, or holds what
            is drawn on normal images (a benign lesion), which counts under `negatives: lesion`
            alone.
        abnormalities: Number of separate regions of the mask, what boxes and masks are priced by.
        attributes: Spurious attribute name to True, False or None (not annotated).
    """

    sample_id: str
    patient_id: str
    split: str
    label: int
    image: NDArray[Any]
    mask: NDArray[np.bool_]
    abnormalities: int
    attributes: Mapping[str, bool | None]


class RecordSource(Protocol):
    """A reader of a native dataset, or a generator: a cheap index, then one record at a time.

    A source is pickled to staging workers, so it holds paths and options, never open files.
    """

    name: str
    attribute_names: tuple[str, ...]
    declared_directions: Mapping[str, int]
    """+1 or -1 for attributes whose direction training labels cannot show."""

    def index(self) -> Sequence[str]:
        """Sample ids in ascending order; raises DataError on a broken index file or tree."""
        ...

    def load(self, sample_id: str) -> Record:
        """Decode, down-sample and return one record; raises DataError naming the file."""
        ...

    def provenance(self) -> Mapping[str, str]:
        """Where the data came from: release, options, file hashes; goes into the manifest."""
        ...


@dataclass(frozen=True)
class Dataset:
    """A dataset opened for training: arrays in the manifest's dtype, usually memory-mapped.

    Attributes:
        images: (N, H, W, C) `uint8`, `uint16` or `float32`.
        masks: (N, H, W) bool.
        labels: (N,) int64 in {0, 1}.
        attributes: (N, A) int8 in {0, 1, UNKNOWN}.
        splits: (N,) str, each in `SPLITS`.
        sample_ids: (N,) str.
        patient_ids: (N,) str.
        abnormalities: (N,) int64, abnormalities per image.
        attribute_names: A names.
        directions: A values, +1 where the attribute goes with the label in training, -1 against.
        digest: The manifest's digest.
    """

    images: NDArray[Any]
    masks: NDArray[np.bool_]
    labels: NDArray[np.int64]
    attributes: NDArray[np.int8]
    splits: NDArray[np.str_]
    sample_ids: NDArray[np.str_]
    patient_ids: NDArray[np.str_]
    abnormalities: NDArray[np.int64]
    attribute_names: tuple[str, ...]
    directions: tuple[int, ...]
    digest: str = ""

    def __post_init__(self) -> None:
        n = len(self.labels)
        columns = ("images", "masks", "attributes", "splits", "sample_ids", "patient_ids")
        for name in (*columns, "abnormalities"):
            if len(getattr(self, name)) != n:
                raise DataError(f"dataset array '{name}' has another length than labels ({n})")
        if self.attributes.shape[1] != len(self.attribute_names):
            raise DataError("attributes must have one column per attribute name")

    def rows(self, split: str) -> NDArray[np.int64]:
        """Row numbers of one split, ascending, (n,) int64."""
        if split not in SPLITS:
            raise DataError(f"unknown split '{split}'; expected one of {', '.join(SPLITS)}")
        return np.flatnonzero(self.splits == split)
