"""Reads one radiograph from a DICOM file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.errors import InvalidDicomError
from pydicom.pixels.decoders.base import get_decoder

from spurious.errors import DataError

MAX_SIDE = 8192
"""Refused above: no detector is larger, and a forged header could ask for gigabytes."""

_IDENTITY = ("PatientID", "StudyInstanceUID", "SOPInstanceUID")


@dataclass(frozen=True)
class Film:
    """A decoded radiograph.

    Attributes:
        pixels: (H, W) uint8; larger is brighter, as MONOCHROME2 shows it.
        patient_id: PatientID, or "" where the header has none.
        study_uid: StudyInstanceUID, or "".
        sop_uid: SOPInstanceUID, or "".
    """

    pixels: NDArray[np.uint8]
    patient_id: str
    study_uid: str
    sop_uid: str


def read_film(path: Path) -> Film:
    """Decode a single-frame greyscale DICOM of up to 16 bits.

    Stored values are scaled by BitsStored, [0, 2**BitsStored - 1] to [0, 255], and MONOCHROME1 is
    inverted. Neither a window (VOI LUT) nor a modality LUT is applied: windows differ between
    devices and would make brightness depend on the header instead of on the film.

    Raises:
        DataError: Not a DICOM file, cut off, no pixels, colour, several frames, signed or deeper
            than 16 bits, or a compression for which no decoder is installed.
    """
    try:
        header = pydicom.dcmread(path)
        _check(header)
        stored = header.pixel_array
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except InvalidDicomError as error:
        raise DataError(
            f"{path}: not a DICOM file (no 'DICM' mark); restore it from the release"
        ) from error
    except Exception as error:  # damaged files make the decoders raise nearly anything
        raise DataError(
            f"{path}: cannot be decoded ({type(error).__name__}: {_first_line(error)}); "
            "it may be cut off: restore it from the release"
        ) from error
    return Film(_to_bytes(stored, header), *(_text(header, name) for name in _IDENTITY))


def _check(header: pydicom.Dataset) -> None:
    """Raise DataError on anything but one greyscale frame that can be decoded, before decoding."""
    if "PixelData" not in header:
        raise DataError("no pixel data; expected a radiograph: restore it from the release")
    expected = {
        "SamplesPerPixel": (1,),
        "PhotometricInterpretation": ("MONOCHROME1", "MONOCHROME2"),
        "PixelRepresentation": (0,),
        "BitsStored": range(1, 17),
        "Rows": range(1, MAX_SIDE + 1),
        "Columns": range(1, MAX_SIDE + 1),
        "NumberOfFrames": (1,),
    }
    for name, allowed in expected.items():
        value: Any = header.get(name, 1 if name == "NumberOfFrames" else None)
        if value not in allowed:
            between = " to " if isinstance(allowed, range) else " or "
            shown = between.join(str(end) for end in (allowed[0], allowed[-1])[: len(allowed)])
            raise DataError(
                f"{name} is {value}, expected {shown}: "
                "only single-frame unsigned greyscale radiographs are read"
            )
    syntax = header.file_meta.TransferSyntaxUID
    if syntax.is_compressed and not get_decoder(syntax).is_available:
        raise DataError(
            f"compressed as {syntax.name}, for which no decoder is installed; "
            "pip install pylibjpeg[all], or decompress the files"
        )


def _to_bytes(stored: NDArray[Any], header: pydicom.Dataset) -> NDArray[np.uint8]:
    largest = 2 ** int(header.BitsStored) - 1
    values = stored.astype(np.uint32) & largest  # unused high bits may hold overlays
    if largest != 255:
        values = (values * 255 + largest // 2) // largest
    pixels = values.astype(np.uint8)
    inverted = header.PhotometricInterpretation == "MONOCHROME1"
    return np.asarray(255 - pixels) if inverted else pixels


def _text(header: pydicom.Dataset, name: str) -> str:
    return str(header.get(name) or "").strip()


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:200]
