"""Writes one film as a DICOM file with the tags and the compression of the SIIM-ACR release."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import SecondaryCaptureImageStorage

from spurious.generators.dicom_file import write_dicom
from spurious.readers.origin import MARK

IMAGE_FOLDER = "dicom-images-train"


@dataclass(frozen=True)
class FilmHeader:
    """What tells a film from others.

    Attributes:
        study, series, image: UIDs; the last is the file's stem.
        patient_id: Random UUID, as in the release.
        female: Sex of the made-up patient.
        drawn_by: What drew the film, for its mark.
    """

    study: str
    series: str
    image: str
    patient_id: str
    female: bool
    drawn_by: str


def write_film(folder: Path, film: NDArray[np.uint8], header: FilmHeader) -> None:
    """Write a (size, size) uint8 film to `dicom-images-train/<study>/<series>/<image>.dcm`."""
    path = folder / IMAGE_FOLDER / header.study / header.series
    path.mkdir(parents=True)
    path /= f"{header.image}.dcm"
    tags = _tags(film.shape[0], header)
    write_dicom(path, film, tags, sop_class=SecondaryCaptureImageStorage, uid=header.image)


def _tags(height: int, header: FilmHeader) -> dict[str, object]:
    """The tags of the release by keyword, and a Manufacturer that owns up to being made up."""
    spacing = round(0.143 * 1024 / height, 3)
    return {
        "SpecificCharacterSet": "ISO_IR 100",
        "StudyDate": "19010101",
        "StudyTime": "000000.00",
        "AccessionNumber": "",
        "Modality": "CR",
        "ConversionType": "WSD",
        "Manufacturer": f"{MARK} {header.drawn_by}",
        "ReferringPhysicianName": "",
        "SeriesDescription": "view: PA",
        "PatientName": header.patient_id,
        "PatientID": header.patient_id,
        "PatientBirthDate": "",
        "PatientSex": "F" if header.female else "M",
        "BodyPartExamined": "CHEST",
        "ViewPosition": "PA",
        "StudyInstanceUID": header.study,
        "SeriesInstanceUID": header.series,
        "StudyID": "",
        "SeriesNumber": 1,
        "InstanceNumber": 1,
        "PatientOrientation": "",
        "PixelSpacing": [spacing, spacing],
        "LossyImageCompression": "01",
        "LossyImageCompressionMethod": "ISO_10918_1",
    }
