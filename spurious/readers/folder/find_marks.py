"""Finds what is drawn on every image of a folder, without decoding it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from spurious.config.folder import NONE, FolderOptions, split_names
from spurious.errors import DataError
from spurious.readers.folder.layout import MASK_SUFFIXES, SPLIT_WORDS, is_below
from spurious.readers.folder.marks import Marks, read_boxes, read_codes, rle_convention
from spurious.readers.folder.mask_names import find_named_masks, match_mask_folder
from spurious.readers.folder.roles import Roles
from spurious.readers.folder.samples import Sample
from spurious.readers.folder.table import Row
from spurious.readers.issues import ReaderIssues
from spurious.readers.joins import name_some
from spurious.readers.marks.coco import CocoImage
from spurious.readers.marks.coco_files import match_images, read_coco
from spurious.readers.marks.rle_checks import check_starts

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FolderMarks:
    """Marks of a folder.

    Attributes:
        marks: By image id.
        drawn: Whether an image has an annotation, where a COCO file gives the labels; else None.
    """

    marks: Mapping[str, Marks]
    drawn: Mapping[str, bool] | None


def find_marks(
    folder: Path,
    files: Sequence[str],
    images: Sequence[str],
    samples: Mapping[str, Sample],
    rows: Sequence[Row],
    roles: Roles,
    options: FolderOptions,
    issues: ReaderIssues,
) -> FolderMarks:
    """Find masks and boxes of all images.

    Args:
        folder: The folder.
        files: All of its files.
        images: Its image files, also those that no table lists.
        samples: Images with their rows, by id.
        rows: Rows of all tables.
        roles: Which columns are what.
        options: The reader's options.
        issues: Receives whatever is wrong.

    Raises:
        DataError: A COCO file that cannot be read at all.
    """
    marks = {image: Marks() for image in samples}
    marks = _add_files(marks, folder, files, images, samples, rows, roles, options, issues)
    if roles.rle is not None:
        marks = _add_codes(marks, samples, roles.rle, options, issues)
    if roles.boxes:
        form = roles.box_form
        for image, sample in samples.items():
            places = [row.where for row in sample.rows]
            boxes = read_boxes(
                list(zip(places, sample.cells(roles.boxes), strict=True)), form, issues
            )
            marks[image] = replace(marks[image], boxes=boxes)
    drawn = None
    if options.coco is not None:
        entries = _read_coco_files(folder, samples, options, issues)
        marks = {image: replace(m, coco=entries.get(image)) for image, m in marks.items()}
        if options.label == "coco":
            drawn = _label_by_coco(samples, entries, options, issues)
    return FolderMarks(marks, drawn)


def _add_files(
    marks: Mapping[str, Marks],
    folder: Path,
    files: Sequence[str],
    images: Sequence[str],
    samples: Mapping[str, Sample],
    rows: Sequence[Row],
    roles: Roles,
    options: FolderOptions,
    issues: ReaderIssues,
) -> dict[str, Marks]:
    candidates = [name for name in files if name.lower().endswith(MASK_SUFFIXES)]
    below = [name for name in candidates if is_below(name, options.masks)]
    matches: dict[str, list[str]] = {}
    if roles.mask is not None:
        image_files = {sample.name for sample in samples.values()}
        named = find_named_masks(rows, roles.mask, candidates, options.masks, issues)
        for image, sample in samples.items():
            held = [named[row.where] for row in sample.rows if row.where in named]
            matches[image] = list(dict.fromkeys(held))
            if image_files & set(held):
                issues.add(f"{sample.where}: {roles.mask} names an image as a mask; correct it")
        unnamed = set(below) - set(named.values())
        if unnamed:
            _log.warning(
                "%d files of %s are not in column %s (%s); the column decides",
                len(unnamed),
                options.masks,
                roles.mask,
                name_some(unnamed),
            )
    elif (options.mask or "").lower() != NONE and below:
        held_by = match_mask_folder(samples, images, below, options.masks, issues)
        matches = {image: [mask] for image, mask in held_by.items()}
    return {
        image: replace(held, files=tuple(folder / name for name in matches.get(image, ())))
        for image, held in marks.items()
    }


def _add_codes(
    marks: Mapping[str, Marks],
    samples: Mapping[str, Sample],
    column: str,
    options: FolderOptions,
    issues: ReaderIssues,
) -> dict[str, Marks]:
    convention = rle_convention(options)
    if convention is None:  # refused with the options
        return dict(marks)
    before = issues.count
    lines: list[tuple[int, str]] = []
    held: dict[str, Marks] = {}
    for image, sample in samples.items():
        cells = [(row.where, row.cells.get(column, "").strip()) for row in sample.rows]
        held[image] = replace(marks[image], codes=tuple(read_codes(cells, convention, issues)))
        lines += [(int(where.rpartition(" ")[2]), code) for where, code in cells if code]
    if issues.count == before:
        other = "relative" if convention.starts == "absolute" else "absolute"
        remedy = f"declare the others: --set rle_starts={other}"
        check_starts(lines, convention, f"column {column}", remedy, issues)
    return held


def _read_coco_files(
    folder: Path, samples: Mapping[str, Sample], options: FolderOptions, issues: ReaderIssues
) -> Mapping[str, CocoImage]:
    """Return COCO entries by image id, of one file or of one in each split folder."""
    categories = split_names(options.category)
    entries: dict[str, CocoImage] = {}
    for path, base in _find_coco(folder, options.coco or ""):
        held = read_coco(path, issues, categories)
        inside = {
            sample.name.removeprefix(base): image
            for image, sample in samples.items()
            if sample.name.startswith(base)
        }
        matches = match_images(held, inside.keys(), path.name, issues)
        entries.update({inside[name]: entry for name, entry in matches.items()})
    return entries


def _find_coco(folder: Path, name: str) -> list[tuple[Path, str]]:
    """Return COCO files, each with the folder (with `/`) that its names are relative to."""
    direct = Path(name).expanduser()
    for path in (folder / name, direct.absolute()):
        if path.is_file():
            return [(path, "")]
    parts = sorted(folder.iterdir()) if folder.is_dir() else []
    below = [
        (part / name, f"{part.name}/")
        for part in parts
        if part.name.lower() in SPLIT_WORDS and (part / name).is_file()
    ]
    if not below:
        raise DataError(f"coco: {name} is neither in {folder} nor in its split folders")
    return below


def _label_by_coco(
    samples: Mapping[str, Sample],
    entries: Mapping[str, CocoImage],
    options: FolderOptions,
    issues: ReaderIssues,
) -> Mapping[str, bool]:
    missing = sorted(samples.keys() - entries.keys())
    if missing:
        issues.add(
            f"{len(missing)} images are not in {options.coco} ({name_some(missing)}), so they have "
            "no label; export them, too, or remove them"
        )
    return {image: image in entries and bool(entries[image].shapes) for image in samples}
