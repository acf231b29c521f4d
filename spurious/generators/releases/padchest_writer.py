"""Writes phantom films in the formats of NIH ChestX-ray14 and PadChest, as two sites."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from spurious.generators.releases.films import (
    FilmOptions,
    PhantomFilm,
    Progress,
    draw_films,
    prepare_folder,
    save_png,
    write_lines,
)

NIH_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
_COLUMNS = (
    ",ImageID,ImageDir,StudyDate_DICOM,StudyID,PatientID,PatientBirth,PatientSex_DICOM,"
    "ViewPosition_DICOM,Projection,MethodProjection,Pediatric,Modality_DICOM,Manufacturer_DICOM,"
    "PhotometricInterpretation_DICOM,PixelRepresentation_DICOM,PixelAspectRatio_DICOM,"
    "SpatialResolution_DICOM,BitsStored_DICOM,WindowCenter_DICOM,WindowWidth_DICOM,Rows_DICOM,"
    "Columns_DICOM,XRayTubeCurrent_DICOM,Exposure_DICOM,ExposureInuAs_DICOM,ExposureTime,"
    "RelativeXRayExposure_DICOM,ReportID,Report,MethodLabel,Labels,Localizations,"
    "LabelsLocalizationsBySentence,labelCUIS,LocalizationsCUIS"
)


def write_nih_padchest(
    folder: Path, options: FilmOptions, progress: Progress | None = None
) -> None:
    """Write `NIH/` and `PadChest/` with their tables; the finding is called cardiomegaly.

    Films with a tube go to PadChest, with 16 bits and wider than high, as in the release; the
    others to NIH, with 8 bits. A reader needs films of all four groups, so the shares of the
    spurious feature should not be 0 or 1. Tables are written last.

    Raises:
        DataError: The folder holds something already.
    """
    prepare_folder(folder)
    nih, padchest = [NIH_HEADER], [_COLUMNS]
    for film in draw_films(options, progress):
        number, size = film.case.number + 1, options.size
        if film.case.tube:
            name = f"{10**38 + number}_ph{number:04d}.png"
            wide = np.asarray(cv2.resize(film.pixels, (size + size // 8, size)), np.uint16)
            save_png(folder / "PadChest" / str(number % 2) / name, wide * np.uint16(257))
            padchest.append(_describe(film, name, number, wide.shape))
        else:
            name = f"{number:08d}_000.png"
            save_png(folder / "NIH" / "images" / name, film.pixels)
            nih.append(describe_nih(film, name, "Cardiomegaly", size))
    write_lines(
        folder / "PadChest" / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv", padchest
    )
    write_lines(folder / "NIH" / "Data_Entry_2017_v2020.csv", nih)


def describe_nih(film: PhantomFilm, name: str, finding: str, size: int) -> str:
    """Return a film's row of the NIH table; a film without the finding has another or none."""
    held = (finding + "|Effusion") if film.age % 2 else finding
    other = "No Finding" if film.age % 3 else "Effusion|Mass"
    return (
        f"{name},{held if film.case.pneumothorax else other},0,{int(name[:8])},{film.age},"
        f"{'F' if film.case.female else 'M'},PA,{size},{size},0.143,0.143"
    )


def _describe(film: PhantomFilm, name: str, number: int, shape: tuple[int, ...]) -> str:
    labels = "['cardiomegaly', 'aortic elongation']" if film.case.pneumothorax else "['normal']"
    cells = {
        "": str(number - 1),
        "ImageID": name,
        "ImageDir": str(number % 2),
        "StudyDate_DICOM": "20140915",
        "StudyID": name.split("_")[0],
        "PatientID": str(7 * 10**38 + number),
        "PatientBirth": f"{2014 - film.age}.0",
        "PatientSex_DICOM": "F" if film.case.female else "M",
        "ViewPosition_DICOM": "POSTEROANTERIOR",
        "Projection": "PA",
        "Pediatric": "No",
        "BitsStored_DICOM": "12",
        "Rows_DICOM": str(shape[0]),
        "Columns_DICOM": str(shape[1]),
        "Report": "phantom .",
        "MethodLabel": "Physician",
        "Labels": f'"{labels}"',
        "Localizations": "[]",
    }
    return ",".join(cells.get(column, "") for column in _COLUMNS.split(","))
