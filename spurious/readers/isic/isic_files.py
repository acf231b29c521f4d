"""Finds the files of ISIC 2018 task 1 and reads the trap-split tables of Bissoto et al. 2020."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from spurious.data.splits import SPLITS
from spurious.errors import DataError
from spurious.readers.files import find_files
from spurious.readers.issues import ReaderIssues
from spurious.readers.joins import check_rests
from spurious.readers.tables import read_rows

IMAGE_FOLDER = "ISIC2018_Task1-2_Training_Input"
MASK_FOLDER = "ISIC2018_Task1_Training_GroundTruth"
MASK_SUFFIX = "_segmentation"
ATTRIBUTES = ("dark_corner", "gel_border", "gel_bubble", "hair", "ink", "patches", "ruler")
"""Artefacts in the order of their names; the tables' column `vasc` is none and is not read."""
LABELS = {"benign": 0, "malignant": 1}
_COLUMNS = ("image", *ATTRIBUTES, "label", "label_string")
_NAME = re.compile(r"(ISIC_[0-9]{7})(?:\.(?:png|jpe?g))?", re.ASCII | re.IGNORECASE)
_READ_ORDER = ("test", "val", "train")
"""An image of `val` is in `train`, too; it stays where it was met first."""


@dataclass(frozen=True)
class Row:
    """What the tables say of one image.

    Attributes:
        split: `train`, `val` or `test`.
        label: 1 malignant, 0 benign.
        artefacts: Every name of `ATTRIBUTES` to whether it is visible.
        where: Table and line, for messages.
    """

    split: str
    label: int
    artefacts: Mapping[str, bool]
    where: str = field(compare=False)


def table_name(split: str, trap: int) -> str:
    """File name of one table of a trap split."""
    return f"isic_annotated_{split}{trap}.csv"


def find_pictures(
    folder: Path, inside: str, suffixes: Sequence[str], ending: str, problems: ReaderIssues
) -> dict[str, Path]:
    """Return the files of one of the release's folders by image id.

    Args:
        folder: The release.
        inside: Its folder.
        suffixes: What the files' names end with, the released one first; in any case.
        ending: What their stems have behind the id; other files are not images of the task.
        problems: Receives files that cannot be taken, and a folder without a picture.
    """
    pictures: dict[str, Path] = {}
    before = problems.count
    for path in find_files(folder, inside, 0, suffixes, problems):
        image = path.stem.upper().removesuffix(ending.upper())
        if not _NAME.fullmatch(image):  # `_superpixels.png`
            continue
        if image in pictures:
            problems.add(
                f"{path.relative_to(folder)}: second file of that image; the first is "
                f"{pictures[image].relative_to(folder)}: remove one"
            )
        else:
            pictures[image] = path
    if not pictures and problems.count == before:
        problems.add(
            f"{folder}: no {inside}/ISIC_0000000{ending}{suffixes[0]} or the like; point "
            f"to the folder that holds {inside} as released"
        )
    return pictures


def read_traps(folder: Path, trap: int, problems: ReaderIssues) -> dict[str, Row]:
    """Return the row of every image in the three tables of one trap split.

    As released, `val` lies inside `train`; its images are taken out of `train` here. `test` shares
    none with either. Bad lines and contradictions go to `problems`.

    Args:
        folder: Where the tables are.
        trap: Which split, from 1 to 5.
        problems: Receives everything that is wrong with the tables.
    """
    rows: dict[str, Row] = {}
    for split in _READ_ORDER:
        path = folder / table_name(split, trap)
        try:
            table = _read_table(path, split, problems)
        except DataError as error:
            problems.add(f"{error} (the tables are looked for in {folder}; see option 'traps')")
            continue
        for image, row in table.items():
            known = rows.setdefault(image, row)
            if known is row:
                continue
            if known.split == "test":
                problems.add(f"{row.where}: {image} is in test, too ({known.where}); remove one")
            elif (known.label, known.artefacts) != (row.label, row.artefacts):
                problems.add(
                    f"{row.where}: {image} has other values than in {known.where}; restore the "
                    "tables from the release"
                )
    return rows


def _read_table(path: Path, split: str, problems: ReaderIssues) -> dict[str, Row]:
    """Return the rows of one table by image id.

    Raises:
        DataError: the file cannot be read as such a table at all.
    """
    rows: dict[str, Row] = {}
    before = problems.count
    for line, cells in read_rows(path, _COLUMNS, problems):
        where = f"{path.name} line {line}"
        match = _NAME.fullmatch(cells["image"])
        name = match[1].upper() if match else ""
        wrong = _wrong_cells(cells)
        if not name:
            problems.add(
                f"{where}: image is '{cells['image'][:80]}'; expected a name like ISIC_0000000.png"
            )
        elif wrong:
            problems.add(f"{where}: {wrong}; restore the line from the release")
        elif name in rows:
            problems.add(f"{where}: second row of {name} ({rows[name].where}); remove one")
        else:
            artefacts = {attribute: cells[attribute] == "1" for attribute in ATTRIBUTES}
            rows[name] = Row(split, int(cells["label"]), artefacts, where)
    if not rows and problems.count == before:
        problems.add(f"{path.name}: no rows under its header; restore the file from the release")
    return rows


def _wrong_cells(cells: Mapping[str, str]) -> str | None:
    """Return the first thing that is wrong with a row's values, or None."""
    for column in (*ATTRIBUTES, "label"):
        if cells[column] not in ("0", "1"):
            return f"{column} is '{cells[column][:80]}' instead of 0 or 1"
    if str(LABELS.get(cells["label_string"])) != cells["label"]:
        return f"label is {cells['label']}, but label_string '{cells['label_string'][:80]}'"
    return None


def check_join(
    images: Mapping[str, Path],
    masks: Mapping[str, Path],
    rows: Mapping[str, Row],
    trap: int,
    problems: ReaderIssues,
) -> None:
    """Report images without a mask, rests on both sides, and a split without an image."""
    labelled = sorted(images.keys() & rows.keys())
    tables = ", ".join(table_name(split, trap) for split in SPLITS)
    for image in labelled:
        if image not in masks:
            problems.add(
                f"{image}: no {MASK_FOLDER}/{image}{MASK_SUFFIX}.png; every image of task 1 has "
                "one: download the masks again"
            )
    if not labelled:
        problems.add(
            f"no row of {tables} matches an image (a row is of '{min(rows)}', an image is "
            f"'{min(images)}'); the tables are for the images of ISIC 2018 task 1"
        )
        return
    check_rests(images.keys(), rows.keys(), tables, problems)
    held = {rows[image].split for image in labelled}
    empty = [split for split in SPLITS if split not in held]
    if empty:
        problems.add(
            f"no image with a row in split {' and '.join(empty)}; images are missing under "
            f"{IMAGE_FOLDER}, or rows in {', '.join(table_name(split, trap) for split in empty)}: "
            "download the release again"
        )
