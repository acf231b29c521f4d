"""Writes phantom films as DICOM files, with the tags that a release has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import DigitalXRayImageStorageForPresentation

from spurious.generators.dicom_file import write_dicom
from spurious.readers.origin import MARK

_TAGS = {
    "Modality": "DX",
    "Manufacturer": f"{MARK} chest phantom",
    "BodyPartExamined": "CHEST",
}


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
    write_dicom(
        path,
        pixels,
        {**_TAGS, **tags},
        sop_class=DigitalXRayImageStorageForPresentation,
        uid=uid,
        bits=bits,
        inverted=inverted,
    )
