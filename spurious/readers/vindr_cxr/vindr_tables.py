"""Reads the boxes of VinDr-CXR by film, finding and radiologist, and fuses them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spurious.errors import DataError
from spurious.readers.issues import ReaderIssues
from spurious.readers.marks.box_fusion import fuse_boxes
from spurious.readers.marks.boxes import read_box
from spurious.readers.tables import read_rows

NO_FINDING = "No finding"
_BOX = ("x_min", "y_min", "x_max", "y_max")


@dataclass
class Reading:
    """What all radiologists drew on one film.

    Attributes:
        line: First line of the film.
        readers: Those who looked at it; one without a finding has a row that says so.
        clear: Those of them who found nothing.
        boxes: Finding to (radiologist, box) pairs.
    """

    line: int
    readers: set[str] = field(default_factory=set)
    clear: set[str] = field(default_factory=set)
    boxes: dict[str, list[tuple[str, NDArray[np.float64]]]] = field(default_factory=dict)

    def readers_of(self, findings: Sequence[str]) -> set[str]:
        """Return who drew any of some findings."""
        return {reader for name in findings for reader, _ in self.boxes.get(name, ())}

    def fuse(self, finding: str, min_readers: int, overlap: float) -> NDArray[np.float64]:
        """Return the (k, 4) boxes of a finding on which enough radiologists agree."""
        drawn = self.boxes.get(finding, [])
        if not drawn:
            return np.zeros((0, 4))
        return fuse_boxes(
            np.stack([box for _, box in drawn]),
            [reader for reader, _ in drawn],
            min_readers=min_readers,
            min_overlap=overlap,
        )


def read_readings(path: Path, issues: ReaderIssues) -> dict[str, Reading]:
    """Return every film of the table.

    Raises:
        DataError: The file cannot be read as such a table at all; bad lines go to `issues`.
    """
    films: dict[str, Reading] = {}
    before = issues.count
    for line, cells in read_rows(path, ("image_id", "class_name", "rad_id", *_BOX), issues):
        try:
            _add_row(films, line, cells)
        except DataError as error:
            issues.add(f"{path.name} line {line}: {error}; restore the line from the release")
    for film, reading in films.items():
        if both := reading.clear & reading.readers_of(list(reading.boxes)):
            issues.add(
                f"{path.name} line {reading.line}: {min(both)} has '{NO_FINDING}' and boxes on "
                f"film {film}; remove one"
            )
    if not films and issues.count == before:
        issues.add(f"{path.name}: no rows under its header; restore the file from the release")
    return films


def _add_row(films: dict[str, Reading], line: int, cells: Mapping[str, str]) -> None:
    film, finding, reader = (cells[name] for name in ("image_id", "class_name", "rad_id"))
    if not (film and finding and reader):
        raise DataError("no image_id, class_name or rad_id")
    box = read_box([cells[name] for name in _BOX], "x0 y0 x1 y1")
    if (box is None) != (finding == NO_FINDING):
        raise DataError(f"'{finding[:80]}' with {'no box' if box is None else 'a box'}")
    reading = films.setdefault(film, Reading(line))
    reading.readers.add(reader)
    if box is None:
        reading.clear.add(reader)
    else:
        reading.boxes.setdefault(finding, []).append((reader, box))
