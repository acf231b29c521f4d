"""Files of masks and boxes, built element by element from what their standards say."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

SQUARE = [1, 1, 3, 1, 3, 3, 1, 3]
EXPORT: dict[str, Any] = {
    "info": {"description": "by hand"},
    "images": [
        {"id": 1, "file_name": "site/a.png", "height": 4, "width": 6},
        {"id": 2, "file_name": "site\\b.png", "height": 4, "width": 6},
        {"id": 3, "file_name": "c.png", "height": 4, "width": 6},
    ],
    "categories": [{"id": 1, "name": "lesion"}, {"id": 7, "name": "ruler"}],
    "annotations": [
        {
            "id": 10,
            "image_id": 1,
            "category_id": 1,
            "segmentation": [SQUARE, [4, 0, 6, 0, 6, 2, 4, 2]],
            "bbox": [1, 0, 5, 3],
            "iscrowd": 0,
        },
        {
            "id": 11,
            "image_id": 1,
            "category_id": 7,
            "iscrowd": 1,
            "segmentation": {"size": [4, 6], "counts": [0, 1, 23]},
            "bbox": [0, 0, 1, 1],
        },
        # columns of 4: 4 off, 4 on, 1 off, 1 on, 14 off; the third character on are differences
        {
            "id": 12,
            "image_id": 3,
            "category_id": 1,
            "segmentation": {"size": [4, 6], "counts": "441M="},
        },
    ],
}

ITK = ((-1, 0, 0), (0, -1, 0), (0, 0, 1))
"""Columns to the patient's left, rows to the back: how ITK stores a picture."""
RAS = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
TYPES = {"u1": 2, "<i2": 4, "<f4": 16, "<u2": 512}
ROWS = np.array([[0, 0, 0], [0, 1, 1]])
"""A picture of 2 rows and 3 columns with a mask at its lower right."""

TOP, DOT = np.zeros((5, 7), int), np.zeros((5, 7), int)
TOP[1, 2:5] = 1
DOT[4, 6] = 1
FILM, OTHER = "1.2.3", "1.2.4"


def write_nifti(
    path: Path,
    values: np.ndarray,
    affine: Any = ITK,
    kind: str = "u1",
    scale: tuple[float, float] = (0, 0),
    codes: tuple[int, int] = (0, 1),
) -> Path:
    """Write NIfTI-1; values in the order of the file's axes, the first is the fastest."""
    dims = [values.ndim, *values.shape, *[1] * (7 - values.ndim)]
    header = struct.pack("<i36x8h12x", 348, *dims)
    header += struct.pack("<4h", 0, TYPES[kind], 8 * np.dtype(kind).itemsize, 0)
    header += struct.pack("<8f", 1, *[1] * 7) + struct.pack("<3f", 352, *scale)
    header = header.ljust(252, b"\0") + struct.pack("<2h24x", *codes)
    for row in affine:
        header += struct.pack("<4f", *row, 0)
    header = header.ljust(344, b"\0") + b"n+1\0" + bytes(4)
    data = header + values.astype(kind).tobytes(order="F")
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def items(**values: Any) -> list[Dataset]:
    """Return a sequence of one item."""
    item = Dataset()
    for name, value in values.items():
        setattr(item, name, value)
    return [item]


def write_segmentation(
    path: Path,
    frames: list[tuple[str | None, int, np.ndarray]],
    labels: tuple[str, ...] = ("Air",),
    bits: int = 1,
    **changes: Any,
) -> Path:
    """Write a segmentation of frames (image, segment, values) that refers to both images."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = changes.get("SOPClassUID", "1.2.840.10008.5.1.4.1.1.66.4")
    meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID = "1.9", ExplicitVRLittleEndian
    data = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, "1.9"
    data.StudyInstanceUID, data.SeriesInstanceUID, data.Modality = "1.5", "1.6", "SEG"
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.NumberOfFrames, (data.Rows, data.Columns) = len(frames), frames[0][2].shape
    data.BitsAllocated = data.BitsStored = bits
    data.HighBit, data.PixelRepresentation = bits - 1, 0
    data.SegmentationType = "BINARY" if bits == 1 else "FRACTIONAL"
    if bits > 1:
        data.SegmentationFractionalType, data.MaximumFractionalValue = "PROBABILITY", 200
    code = items(CodeValue="1", CodingSchemeDesignator="99X", CodeMeaning="x")
    data.SegmentSequence = [
        items(
            SegmentNumber=number,
            SegmentLabel=label,
            SegmentAlgorithmType="MANUAL",
            SegmentedPropertyCategoryCodeSequence=code,
            SegmentedPropertyTypeCodeSequence=code,
        )[0]
        for number, label in enumerate(labels, start=1)
    ]
    data.ReferencedSeriesSequence = items(
        SeriesInstanceUID="1.7",
        ReferencedInstanceSequence=[
            items(ReferencedSOPClassUID="1.1", ReferencedSOPInstanceUID=image)[0]
            for image in changes.pop("images", (FILM, OTHER))
        ],
    )
    data.SharedFunctionalGroupsSequence = [Dataset()]
    data.PerFrameFunctionalGroupsSequence = [
        items(
            SegmentIdentificationSequence=items(ReferencedSegmentNumber=segment),
            DerivationImageSequence=items(
                SourceImageSequence=items(
                    ReferencedSOPClassUID="1.1", ReferencedSOPInstanceUID=image
                )
                if image
                else []
            ),
        )[0]
        for image, segment, _ in frames
    ]
    pixels = np.stack([values for *_, values in frames]).astype(np.uint8)
    packed = np.packbits(pixels.ravel(), bitorder="little") if bits == 1 else pixels
    data.PixelData = packed.tobytes() + bytes(packed.size % 2)
    data["PixelData"].VR = "OB"
    for name, value in changes.items():
        setattr(data, name, value)
    data.save_as(path, enforce_file_format=True)
    return path
