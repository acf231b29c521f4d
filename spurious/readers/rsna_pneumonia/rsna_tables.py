"""Reads the box table and the class table of the RSNA pneumonia challenge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from spurious.readers.boxes import Box
from spurious.readers.issues import ReaderIssues
from spurious.readers.tables import read_rows

_BOX = ("x", "y", "width", "height")
_COLUMNS = ("patientId", *_BOX, "Target")


@dataclass(frozen=True)
class Film:
    """What the box table says of one film: its line and boxes; none means no pneumonia."""

    line: int
    boxes: tuple[Box, ...]


def read_boxes(path: Path, issues: ReaderIssues) -> dict[str, Film]:
    """Return every film of the table. A film has a row per box; an exact copy counts once.

    Raises:
        DataError: The file cannot be read as such a table at all; bad lines go to `issues`.
    """
    films: dict[str, Film] = {}
    before = issues.count
    for line, cells in read_rows(path, _COLUMNS, issues):
        film, where = cells["patientId"], f"{path.name} line {line}"
        box = _parse_box(cells)
        known = films.get(film)
        if not film:
            issues.add(f"{where}: no patientId; restore the line from the release")
        elif isinstance(box, str):
            issues.add(f"{where}: {box}; restore the line from the release")
        elif known is None:
            films[film] = Film(line, () if box is None else (box,))
        elif bool(known.boxes) != (box is not None):
            issues.add(
                f"{where}: film {film} has Target {cells['Target']} here and another in line "
                f"{known.line}; remove one"
            )
        elif box is not None and box not in known.boxes:
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


def _parse_box(cells: Mapping[str, str]) -> Box | str | None:
    """Return a row's box, None where it says that there is none, or what is wrong."""
    numbers = [cells[name] for name in _BOX]
    if cells["Target"] not in ("0", "1"):
        return f"Target is '{cells['Target'][:40]}' instead of 0 or 1"
    if cells["Target"] == "0":
        return None if not any(numbers) else "Target is 0, but there is a box"
    try:
        x, y, width, height = (float(number) for number in numbers)
    except ValueError:
        return f"Target is 1, but its box is '{' '.join(numbers)[:80]}'"
    if not (0 <= x < 1e5 and 0 <= y < 1e5 and 0 < width < 1e5 and 0 < height < 1e5):
        return f"box of {width:g} x {height:g} pixels at ({x:g}, {y:g})"
    return x, y, x + width, y + height
