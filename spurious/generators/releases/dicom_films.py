"""Writes phantom films as DICOM files, with the tags that a release has."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pydicom.config
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
)

from spurious.readers.origin import MARK


def save_dicom(
    path: Path,
    pixels: NDArray[np.uint8] | NDArray[np.uint16],
    tags: Mapping[str, object],
    *,
    uid: str,
    bits: int = 8,
    inverted: bool = False,
) -> None:
    """Write one film: 8 bits as JPEG, more without compression.

    Args:
        path: Of the file; folders are made.
        pixels: (H, W) values, larger is brighter.
        tags: What the release has in the header, by keyword.
        uid: SOPInstanceUID.
        bits: Stored; more than 8 need uint16.
        inverted: Store as MONOCHROME1.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if inverted:
        pixels = (2**bits - 1 - pixels.astype(np.int64)).astype(pixels.dtype)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = UID(uid)
    meta.TransferSyntaxUID = JPEGBaseline8Bit if bits == 8 else ExplicitVRLittleEndian
    header = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    with pydicom.config.disable_value_validation():  # released ages have no unit
        for name, value in {**_describe(pixels, uid, bits, inverted=inverted), **tags}.items():
            setattr(header, name, value)
    if bits == 8:
        jpeg = io.BytesIO()
        Image.fromarray(pixels).save(jpeg, "JPEG", quality=92)
        header.PixelData = encapsulate([jpeg.getvalue()])
        header["PixelData"].VR = "OB"
    else:
        header.PixelData = pixels.tobytes()
        header["PixelData"].VR = "OW"
    with pydicom.config.disable_value_validation():
        header.save_as(path, enforce_file_format=True)


def _describe(
    pixels: NDArray[np.uint8] | NDArray[np.uint16], uid: str, bits: int, *, inverted: bool
) -> dict[str, object]:
    height, width = pixels.shape
    return {
        "SOPClassUID": DigitalXRayImageStorageForPresentation,
        "SOPInstanceUID": uid,
        "Modality": "DX",
        "Manufacturer": f"{MARK} chest phantom",
        "BodyPartExamined": "CHEST",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME1" if inverted else "MONOCHROME2",
        "Rows": height,
        "Columns": width,
        "BitsAllocated": 8 if bits == 8 else 16,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": 0,
    }
