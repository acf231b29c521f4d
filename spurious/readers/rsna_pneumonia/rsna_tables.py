"""Reads the box table and the class table of the RSNA pneumonia challenge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spurious.errors import DataError
from spurious.readers.issues import ReaderIssues
from spurious.readers.marks.boxes import read_box
from spurious.readers.tables import read_rows

_BOX = ("x", "y", "width", "height")
_COLUMNS = ("patientId", *_BOX, "Target")


@dataclass(frozen=True, eq=False)
class Film:
    """What the box table says of one film: its line and boxes; none means no pneumonia."""

    line: int
    boxes: tuple[NDArray[np.float64], ...]


def read_boxes(path: Path, issues: ReaderIssues) -> dict[str, Film]:
    """Return every film of the table. A film has a row per box; an exact copy counts once.

    Raises:
        DataError: The file cannot be read as such a table at all; bad lines go to `issues`.
    """
    films: dict[str, Film] = {}
    before = issues.count
    for line, cells in read_rows(path, _COLUMNS, issues):
        film, where = cells["patientId"], f"{path.name} line {line}"
        try:
            box = _parse_box(cells)
        except DataError as error:
            issues.add(f"{where}: {error}; restore the line from the release")
            continue
        known = films.get(film)
        if not film:
            issues.add(f"{where}: no patientId; restore the line from the release")
        elif known is None:
            films[film] = Film(line, () if box is None else (box,))
        elif bool(known.boxes) != (box is not None):
            issues.add(
                f"{where}: film {film} has Target {cells['Target']} here and another in line "
                f"{known.line}; remove one"
            )
        elif box is not None and not any((box == other).all() for other in known.boxes):
            films[film] = Film(known.line, (*known.boxes, box))
    if not films and issues.count == before:
        issues.add(f"{path.name}: no rows under its header; restore the file from the release")
    return films


def read_classes(path: Path, issues: ReaderIssues) -> Mapping[str, str]:
    """Return the class of every film; the table repeats it in each row of a film."""
    return {
        cells["patientId"]: cells["class"]
        for _, cells in read_rows(path, ("patientId", "class"), issues)
    }


def _parse_box(cells: Mapping[str, str]) -> NDArray[np.float64] | None:
    """Return a row's box; None where it says that there is none."""
    if cells["Target"] not in ("0", "1"):
        raise DataError(f"Target is '{cells['Target'][:40]}' instead of 0 or 1")
    box = read_box([cells[name] for name in _BOX], "x y width height")
    if (box is not None) != (cells["Target"] == "1"):
        raise DataError(
            f"Target is {cells['Target']}, but there is {'no' * (box is None) or 'a'} box"
        )
    return box
