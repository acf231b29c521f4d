"""Finds the films of PadChest and reads its table of labels."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from spurious.data.records import Covariate
from spurious.readers.issues import ReaderIssues
from spurious.readers.pick_files import find_named
from spurious.readers.tables import read_rows

TABLE = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
_COLUMNS = (
    *("ImageID", "StudyDate_DICOM", "PatientID", "PatientBirth", "PatientSex_DICOM"),
    *("Projection", "MethodLabel", "Labels"),
)
_BLANK = ("", "nan", "None")


@dataclass(frozen=True)
class PadchestRow:
    """What the table says of one film; `labels` is None where nobody labelled it."""

    labels: frozenset[str] | None
    patient: str
    view: str
    covariates: Mapping[str, Covariate]


def find_films(folder: Path, issues: ReaderIssues) -> dict[str, Path]:
    """Return the films of `0/`, `1/`, ... or any other folders by name."""
    films = find_named(folder, [("", 1)], (".png",), issues, example="0/<ImageID>.png")
    return {path.name: path for path in films.values()}


def read_labels(path: Path, issues: ReaderIssues) -> dict[str, PadchestRow]:
    """Return every film of the table by ImageID.

    Labels are a list as Python writes it. They are compared whole: `normal` is within `abnormal
    foreign body`, and spaces around one are dropped.

    Raises:
        DataError: The file cannot be read as such a table at all; bad lines go to `issues`.
    """
    rows: dict[str, PadchestRow] = {}
    before = issues.count
    for line, cells in read_rows(path, _COLUMNS, issues):
        film, patient, where = cells["ImageID"], cells["PatientID"], f"{path.name} line {line}"
        try:
            labels = parse_labels(cells["Labels"])
        except ValueError:
            shown = cells["Labels"][:80]
            issues.add(f"{where}: Labels is '{shown}', not a list; restore the line")
            continue
        if not film or patient in _BLANK:
            issues.add(f"{where}: no ImageID or PatientID; restore the line from the release")
        elif film in rows:
            issues.add(f"{where}: second row of {film}; remove one")
        else:
            rows[film] = PadchestRow(labels, patient, cells["Projection"], _describe(cells))
    if not rows and issues.count == before:
        issues.add(f"{path.name}: no rows under its header; restore the file from the release")
    return rows


@lru_cache(100_000)  # two in three cells repeat another
def parse_labels(cell: str) -> frozenset[str] | None:
    """Return the labels of a cell such as `['normal', ' cardiomegaly']`; None for a blank one.

    Raises:
        ValueError: Not a list of texts.
    """
    if cell in _BLANK:
        return None
    try:
        held = ast.literal_eval(cell)
    except (SyntaxError, MemoryError, RecursionError) as error:
        raise ValueError(cell) from error
    if not isinstance(held, list) or not all(isinstance(label, str) for label in held):
        raise ValueError(cell)
    return frozenset(label.strip().lower() for label in held if label.strip())


def _describe(cells: Mapping[str, str]) -> dict[str, Covariate]:
    """Return sex, age at the study (in whole years of birth), view and who labelled."""
    year, born = cells["StudyDate_DICOM"][:4], cells["PatientBirth"].removesuffix(".0")
    age = int(year) - int(born) if year.isdigit() and born.isdigit() else None
    return {
        "sex": cells["PatientSex_DICOM"] if cells["PatientSex_DICOM"] not in _BLANK else None,
        "age": float(age) if age is not None and 0 <= age <= 120 else None,
        "view": cells["Projection"] or None,
        "labelled_by": cells["MethodLabel"] or None,
    }
