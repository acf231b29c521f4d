"""Writes one film as a DICOM file with the tags and the compression of the SIIM-ACR release."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, JPEGBaseline8Bit, SecondaryCaptureImageStorage

from spurious.readers.origin import MARK

IMAGE_FOLDER = "dicom-images-train"
JPEG_QUALITY = 92
"""Gives files of about the size of the released ones (150 kB at 1024 x 1024)."""


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
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = UID(header.image)
    meta.TransferSyntaxUID = JPEGBaseline8Bit
    tags = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    for name, value in _tags(film, header).items():
        setattr(tags, name, value)
    jpeg = io.BytesIO()
    Image.fromarray(film).save(jpeg, "JPEG", quality=JPEG_QUALITY)
    tags.PixelData = encapsulate([jpeg.getvalue()])
    tags["PixelData"].VR = "OB"
    tags.save_as(path, enforce_file_format=True)


def _tags(film: NDArray[np.uint8], header: FilmHeader) -> dict[str, object]:
    """The tags of the release by keyword, and a Manufacturer that owns up to being made up."""
    height, width = film.shape
    spacing = round(0.143 * 1024 / height, 3)
    return {
        "SpecificCharacterSet": "ISO_IR 100",
        "SOPClassUID": SecondaryCaptureImageStorage,
        "SOPInstanceUID": header.image,
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
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": height,
        "Columns": width,
        "PixelSpacing": [spacing, spacing],
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
        "PixelRepresentation": 0,
        "LossyImageCompression": "01",
        "LossyImageCompressionMethod": "ISO_10918_1",
    }
