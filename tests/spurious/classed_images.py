"""Small images of four classes, one of them abnormal, with a mark that goes with the label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from small_data import read_only, stacked

from spurious.data.classes import ImageClass
from spurious.data.dataset import Dataset
from spurious.data.records import Record

CLASSES = (
    ImageClass("dot", False),
    ImageClass("square", True),
    ImageClass("bar", False),
    ImageClass("Nothing at all", False),
)
SIZES = ((2, 2), (5, 5), (2, 9), (0, 0))
"""Height and width of what a class shows, on 16 x 16 pixels."""


def draw_record(split: str, number: int, classes: Sequence[ImageClass] = CLASSES) -> Record:
    """The image of a split's number; classes come in turn, the mark on most squares."""
    rng = np.random.default_rng([number, *split.encode()])
    of = number % len(CLASSES)
    height, width = SIZES[of]
    top, left = rng.integers(0, 16 - height), rng.integers(0, 16 - width)
    shown = np.zeros((16, 16), bool)
    shown[top : top + height, left : left + width] = True
    image = rng.integers(0, 60, (16, 16)) + 150 * shown
    positive = CLASSES[of].positive
    marked = bool(rng.random() < (0.75 if positive else 0.25))
    if marked:
        image[:3, -3:] = 255
    return Record(
        sample_id=f"{split}-{number:04d}",
        patient_id=f"{split}-{number:04d}",
        split=split,
        label=int(positive),
        image=image.astype(np.uint8)[:, :, None],
        mask=shown & positive,
        abnormalities=int(positive),
        attributes={"mark": marked},
        class_number=of if classes else None,
    )


@dataclass(frozen=True)
class ClassedSource:
    """A source of these images; of labels alone where `classes` is empty."""

    sizes: Mapping[str, int]
    classes: tuple[ImageClass, ...] = CLASSES
    name: str = "classed"
    attribute_names: tuple[str, ...] = ("mark",)
    declared_directions: Mapping[str, int] = field(default_factory=dict)
    partial: bool = False

    def index(self) -> list[str]:
        """Ids, ascending."""
        return sorted(f"{split}-{i:04d}" for split, n in self.sizes.items() for i in range(n))

    def load(self, sample_id: str) -> Record:
        """One record."""
        split, number = sample_id.split("-")
        return draw_record(split, int(number), self.classes)

    def provenance(self) -> Mapping[str, str]:
        """That they are drawn."""
        return {"format": "drawn for a test"}


def classed(
    train: int = 23, val: int = 16, test: int = 20, *, labels_alone: bool = False
) -> Dataset:
    """The images as an opened dataset, with classes or with labels alone."""
    source = ClassedSource({"train": train, "val": val, "test": test})
    records = [source.load(sample_id) for sample_id in source.index()]
    dataset = stacked(records)
    if not labels_alone:
        numbers = np.array([record.class_number for record in records], np.int64)
        dataset = replace(dataset, class_numbers=numbers, classes=CLASSES)
    return read_only(dataset)
