"""Writes phantom films in the format of CANDID-PTX, with masks of tubes."""

from __future__ import annotations

from pathlib import Path

from scipy import ndimage

from spurious.generators.releases.dicom_films import save_dicom
from spurious.generators.releases.films import (
    FilmOptions,
    Mask,
    Progress,
    draw_films,
    prepare_folder,
    write_lines,
)
from spurious.readers.candid_ptx.candid_tables import CONVENTION
from spurious.readers.marks.rle import NO_MASK, encode

_FRACTURES = 10
"""One film of so many has a fracture, which is listed but not drawn into the film."""


def write_candid_ptx(folder: Path, options: FilmOptions, progress: Progress | None = None) -> None:
    """Write `dataset/` with DICOM files without ending, and the three tables.

    As in the release, a film has a row per pneumothorax, some rows stand twice, reports have
    commas and quotes, and the lists of tubes and fractures name only films that have one. Two
    films are of one patient where their numbers are 2 k and 2 k + 1. Reports are written last.

    Raises:
        DataError: The folder holds something already.
    """
    prepare_folder(folder)
    reports = ["SOPInstanceUID,StudyInstanceUID,filename,Report,EncodedPixels"]
    tubes = ["anon_SOPUID,annotation_ref,mask_rle"]
    fractures = list(tubes)
    for film in draw_films(options, progress):
        uid, number = film.make_uid(), film.case.number
        tags = {"PatientSex": "F" if film.case.female else "M", "PatientAge": f"{film.age:03d}Y"}
        save_dicom(folder / "dataset" / uid, film.pixels, tags, uid=uid)
        name = f"P{number // 2}_{number}_1.dcm"
        text = '"Phantom, no patient. ""Lungs"" as drawn."'
        rows = [f"{uid},{uid}.1,{name},{text},{code}" for code in _codes(film.finding)]
        reports += rows + rows[: int(number % 7 == 0)]
        if film.case.tube:
            tubes.append(f"{uid},tube_{number},{encode(film.tube(), CONVENTION)}")
        if number % _FRACTURES == 0:
            fractures.append(f"{uid},fracture_{number},{encode(film.heart(), CONVENTION)}")
    write_lines(folder / "chest_tube.csv", tubes)
    write_lines(folder / "acute_rib_fracture.csv", fractures)
    write_lines(folder / "Pneumothorax_reports.csv", reports)


def _codes(mask: Mask) -> list[str]:
    labelled, count = ndimage.label(mask, structure=[[1] * 3] * 3)
    return [encode(labelled == part + 1, CONVENTION) for part in range(count)] or [NO_MASK]
