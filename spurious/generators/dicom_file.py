"""Writes a drawn film as a DICOM file: 8 bits as JPEG, more without compression."""

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
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEGBaseline8Bit

JPEG_QUALITY = 92
"""Gives files of about the size of the released SIIM-ACR ones (150 kB at 1024 x 1024)."""


def write_dicom(
    path: Path,
    pixels: NDArray[np.uint8] | NDArray[np.uint16],
    tags: Mapping[str, object],
    *,
    sop_class: UID,
    uid: str,
    bits: int = 8,
    inverted: bool = False,
) -> None:
    """Write one film into a folder that exists.

    Args:
        path: Of the file.
        pixels: (H, W) values, larger is brighter.
        tags: What the release has in the header, by keyword; they replace those of the pixels.
        sop_class: What kind of image it is.
        uid: SOPInstanceUID.
        bits: Stored; more than 8 need uint16.
        inverted: Store as MONOCHROME1.
    """
    if inverted:
        pixels = (2**bits - 1 - pixels.astype(np.int64)).astype(pixels.dtype)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = UID(uid)
    meta.TransferSyntaxUID = JPEGBaseline8Bit if bits == 8 else ExplicitVRLittleEndian
    header = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    held = {
        "SOPClassUID": sop_class,
        "SOPInstanceUID": uid,
        **_describe_pixels(pixels, bits, inverted=inverted),
        **tags,
    }
    with pydicom.config.disable_value_validation():  # released ages have no unit
        for name, value in held.items():
            setattr(header, name, value)
        header.PixelData = encapsulate([_to_jpeg(pixels)]) if bits == 8 else pixels.tobytes()
        header["PixelData"].VR = "OB" if bits == 8 else "OW"
        header.save_as(path, enforce_file_format=True)


def _to_jpeg(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    jpeg = io.BytesIO()
    Image.fromarray(pixels).save(jpeg, "JPEG", quality=JPEG_QUALITY)
    return jpeg.getvalue()


def _describe_pixels(
    pixels: NDArray[np.uint8] | NDArray[np.uint16], bits: int, *, inverted: bool
) -> dict[str, object]:
    height, width = pixels.shape
    return {
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME1" if inverted else "MONOCHROME2",
        "Rows": height,
        "Columns": width,
        "BitsAllocated": 8 if bits == 8 else 16,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": 0,
    }
