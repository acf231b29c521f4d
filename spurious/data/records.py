"""Records: what readers and generators yield, and shards store.

Shape legend: H height, W width, C channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spurious.data.classes import ImageClass

Covariate = str | float | None
"""Value of a column that is neither label nor shortcut; None where it is not known."""


@dataclass(frozen=True)
class Outline:
    """What an annotator would click for one mask, see `spurious.data.outlines`.

    Attributes:
        vertices_2px: Polygon vertices at a tolerance of 2 native pixels.
        vertices_5px: At 5 native pixels.
        components: 8-connected components.
        area: Share of the image's pixels.
    """

    vertices_2px: int
    vertices_5px: int
    components: int
    area: float


@dataclass(frozen=True)
class Overlap:
    """Shares of a spurious feature's pixels that lie in the mask and in the boxes around it."""

    in_mask: float
    in_boxes: float


@dataclass(frozen=True)
class Record:
    """One image as a reader or generator yields it, at its staged size.

    Attributes:
        sample_id: Unique id within the dataset.
        patient_id: Splits never share one.
        split: One of `spurious.data.splits.SPLITS`.
        label: 1 when the abnormality is present, else 0.
        image: (H, W, C), `uint8`, `uint16` or `float32`; one dtype and shape per dataset.
        mask: (H, W) bool, True on abnormal pixels; all False where somebody looked and drew
            nothing, None where nobody drew. On images of label 0 it may hold what is drawn on
            normal images (a benign lesion), which counts under `negatives: lesion` alone.
        abnormalities: Number of separate regions of the mask, else of boxes, what boxes and masks
            are priced by; 0 where neither is drawn.
        attributes: Spurious attribute name to True, False or None (not annotated).
        boxes: (k, 4) int32, x0, y0, x1, y1 in staged pixels, x1 and y1 exclusive; empty where
            somebody looked and drew nothing. None where nobody drew boxes: then those of a drawn
            mask follow from it.
        covariates: Further columns by name (sex, age, site); in no digest.
        outline: What drawing the mask takes, measured on the native mask; in no digest.
        overlaps: Spurious attribute name to how the feature lies to the mask, where the feature's
            own pixels are known; in no digest.
        features: Spurious attribute name to the feature's own pixels, (H, W) bool, where they are
            known and there are some; in no digest.
        class_number: Place of its class among the source's classes; None where it has none.
    """

    sample_id: str
    patient_id: str
    split: str
    label: int
    image: NDArray[Any]
    mask: NDArray[np.bool_] | None
    abnormalities: int
    attributes: Mapping[str, bool | None]
    boxes: NDArray[np.int32] | None = None
    covariates: Mapping[str, Covariate] = field(default_factory=dict)
    outline: Outline | None = None
    overlaps: Mapping[str, Overlap] = field(default_factory=dict)
    features: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    class_number: int | None = None


@dataclass(frozen=True, eq=False)
class SplitTable:
    """What is known of a split's images without their pixels, in ascending order of ids.

    Attributes:
        labels: (n,) int64 in {0, 1}.
        abnormalities: (n,) int64, abnormalities per image.
        attributes: (n, A) bool, spurious attributes in the order of their names.
    """

    labels: NDArray[np.int64]
    abnormalities: NDArray[np.int64]
    attributes: NDArray[np.bool_]


class RecordSource(Protocol):
    """A reader of a native dataset, or a generator: a cheap index, then one record at a time.

    A source is pickled to staging workers, so it holds paths and options, never open files.
    """

    name: str
    attribute_names: tuple[str, ...]
    declared_directions: Mapping[str, int]
    """+1 or -1 for attributes whose direction training labels cannot show."""
    partial: bool
    """Whether records may come without a mask, or with boxes; where not, each has its mask."""
    classes: Sequence[ImageClass]
    """At least three classes that each record is of one of; empty where labels are all."""

    def index(self) -> Sequence[str]:
        """Return sample ids in ascending order; raises DataError on a broken index file or tree."""
        ...

    def load(self, sample_id: str) -> Record:
        """Decode, down-sample and return one record; raises DataError naming the file."""
        ...

    def provenance(self) -> Mapping[str, str]:
        """Return where data came from: release, options, file hashes; goes into the manifest."""
        ...


class GeneratedSource(RecordSource, Protocol):
    """A generator, whose labels follow from its options: a plan knows prices without pixels."""

    def split_table(self, split: str) -> SplitTable:
        """Return what the records of a split will say, without drawing their pixels."""
        ...
