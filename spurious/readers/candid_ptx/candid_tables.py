"""Reads the tables of CANDID-PTX: reports with masks, and lists of films with a tube or fracture.

Run-length codes are those of SIIM-ACR: gaps from the end of the run before, column by column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spurious.errors import DataError
from spurious.readers.files import find_files
from spurious.readers.issues import ReaderIssues
from spurious.readers.marks.rle import NO_MASK, RleConvention, decode, read_pairs
from spurious.readers.marks.rle_checks import check_starts
from spurious.readers.siim_acr.tube_labels import is_uid
from spurious.readers.tables import read_rows

CONVENTION = RleConvention(starts="relative", base=0, order="columns")
REPORTS = "Pneumothorax_reports.csv"
TUBES = ("chest_tube.csv",)
FRACTURES = ("acute_rib_fracture.csv", "Rib_fracture_mask_rle.csv")
_PLACES = (("dataset", 0), ("dataset1/dataset", 0), ("images", 0), ("chest_radiographs", 0))
_REMEDY = "convert the codes"


@dataclass(frozen=True)
class Film:
    """What the reports say of one film: patient, and codes with their lines; none: no finding."""

    patient: str
    codes: tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class Reports:
    """Films of the reports, and those that cannot be used.

    Attributes:
        films: Film to patient and codes.
        without_mask: Films whose code is blank: nobody drew, and nobody says that there is none.
        of_two_patients: Films that are under two patients.
        contradicted: Films of which one row says that there is none, and another has a mask.
    """

    films: Mapping[str, Film]
    without_mask: Sequence[str]
    of_two_patients: Sequence[str]
    contradicted: Sequence[str]


def find_films(folder: Path, issues: ReaderIssues) -> dict[str, Path]:
    """Return the films by SOPInstanceUID, which is the name of a file without ending."""
    films: dict[str, Path] = {}
    for inside, depth in _PLACES:
        for path in find_files(folder, inside, depth, None, issues):
            name = path.name.removesuffix(".dcm")
            if not is_uid(name):
                continue
            if name in films:
                issues.add(
                    f"{path.relative_to(folder)}: second file of that film; the first is "
                    f"{films[name].relative_to(folder)}: remove one"
                )
            else:
                films[name] = path
    if not films and not issues.count:
        issues.add(
            f"{folder}: no dataset/<SOPInstanceUID>; point to the folder that holds the films as "
            "released"
        )
    return films


def read_reports(path: Path, issues: ReaderIssues) -> Reports:
    """Return the films of the reports. A film has a row per pneumothorax; exact copies count once.

    Raises:
        DataError: The file cannot be read as such a table at all; bad lines go to `issues`.
    """
    patients: dict[str, set[str]] = {}
    codes: dict[str, dict[str, int]] = {}
    for line, cells in read_rows(path, ("SOPInstanceUID", "filename", "EncodedPixels"), issues):
        film, patient = cells["SOPInstanceUID"], cells["filename"].split("_")[0]
        if not film or not patient:
            issues.add(f"{path.name} line {line}: no SOPInstanceUID or filename; restore the line")
        elif _is_code(path, line, cells["EncodedPixels"], issues):
            patients.setdefault(film, set()).add(patient)
            codes.setdefault(film, {}).setdefault(cells["EncodedPixels"], line)
    held = [(line, code) for of in codes.values() for code, line in of.items() if code]
    check_starts(sorted(held), CONVENTION, path.name, _REMEDY, issues)
    without = [film for film, of in codes.items() if "" in of]
    two = [film for film, of in patients.items() if len(of) > 1]
    contradicted = [film for film, of in codes.items() if NO_MASK in of and len(of) > 1]
    films = {
        film: Film(
            min(patients[film]),
            tuple((line, code) for code, line in codes[film].items() if code != NO_MASK),
        )
        for film in codes.keys() - {*without, *two, *contradicted}
    }
    return Reports(films, without, two, contradicted)


def read_list(path: Path, issues: ReaderIssues) -> dict[str, tuple[tuple[int, str], ...]]:
    """Return the codes of every film of a list of three columns; a film not listed has none.

    Raises:
        DataError: The file cannot be read as such a table at all; bad lines go to `issues`.
    """
    films: dict[str, dict[str, int]] = {}
    for line, cells in read_rows(path, ("anon_SOPUID",), issues):
        columns = list(cells)
        code = cells.get("mask_rle", cells[columns[2]] if len(columns) > 2 else "")
        if code not in ("", NO_MASK) and _is_code(path, line, code, issues):
            films.setdefault(cells["anon_SOPUID"], {}).setdefault(code, line)
    held = sorted((line, code) for of in films.values() for code, line in of.items())
    check_starts(held, CONVENTION, path.name, _REMEDY, issues)
    return {film: tuple((line, code) for code, line in of.items()) for film, of in films.items()}


def draw_codes(
    codes: Sequence[tuple[int, str]], shape: tuple[int, int], where: str
) -> NDArray[np.bool_]:
    """Return the union of codes, (H, W) bool.

    Raises:
        DataError: A code of an image of another size; names table and line.
    """
    union = np.zeros(shape, bool)
    for line, code in codes:
        try:
            union |= decode(code, *shape, CONVENTION)[0]
        except DataError as error:
            raise DataError(f"{where} line {line}: {error}") from error
    return union


def _is_code(path: Path, line: int, code: str, issues: ReaderIssues) -> bool:
    """Return whether a cell is blank or a code; anything else is reported."""
    try:
        if code:
            read_pairs(code, CONVENTION)
    except DataError as error:
        issues.add(f"{path.name} line {line}: {error}; restore the line from the release")
        return False
    return True
