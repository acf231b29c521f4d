"""Finds the films of NIH ChestX-ray14 and reads its table of findings and its boxes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spurious.data.records import Covariate
from spurious.errors import DataError
from spurious.readers.dicom_tags import parse_age
from spurious.readers.issues import ReaderIssues
from spurious.readers.marks.boxes import read_box
from spurious.readers.pick_files import find_named
from spurious.readers.tables import read_rows

TABLES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
BOXES = "BBox_List_2017.csv"
_PLACES = [("images", 0), *((f"images_{part:03d}/images", 0) for part in range(1, 13))]
_COLUMNS = ("Image Index", "Finding Labels", "Patient ID", "Patient Age", "View Position")
_BOX = ("Bbox [x", "y", "w", "h]")
_SEX = ("Patient Gender", "Patient Sex")
_RENAMED = {"Infiltrate": "Infiltration"}
"""Findings that the table of boxes calls otherwise."""


@dataclass(frozen=True)
class NihRow:
    """What the table says of one film: findings, patient, view and covariates."""

    findings: tuple[str, ...]
    patient: str
    view: str
    covariates: Mapping[str, Covariate]


def find_films(folder: Path, issues: ReaderIssues) -> dict[str, Path]:
    """Return the films of `images/` or of `images_001/images/` to `images_012/images/` by name."""
    films = find_named(folder, _PLACES, (".png",), issues, example="images/00000001_000.png")
    return {path.name: path for path in films.values()}


def read_findings(path: Path, issues: ReaderIssues) -> dict[str, NihRow]:
    """Return every film of the table by file name.

    The table of 2017 writes ages as `058Y` and ends its rows with a comma; that of 2020 says
    Patient Sex for Patient Gender in some copies. Ages above 120 are errors of the release.

    Raises:
        DataError: The file cannot be read as such a table at all; bad lines go to `issues`.
    """
    rows: dict[str, NihRow] = {}
    before = issues.count
    for line, cells in read_rows(path, _COLUMNS, issues):
        film, patient = cells["Image Index"], cells["Patient ID"]
        findings = tuple(name.strip() for name in cells["Finding Labels"].split("|"))
        if not film or not patient or not all(findings):
            issues.add(
                f"{path.name} line {line}: no Image Index, Patient ID or Finding Labels; restore "
                "the line from the release"
            )
        elif film in rows:
            issues.add(f"{path.name} line {line}: second row of {film}; remove one")
        else:
            sex = next((cells[name] for name in _SEX if cells.get(name)), None)
            covariates: dict[str, Covariate] = {"sex": sex, "age": parse_age(cells["Patient Age"])}
            covariates["view"] = cells["View Position"] or None
            rows[film] = NihRow(findings, patient, cells["View Position"], covariates)
    if not rows and issues.count == before:
        issues.add(f"{path.name}: no rows under its header; restore the file from the release")
    return rows


def read_boxes(
    path: Path, issues: ReaderIssues
) -> dict[str, list[tuple[str, NDArray[np.float64]]]]:
    """Return finding and box of every row by film; only films with a finding were boxed.

    Raises:
        DataError: The file cannot be read as such a table at all; bad lines go to `issues`.
    """
    boxes: dict[str, list[tuple[str, NDArray[np.float64]]]] = {}
    for line, cells in read_rows(path, ("Image Index", "Finding Label", *_BOX), issues):
        finding = cells["Finding Label"]
        try:
            box = read_box(
                [cells[name] for name in ("Bbox [x", "y", "w", "h]")], "x y width height"
            )
        except (DataError, KeyError) as error:
            issues.add(f"{path.name} line {line}: {error}; restore the line from the release")
            continue
        if box is not None:
            name = _RENAMED.get(finding, finding)
            boxes.setdefault(cells["Image Index"], []).append((name, box))
    return boxes
