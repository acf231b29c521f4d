"""Masks by image and pathology: two JSON files of the form that CheXlocalize has.

`gt_segmentations_*.json` holds a run-length mask of COCO for every image and pathology, all zero
where the pathology is not there. `gt_annotations_*.json` holds the polygons that were drawn, of
the pathologies that are there, and the size of the image. The first was made from the second.

Source: github.com/rajpurkarlab/cheXlocalize, `annotation_to_segmentation.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from spurious.errors import DataError
from spurious.readers.issues import ReaderIssues
from spurious.readers.joins import name_some
from spurious.readers.marks.boxes import FARTHEST
from spurious.readers.marks.coco_rle import decode_coco_rle
from spurious.readers.marks.json_files import read_json_object

_SIZE = "img_size"


@dataclass(frozen=True)
class PathologyImage:
    """What is drawn on one image, by pathology.

    Attributes:
        name: Key of the file, such as `patient64541_study1_view1_frontal`.
        size: Height and width, of polygons alone; a run-length mask has its own.
        shapes: A run-length mask, or a list of polygons, by pathology.
        file: Name of the file, for messages.
    """

    name: str
    size: tuple[int, int] | None
    shapes: Mapping[str, Any]
    file: str


def read_pathology_masks(path: Path, issues: ReaderIssues) -> dict[str, PathologyImage]:
    """Read `{image: {pathology: {"size": [h, w], "counts": ...}}}` by image.

    Raises:
        DataError: The file is not such JSON; a bad image goes to `issues`.
    """
    images = {}
    for name, held in _read_images(path, issues):
        wrong = [
            pathology
            for pathology, code in held.items()
            if not isinstance(code, dict) or not {"size", "counts"} <= code.keys()
        ]
        if wrong:
            issues.add(
                f"{path.name}: {name[:80]}: {name_some(wrong)} has no 'size' and 'counts'; "
                "expected run-length masks of COCO: take gt_segmentations, not gt_annotations"
            )
        images[name] = PathologyImage(name, None, held, path.name)
    return images


def read_pathology_polygons(path: Path, issues: ReaderIssues) -> dict[str, PathologyImage]:
    """Read `{image: {"img_size": [h, w], pathology: [[[x, y], ...], ...]}}` by image.

    Raises:
        DataError: The file is not such JSON; a bad image goes to `issues`.
    """
    images = {}
    for name, held in _read_images(path, issues):
        size, shapes = held.get(_SIZE), {key: held[key] for key in held.keys() - {_SIZE}}
        if not (isinstance(size, list) and len(size) == 2 and all(map(_is_side, size))):
            issues.add(
                f"{path.name}: {name[:80]}: {_SIZE} is {str(size)[:40]}; expected height and "
                "width: take gt_annotations, not gt_segmentations"
            )
            continue
        try:
            for pathology, polygons in shapes.items():
                _read_points(pathology, polygons)
        except DataError as error:
            issues.add(f"{path.name}: {name[:80]}: {error}")
        images[name] = PathologyImage(name, (size[0], size[1]), shapes, path.name)
    return images


def draw_pathology(
    image: PathologyImage, pathology: str, height: int, width: int
) -> NDArray[np.bool_]:
    """Draw one pathology of an image, (height, width) bool; polygons as the release draws them.

    Of polygons, a pathology that the image does not list is not there.

    Raises:
        DataError: Another size than the image's, a damaged mask, or one that is not listed.
    """
    where = f"{image.file}: {pathology} of {image.name}"
    if image.size is None:
        if pathology not in image.shapes:
            raise DataError(f"{where}: not in the file, which has {name_some(image.shapes)}")
        try:
            return decode_coco_rle(image.shapes[pathology], height, width)
        except DataError as error:
            raise DataError(f"{where}: {error}") from error
    if image.size != (height, width):
        raise DataError(
            f"{where}: {_SIZE} is {image.size[0]} x {image.size[1]}, and the image has {height} x "
            f"{width} pixels; use the films of the size that was annotated"
        )
    canvas = Image.new("1", (width, height))
    for points in _read_points(pathology, image.shapes.get(pathology, [])):
        low, high = np.min(points, axis=0), np.max(points, axis=0)
        if (high < 0).any() or (low > (width, height)).any():
            raise DataError(f"{where}: a polygon lies outside the image of {height} x {width}")
        ImageDraw.Draw(canvas).polygon(points, outline=1, fill=1)
    return np.array(canvas, dtype=bool)


def _is_side(value: Any) -> bool:
    return type(value) is int and value > 0


def _read_images(path: Path, issues: ReaderIssues) -> list[tuple[str, dict[str, Any]]]:
    held = read_json_object(path)
    for name, value in held.items():
        if not isinstance(value, dict):
            issues.add(f"{path.name}: {name[:80]} is not an object of pathologies")
    if not held:
        raise DataError(f"{path.name}: no image in it; restore the file from the release")
    return [(name, value) for name, value in held.items() if isinstance(value, dict)]


def _read_points(pathology: str, polygons: Any) -> list[list[tuple[float, float]]]:
    """Return the vertices of `[[[x, y], ...], ...]`, polygons of two or more."""
    try:
        read = [[(float(x), float(y)) for x, y in polygon] for polygon in polygons]
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"{pathology}: expected polygons '[[[x, y], [x, y], ...], ...]' ({error})"
        ) from error
    for points in read:
        if len(points) < 2:
            raise DataError(
                f"{pathology}: a polygon has {len(points)} vertices; expected 2 or more"
            )
        if not all(abs(value) <= FARTHEST for point in points for value in point):
            raise DataError(f"{pathology}: a vertex is not finite, or far from any image")
    return read
