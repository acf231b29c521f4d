"""Reads COCO JSON, which nearly every annotation tool exports, and finds its images.

An image that the file lists was looked at: without an annotation (of the chosen categories),
nothing is there. Nobody drew on an image that it does not list.

Source: COCO, "Data format", cocodataset.org.
"""

from __future__ import annotations

import difflib
import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from spurious.errors import DataError
from spurious.readers.issues import ReaderIssues
from spurious.readers.joins import name_some
from spurious.readers.marks.coco import CocoImage
from spurious.readers.marks.coco_shapes import check_shape
from spurious.readers.marks.json_files import read_json_object

_log = logging.getLogger(__name__)


def read_coco(
    path: Path, issues: ReaderIssues, categories: Collection[str] = ()
) -> dict[str, CocoImage]:
    """Return the images of a COCO file by `file_name`, each with its annotations.

    Args:
        path: The JSON file.
        issues: Receives every image and annotation that cannot be taken.
        categories: Names of the categories whose annotations count; all where none is named.

    Raises:
        DataError: The file is not JSON of this form, has no annotation, or lacks a category.
    """
    held = read_json_object(path)
    images, annotations = _read_list(path, held, "images"), _read_list(path, held, "annotations")
    chosen = _choose_categories(path, held, categories)
    shapes: dict[Any, list[Mapping[str, Any]]] = {}
    known = _check_images(path, images, issues)
    seen: set[Any] = set()
    for annotation in annotations:
        try:
            _check_annotation(annotation, known, seen)
            if chosen is not None and str(annotation.get("category_id")) not in chosen:
                continue
            check_shape(annotation)
        except DataError as error:
            name = annotation.get("id", "without an id")
            issues.add(f"{path.name}: annotation {str(name)[:40]}: {error}")
            continue
        kept = {key: annotation.get(key) for key in ("id", "segmentation", "bbox")}
        shapes.setdefault(annotation["image_id"], []).append(kept)
    if not shapes and not issues.count:
        raise DataError(
            f"{path.name}: no annotation{' of these categories' * bool(categories)}; expected one "
            "or more, since a file without any does not show whether masks or boxes were drawn"
        )
    masks = any(shape["segmentation"] for held in shapes.values() for shape in held)
    return {
        name: CocoImage(name, size, tuple(shapes.get(key, ())), masks)
        for key, (name, size) in known.items()
    }


def match_images(
    images: Mapping[str, CocoImage], paths: Collection[str], table: str, issues: ReaderIssues
) -> dict[str, CocoImage]:
    """Find the COCO entries of files: by relative path, then by a file name that is unique.

    Args:
        images: Result of `read_coco`.
        paths: Relative paths of the image files, with slashes.
        table: Name of the COCO file.
        issues: Receives names that several files or entries share, and a file that fits nothing.

    Returns:
        Entry by path; a path without an entry is an image on which nobody drew.
    """
    matches = {path: images[path] for path in paths if path in images}
    taken = {image.name for image in matches.values()}
    left_paths, left_images = _group(set(paths) - matches.keys()), _group(images.keys() - taken)
    for name in sorted(left_paths.keys() & left_images.keys()):
        files, entries = left_paths[name], left_images[name]
        if len(files) > 1 or len(entries) > 1:
            issues.add(
                f"{table}: '{name[:80]}' is the name of {len(files)} images ({name_some(files)}) "
                f"and of {len(entries)} entries ({name_some(entries)}); write the path from the "
                "images' folder as file_name"
            )
        else:
            matches[files[0]] = images[entries[0]]
    lost = images.keys() - {image.name for image in matches.values()}
    if images and paths and not matches:
        issues.add(
            f"{table}: no file_name matches an image (one is '{min(images)[:80]}', an image is "
            f"'{min(paths)[:80]}'); write the path from the images' folder as file_name"
        )
    elif lost:
        _log.warning("%s: %d entries have no image (%s)", table, len(lost), name_some(lost))
    return matches


def _read_list(path: Path, held: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    values = held.get(key)
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise DataError(
            f"{path.name}: '{key}' is not a list of objects; expected COCO JSON with images, "
            "annotations and categories: export it as COCO"
        )
    return values


def _choose_categories(
    path: Path, held: Mapping[str, Any], names: Collection[str]
) -> set[str] | None:
    """Return the ids of the named categories, or None where all count."""
    if not names:
        return None
    there = _read_list(path, held, "categories")
    known = [str(category.get("name")) for category in there]
    matches = {name: _match_category(name, known) for name in sorted(names)}
    if lost := [name for name, alike in matches.items() if len(alike) != 1]:
        hints = "; ".join(_describe_lost(name, matches[name], known) for name in lost)
        raise DataError(f"{path.name}: {hints}; it has {name_some(known) or 'none'}")
    chosen = {alike[0] for alike in matches.values()}
    return {str(category.get("id")) for category in there if str(category.get("name")) in chosen}


def _match_category(name: str, known: Collection[str]) -> list[str]:
    """Return the categories of a name: as written, else in any case."""
    if name in known:
        return [name]
    return sorted({other for other in known if other.casefold() == name.casefold()})


def _describe_lost(name: str, alike: Sequence[str], known: Sequence[str]) -> str:
    if alike:
        return f"category '{name[:80]}' may be {' or '.join(alike)}: write it as there"
    folded = {other.casefold(): other for other in known}
    near = difflib.get_close_matches(name.casefold(), folded, n=1)
    return f"no category '{name[:80]}'" + (f", did you mean {folded[near[0]]}?" if near else "")


def _check_images(
    path: Path, images: list[dict[str, Any]], issues: ReaderIssues
) -> dict[Any, tuple[str, tuple[int, int] | None]]:
    """Return name and size by id; reports ids and names that repeat or are missing."""
    known: dict[Any, tuple[str, tuple[int, int] | None]] = {}
    names: Counter[str] = Counter()
    for image in images:
        key, name = image.get("id"), image.get("file_name")
        if not isinstance(key, int | str) or not isinstance(name, str) or not name:
            issues.add(f"{path.name}: image {str(image)[:80]} has no id or no file_name")
            continue
        name = str(PurePosixPath(name.replace("\\", "/")))
        names[name] += 1
        if key in known or names[name] > 1:
            what = f"id {str(key)[:40]}" if key in known else f"file_name '{name[:80]}'"
            issues.add(f"{path.name}: two images have the {what}; remove one")
            continue
        size = (image.get("height"), image.get("width"))
        whole = all(type(side) is int and side > 0 for side in size)
        if not whole and size != (None, None):
            issues.add(
                f"{path.name}: image {name[:80]} has height {size[0]} and width {size[1]}; "
                "expected whole numbers above 0, or neither"
            )
        known[key] = (name, size if whole else None)  # type: ignore[assignment]
    unsized = sum(size is None for _, size in known.values())
    if unsized:
        _log.warning(
            "%s: %d images have no width and height, so that copies of another size would not be "
            "noticed",
            path.name,
            unsized,
        )
    return known


def _check_annotation(
    annotation: Mapping[str, Any], known: Collection[Any], seen: set[Any]
) -> None:
    key, image = annotation.get("id"), annotation.get("image_id")
    if not isinstance(key, int | str) or key in seen:
        raise DataError("its id is missing, or another annotation has it; remove one")
    seen.add(key)
    if not isinstance(image, int | str) or image not in known:
        raise DataError(f"its image_id {str(image)[:40]} is not the id of an image")


def _group(paths: Collection[str]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for path in sorted(paths):
        grouped.setdefault(PurePosixPath(path).name, []).append(path)
    return grouped
