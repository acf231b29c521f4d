"""A dataset as methods read it: one array per column.

Shape legend: N images, H height, W width, C channels, A spurious attributes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from spurious.data.classes import ImageClass
from spurious.data.derived import DerivedArrays
from spurious.data.drawn import MASK
from spurious.data.mask_of import MaskOf
from spurious.data.masks import PackedMasks
from spurious.data.splits import SPLITS
from spurious.errors import DataError

COLUMNS: Final = (
    "labels",
    "attributes",
    "splits",
    "sample_ids",
    "patient_ids",
    "abnormalities",
)
"""The arrays of a `Dataset` that hold no pixels."""


@dataclass(frozen=True)
class Dataset:
    """A dataset opened for training: arrays in the manifest's dtype, usually memory-mapped.

    Attributes:
        images: (N, H, W, C) `uint8`, `uint16` or `float32`.
        masks: N masks of (H, W), packed; indexing unpacks rows.
        labels: (N,) int64 in {0, 1}.
        attributes: (N, A) int8 in {0, 1, -1 unknown}.
        splits: (N,) str, each in `SPLITS`.
        sample_ids: (N,) str.
        patient_ids: (N,) str.
        abnormalities: (N,) int64, abnormalities per image.
        attribute_names: A names.
        directions: A values, +1 where the attribute goes with the label in training, -1 against.
        digest: The manifest's digest.
        drawn: (N,) uint8, bits of `spurious.data.drawn`; None where every mask is drawn.
        boxes: Boxes that were drawn as such, filled, as masks are packed; None where none are.
        mask_of: What the masks are of.
        class_numbers: (N,) int64, 0 to K - 1; None where labels are all that is told apart.
        classes: K classes, at least three; empty where there are only labels.
        derived: Where arrays that follow from these are kept; None where nowhere.
    """

    images: NDArray[Any]
    masks: PackedMasks
    labels: NDArray[np.int64]
    attributes: NDArray[np.int8]
    splits: NDArray[np.str_]
    sample_ids: NDArray[np.str_]
    patient_ids: NDArray[np.str_]
    abnormalities: NDArray[np.int64]
    attribute_names: tuple[str, ...]
    directions: tuple[int, ...]
    digest: str = ""
    drawn: NDArray[np.uint8] | None = None
    boxes: PackedMasks | None = None
    mask_of: MaskOf = "abnormality"
    class_numbers: NDArray[np.int64] | None = None
    classes: tuple[ImageClass, ...] = ()
    derived: DerivedArrays | None = None

    def __post_init__(self) -> None:
        n = len(self.labels)
        columns = ("drawn", "boxes", "class_numbers")
        optional = [name for name in columns if getattr(self, name) is not None]
        for name in ("images", "masks", *COLUMNS, *optional):
            if len(getattr(self, name)) != n:
                raise DataError(f"dataset array '{name}' has another length than labels ({n})")
        if self.attributes.shape[1] != len(self.attribute_names):
            raise DataError("attributes must have one column per attribute name")
        if (self.class_numbers is None) != (not self.classes):
            raise DataError("a dataset with classes has their numbers, and the other way round")

    @property
    def positive_classes(self) -> tuple[int, ...]:
        """Numbers of the classes of label 1; none where there are only labels."""
        return tuple(number for number, each in enumerate(self.classes) if each.positive)

    def answers(self, *, by_class: bool) -> NDArray[np.int64]:
        """Return what a model is to answer of each image, (N,) int64: its class, or its label."""
        if not by_class:
            return self.labels
        if self.class_numbers is None:
            raise DataError("this dataset has labels alone, and no classes")
        return self.class_numbers

    def drawn_on(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return what is drawn on some rows, (n,) int64 to (n,) uint8 bits."""
        if self.drawn is None:
            return np.full(len(rows), MASK, np.uint8)
        return np.asarray(self.drawn[rows])

    def rows(self, split: str) -> NDArray[np.int64]:
        """Row numbers of one split, ascending, (n,) int64."""
        if split not in SPLITS:
            raise DataError(f"unknown split '{split}'; expected one of {', '.join(SPLITS)}")
        return np.flatnonzero(self.splits == split)
