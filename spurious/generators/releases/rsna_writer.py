"""Writes phantom films in the format of the RSNA pneumonia challenge."""

from __future__ import annotations

from pathlib import Path

from spurious.generators.releases.dicom_films import save_dicom
from spurious.generators.releases.films import (
    FilmOptions,
    PhantomFilm,
    Progress,
    draw_films,
    find_boxes,
    prepare_folder,
    write_lines,
)


def write_rsna_pneumonia(
    folder: Path, options: FilmOptions, progress: Progress | None = None
) -> None:
    """Write `stage_2_train_images/` and the two tables of the challenge.

    As in the release, a film has a row per box, and the class table repeats its class in each. The
    spurious feature is a tube on films that the header calls AP. Tables are written last.

    Raises:
        DataError: The folder holds something already.
    """
    prepare_folder(folder)
    boxes, classes = ["patientId,x,y,width,height,Target"], ["patientId,class"]
    for film in draw_films(options, progress):
        name = film.case.patient_id
        path = folder / "stage_2_train_images" / f"{name}.dcm"
        save_dicom(path, film.pixels, _tags(film), uid=film.make_uid())
        rows = [f"{x}.0,{y}.0,{w}.0,{h}.0,1" for x, y, w, h in find_boxes(film.finding)]
        boxes += [f"{name},{row}" for row in rows or [",,,,0"]]
        kind = "Lung Opacity" if rows else ("Normal", "No Lung Opacity / Not Normal")[film.age % 2]
        classes += [f"{name},{kind}"] * max(1, len(rows))
    write_lines(folder / "stage_2_detailed_class_info.csv", classes)
    write_lines(folder / "stage_2_train_labels.csv", boxes)


def _tags(film: PhantomFilm) -> dict[str, object]:
    view = "AP" if film.case.tube else "PA"
    return {
        "PatientID": film.case.patient_id,
        "PatientName": film.case.patient_id,
        "PatientSex": "F" if film.case.female else "M",
        "PatientAge": str(film.age),
        "ViewPosition": view,
        "SeriesDescription": f"view: {view}",
        "ConversionType": "WSD",
    }
