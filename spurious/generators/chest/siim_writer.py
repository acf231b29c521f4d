"""Writes a chest phantom as a folder in the format of the SIIM-ACR release."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, JPEGBaseline8Bit, SecondaryCaptureImageStorage
from scipy import ndimage

from spurious.data.splits import EVALUATION_SPLITS, SPLITS
from spurious.errors import DataError
from spurious.generators.chest.chest_phantom import Case, ChestPhantom, draw_cases, render_case
from spurious.readers.marks import rle
from spurious.readers.origin import MARK
from spurious.readers.siim_acr.siim_files import RLE
from spurious.readers.siim_acr.tube_labels import TubeLabels, write_tube_csv

JPEG_QUALITY = 92
"""Gives files of about the size of the released ones (150 kB at 1024 x 1024)."""

_ROOT = "1.2.276.0.7230010.3.1"
_STATION = 8323329
_STUDY, _SERIES, _IMAGE = 2, 3, 4


def write_siim_acr(
    folder: Path, config: ChestPhantom, progress: Callable[[int, int], None] | None = None
) -> None:
    """Write `dicom-images-train/`, `train-rle.csv` and `cxr_tube_dict.pkl`, which a reader takes.

    As in the release, a mask has one row per component and tube labels exist for `val` and `test`
    only, each in ascending order of UID. With `tube_labels: all` they are in `cxr_tube_dict.csv`
    instead, since the pickle's order has no room for `train`. The same options give the same
    bytes. The mask table is written last, so an interrupted folder is not taken for a whole one.

    Args:
        folder: Made where absent; must be empty.
        config: Options of the phantom.
        progress: Called with (films written, films in all) after each.

    Raises:
        DataError: The folder holds something already.
    """
    if folder.exists() and any(folder.iterdir()):
        raise DataError(f"{folder}: not empty; name a new folder for the phantom")
    folder.mkdir(parents=True, exist_ok=True)
    cases = draw_cases(config)
    rows = ["ImageId, EncodedPixels"]
    for done, case in enumerate(cases, start=1):
        film, mask = render_case(config, case)
        path = folder / "dicom-images-train" / uid(case, _STUDY) / uid(case, _SERIES)
        path.mkdir(parents=True)
        _write_dicom(path / f"{image_id(case)}.dcm", film, case)
        rows += [f"{image_id(case)}, {code}" for code in _codes(mask)]
        if progress is not None:
            progress(done, len(cases))
    if config.tube_labels == "all":
        write_tube_csv(_tube_labels(cases, SPLITS), folder / "cxr_tube_dict.csv")
    else:
        labels = _tube_labels(cases, EVALUATION_SPLITS).present
        (folder / "cxr_tube_dict.pkl").write_bytes(pickle.dumps(labels, protocol=4))
    (folder / "train-rle.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def image_id(case: Case) -> str:
    """SOPInstanceUID of a case, which is its file stem and its id in both tables."""
    return uid(case, _IMAGE)


def uid(case: Case, kind: int) -> str:
    """UID of a case's study (2), series (3) or image (4), numbered as in the release."""
    process, second, micro = case.uid_tail
    micro += {_STUDY: 0, _SERIES: -1, _IMAGE: 1}[kind]
    return f"{_ROOT}.{kind}.{_STATION}.{process}.{second}.{micro}"


def _codes(mask: NDArray[np.bool_]) -> list[str]:
    labelled, count = ndimage.label(mask, structure=np.ones((3, 3)))
    return [rle.encode(labelled == i + 1, RLE) for i in range(count)] or [rle.NO_MASK]


def _tube_labels(cases: list[Case], splits: Sequence[str]) -> TubeLabels:
    ordered = [
        case
        for split in splits
        for case in sorted(cases, key=lambda case: case.uid_tail)
        if case.split == split
    ]
    return TubeLabels(
        {image_id(case): case.tube for case in ordered},
        {image_id(case): case.split for case in ordered},
    )


def _write_dicom(path: Path, film: NDArray[np.uint8], case: Case) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = UID(image_id(case))
    meta.TransferSyntaxUID = JPEGBaseline8Bit
    header = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    for name, value in _header(film, case).items():
        setattr(header, name, value)
    jpeg = io.BytesIO()
    Image.fromarray(film).save(jpeg, "JPEG", quality=JPEG_QUALITY)
    header.PixelData = encapsulate([jpeg.getvalue()])
    header["PixelData"].VR = "OB"
    header.save_as(path, enforce_file_format=True)


def _header(film: NDArray[np.uint8], case: Case) -> dict[str, object]:
    """The tags of the release by keyword, and a Manufacturer that owns up to being made up."""
    height, width = film.shape
    spacing = round(0.143 * 1024 / height, 3)
    return {
        "SpecificCharacterSet": "ISO_IR 100",
        "SOPClassUID": SecondaryCaptureImageStorage,
        "SOPInstanceUID": image_id(case),
        "StudyDate": "19010101",
        "StudyTime": "000000.00",
        "AccessionNumber": "",
        "Modality": "CR",
        "ConversionType": "WSD",
        "Manufacturer": f"{MARK} chest phantom",
        "ReferringPhysicianName": "",
        "SeriesDescription": "view: PA",
        "PatientName": case.patient_id,
        "PatientID": case.patient_id,
        "PatientBirthDate": "",
        "PatientSex": "F" if case.female else "M",
        "BodyPartExamined": "CHEST",
        "ViewPosition": "PA",
        "StudyInstanceUID": uid(case, _STUDY),
        "SeriesInstanceUID": uid(case, _SERIES),
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
