"""Finds the films of CheXpert and reads its tables of labels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from spurious.data.records import Covariate
from spurious.readers.files import find_files
from spurious.readers.issues import ReaderIssues
from spurious.readers.tables import read_rows

FOLDERS = {"train": ("train",), "val": ("valid", "val"), "test": ("test",)}
TABLES = {
    "train": ("train.csv",),
    "val": ("valid.csv", "val_labels.csv", "val.csv"),
    "test": ("test_labels.csv", "test.csv"),
}
"""By split: what CheXpert and CheXlocalize call the folders and tables, in this order."""

_PATH = re.compile(
    r"(?:.*/)?(patient[0-9]+)/(study[0-9]+)/(view[0-9]+_(?:frontal|lateral))\.jpg",
    re.ASCII | re.IGNORECASE,
)
_VALUES = {"": 0, "0": 0, "0.0": 0, "1": 1, "1.0": 1, "-1": -1, "-1.0": -1}
UNCERTAIN = -1


@dataclass(frozen=True)
class Row:
    """What a table says of one film; values are 1, 0 (also where not mentioned) or `UNCERTAIN`."""

    split: str
    values: Mapping[str, int]
    covariates: Mapping[str, Covariate]


def name_film(path: str) -> str | None:
    """Return the name of a film in masks and tables; None for the path of none.

    `CheXpert-v1.0/valid/patient64541/study1/view1_frontal.jpg` is
    `patient64541_study1_view1_frontal`, whatever is before the patient.
    """
    match = _PATH.fullmatch(path)
    return None if match is None else "_".join(match.groups())


def find_films(folder: Path, split: str, issues: ReaderIssues) -> dict[str, Path]:
    """Return the films of one split by name, of the first of its folders that is there."""
    films: dict[str, Path] = {}
    inside = next((name for name in FOLDERS[split] if (folder / name).is_dir()), "")
    if not inside:
        return films
    for path in find_files(folder, inside, 2, (".jpg",), issues):
        name = name_film(path.relative_to(folder).as_posix())
        if name is not None:
            films[name] = path
    return films


def read_labels(
    path: Path, split: str, findings: tuple[str, ...], issues: ReaderIssues
) -> dict[str, Row]:
    """Return every film of a table; those of the test table have no sex, age or view.

    Args:
        path: The table.
        split: Which it is of.
        findings: Columns that are read.
        issues: Receives bad lines.

    Raises:
        DataError: The file cannot be read as such a table at all.
    """
    rows: dict[str, Row] = {}
    for line, cells in read_rows(path, ("Path", *findings), issues):
        name, where = name_film(cells["Path"]), f"{path.name} line {line}"
        wrong = [finding for finding in findings if cells[finding] not in _VALUES]
        if name is None:
            issues.add(
                f"{where}: Path is '{cells['Path'][:80]}'; expected one like "
                "patient00001/study1/view1_frontal.jpg"
            )
        elif wrong:
            shown = cells[wrong[0]][:40]
            issues.add(f"{where}: {wrong[0]} is '{shown}' instead of 1, 0, -1 or nothing")
        elif name in rows:
            issues.add(f"{where}: second row of {name}; remove one")
        else:
            values = {finding: _VALUES[cells[finding]] for finding in findings}
            rows[name] = Row(split, values, _describe(cells, name))
    return rows


def _describe(cells: Mapping[str, str], name: str) -> dict[str, Covariate]:
    """Return sex, age and view; an age of 0 and a sex `Unknown` are not known."""
    age, sex = cells.get("Age", ""), cells.get("Sex", "")
    known = age.replace(".", "", 1).isdigit() and 0 < float(age) <= 120
    lateral = name.endswith("lateral")
    return {
        "sex": {"Female": "F", "Male": "M"}.get(sex),
        "age": float(age) if known else None,
        "view": "lateral" if lateral else cells.get("AP/PA") or None,
    }
