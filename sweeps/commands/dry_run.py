"""`sweeps stage --dry-run`: what staging would find, and what a sweep on it could measure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.common.wording import count_of
from cluster.datasets.keys import check_name
from spurious.data.attributes import UNKNOWN, GroupCounts, measure_direction
from spurious.data.classes import ImageClass
from spurious.data.splits import EVALUATION_SPLITS, SPLITS
from spurious.errors import DataError
from spurious.scoring.expected_width import ASSUMED_AUROC, expected_half_width
from spurious.scoring.groups import contradicts, count_groups, mostly_contradicts
from sweeps.commands.output import keep_stdout_for_json, note, print_json
from sweeps.commands.stage import DatasetRequest
from sweeps.driver.progress import count_progress, make_console
from sweeps.staging.sources import staging_from_command
from sweeps.staging.survey import ImageFacts, Survey, survey

_SHOWN = 20
_ALL = "all attributes"


@dataclass(frozen=True)
class RobustCell:
    """What a robust AUROC rests on.

    Attributes:
        attribute: The spurious attribute, or `_ALL`.
        split: `val` or `test`.
        positives: Images of label 1 whose attribute says 0.
        negatives: Images of label 0 whose attribute says 1.
    """

    attribute: str
    split: str
    positives: int
    negatives: int

    @property
    def half_width(self) -> float | None:
        """Expected half-width of a 95 % interval; None without an image of a class."""
        width = expected_half_width(self.positives, self.negatives, ASSUMED_AUROC)
        return None if math.isnan(width) else width


def dry_run(request: DatasetRequest, *, as_json: bool = False) -> int:
    """Load every image, print counts and what robust metrics will rest on; write nothing.

    Raises:
        DataError: The index is broken, or images are bad: all of them are counted before.
    """
    staging = staging_from_command(request.kind, request.folder, request.options)
    name = check_name(request.name or request.kind, "dataset")
    source = staging.source
    source.index()
    notes = getattr(source, "notes", ())
    with (
        keep_stdout_for_json(as_json),
        count_progress(f"reading {name}", "images", make_console(), shows_end=True) as progress,
    ):
        surveyed = survey(source, progress)
    for text in (*notes, *_shorten(surveyed.warnings)):
        note(text)
    problems = [*surveyed.problems, *_find_mixed_shapes(surveyed.images)]
    robust = find_robust_cells(surveyed.images, source.declared_directions)
    if as_json:
        print_json(_document(name, surveyed, robust, problems, source.classes))
    else:
        print("\n".join(_describe(name, surveyed, robust, source.classes)))
    if not problems:
        return 0
    listed = "\n  ".join(_shorten(sorted(problems)))
    count = f"{count_of(len(problems), 'problem')} keep{'s' if len(problems) == 1 else ''}"
    raise DataError(f"{count} {name} from being staged:\n  {listed}")


def find_robust_cells(
    images: Sequence[ImageFacts], declared: Mapping[str, int]
) -> Sequence[RobustCell]:
    """Count the images that each robust AUROC of val and test rests on."""
    names = sorted(images[0].attributes) if images else []
    train = [image for image in images if image.split == "train"]
    directions = {
        name: declared.get(name) or measure_direction(_count(train, name)) or 1 for name in names
    }
    cells = []
    for split in EVALUATION_SPLITS:
        held = [image for image in images if image.split == split]
        labels = np.array([image.label for image in held], np.int64)
        columns = np.stack([_codes(held, name) for name in names], axis=1) if names else None
        if columns is None:
            continue
        against = {
            name: contradicts(labels, _codes(held, name), directions[name]) for name in names
        }
        if len(names) > 1:
            against[_ALL] = mostly_contradicts(labels, columns, [directions[n] for n in names])
        cells += [
            RobustCell(
                name, split, int((labels[chosen] == 1).sum()), int((labels[chosen] == 0).sum())
            )
            for name, chosen in against.items()
        ]
    return cells


def _codes(images: Sequence[ImageFacts], name: str) -> NDArray[np.int8]:
    values = [image.attributes[name] for image in images]
    return np.array([UNKNOWN if value is None else int(value) for value in values], np.int8)


def _count(images: Sequence[ImageFacts], name: str) -> GroupCounts:
    labels = np.array([image.label for image in images], np.int64)
    return count_groups(labels, _codes(images, name))


def _find_mixed_shapes(images: Sequence[ImageFacts]) -> list[str]:
    shapes = Counter(image.shape for image in images)
    if len(shapes) < 2:
        return []
    listed = ", ".join(f"{n} of {shape} {dtype}" for (shape, dtype), n in shapes.most_common())
    return [f"images of several shapes ({listed}); all images of a dataset have one"]


def _shorten(texts: Sequence[str]) -> list[str]:
    more = [f"... and {len(texts) - _SHOWN} more"] if len(texts) > _SHOWN else []
    return [*texts[:_SHOWN], *more]


def _summarize(images: Sequence[ImageFacts]) -> dict[str, Any]:
    return {
        "n": len(images),
        "positives": sum(image.label for image in images),
        "masks": sum(image.mask is not None for image in images),
        "positive_masks": sum(image.mask is not None and image.label == 1 for image in images),
        "empty_masks": sum(image.mask is False for image in images),
        "boxes": sum(image.boxes is not None for image in images),
    }


def _count_classes(
    images: Sequence[ImageFacts], classes: Sequence[ImageClass]
) -> dict[str, dict[str, int]]:
    """Count images by class and split."""
    held = Counter((image.class_number, image.split) for image in images)
    return {
        each.name: {split: held[number, split] for split in SPLITS}
        for number, each in enumerate(classes)
    }


def _describe(
    name: str, surveyed: Survey, robust: Sequence[RobustCell], classes: Sequence[ImageClass]
) -> list[str]:
    images = surveyed.images
    lines = [f"dry run of {name}: {count_of(len(images), 'image')} read; nothing was written"]
    for split in SPLITS:
        held = _summarize([image for image in images if image.split == split])
        lines.append(
            f"  {split}: {count_of(held['n'], 'image')}, {held['positives']} positive; masks on "
            f"{held['masks']} ({held['positive_masks']} positive, {held['empty_masks']} drawn and "
            f"empty), boxes of their own on {held['boxes']}"
        )
    for of, (class_name, counted) in zip(
        classes, _count_classes(images, classes).items(), strict=True
    ):
        each = ", ".join(f"{n} {split}" for split, n in counted.items())
        lines.append(f"  class {class_name} (label {int(of.positive)}): {each}")
    for attribute in sorted(images[0].attributes) if images else []:
        lines.append(f"  {attribute}: images of label and value (0 0, 0 1, 1 0, 1 1; unknown)")
        for split in SPLITS:
            counts = _count([image for image in images if image.split == split], attribute)
            known = ", ".join(str(count) for count in counts.annotated)
            lines.append(f"    {split}: {known}; {counts.y0_unknown + counts.y1_unknown}")
    if robust:
        lines.append(
            f"robust AUROCs, with the half-width of a 95 % interval expected at {ASSUMED_AUROC}:"
        )
        lines += [f"  {_describe_cell(cell)}" for cell in robust]
    return lines


def _describe_cell(cell: RobustCell) -> str:
    text = f"{cell.attribute}, {cell.split}: {cell.positives} positive, {cell.negatives} negative"
    if cell.half_width is None:
        return f"{text}: undefined"
    few = ", too few to tell methods apart" if cell.half_width > ASSUMED_AUROC - 0.5 else ""
    return f"{text}: +-{cell.half_width:.2f}{few}"


def _document(
    name: str,
    surveyed: Survey,
    robust: Sequence[RobustCell],
    problems: Sequence[str],
    classes: Sequence[ImageClass],
) -> dict[str, Any]:
    counted = _count_classes(surveyed.images, classes)
    return {
        "name": name,
        "dry_run": True,
        "splits": {
            split: _summarize([image for image in surveyed.images if image.split == split])
            | ({"classes": {name: n[split] for name, n in counted.items()}} if counted else {})
            for split in SPLITS
        },
        "robust": [
            {
                "attribute": cell.attribute,
                "split": cell.split,
                "positives": cell.positives,
                "negatives": cell.negatives,
                "half_width": cell.half_width,
            }
            for cell in robust
        ],
        "problems": list(problems),
    }
