"""Masks of findings and devices of CheXlocalize, at the size of the films that are there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spurious.errors import DataError
from spurious.readers.issues import ReaderIssues
from spurious.readers.marks.pathology_masks import (
    PathologyImage,
    draw_pathology,
    read_pathology_masks,
)
from spurious.readers.resize import shrink_mask

FILES = {"val": "gt_segmentations_val.json", "test": "gt_segmentations_test.json"}


def read_masks(
    folder: Path, issues: ReaderIssues
) -> tuple[dict[str, PathologyImage], dict[str, Path]]:
    """Return the masks of both files by film, and the files that are there."""
    masks: dict[str, PathologyImage] = {}
    files = {split: folder / name for split, name in FILES.items() if (folder / name).is_file()}
    for path in files.values():
        try:
            masks |= read_pathology_masks(path, issues)
        except DataError as error:
            issues.add(str(error))
    if not files and not issues.count:
        issues.add(
            f"{folder}: no {' or '.join(FILES.values())}; name the folder of CheXlocalize with "
            "'masks'"
        )
    return masks, files


def draw_finding(
    masks: Mapping[str, PathologyImage], film: str, finding: str, shape: tuple[int, int]
) -> NDArray[np.bool_] | None:
    """Return a finding's mask at the size of its film, (H, W) bool; None where none is stored.

    Masks have the size of CheXpert's large films. Of the small ones (CheXpert-v1.0-small), which
    have the same aspect, they are max-pooled.

    Raises:
        DataError: A damaged mask, or one of a film of another aspect.
    """
    image = masks.get(film)
    if image is None or finding not in image.shapes:
        return None
    size = image.shapes[finding].get("size")
    if not (isinstance(size, list) and len(size) == 2 and all(type(n) is int for n in size)):
        raise DataError(
            f"{image.file}: {finding} of {film}: size is {str(size)[:40]}; restore the file"
        )
    height, width = size
    mask = draw_pathology(image, finding, height, width)
    if (height, width) == shape:
        return mask
    differs = abs(height * shape[1] - width * shape[0]) > max(height, width)
    if differs or height < shape[0]:
        raise DataError(
            f"{image.file}: {finding} of {film}: mask of {height} x {width} pixels, and the film "
            f"has {shape[0]} x {shape[1]}; use the films of CheXpert-v1.0 or CheXpert-v1.0-small"
        )
    return shrink_mask(mask, *shape)
