"""Reads one radiograph from a DICOM file."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.errors import InvalidDicomError
from pydicom.pixels.utils import pixel_array
from pydicom.uid import RLELossless

from spurious.errors import DataError
from spurious.readers.dicom_frames import check_elements, check_pixel_data
from spurious.readers.native_pixels import check_native

_log = logging.getLogger(__name__)

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


@dataclass(frozen=True)
class StoredFilm:
    """A decoded radiograph before any window.

    Attributes:
        values: (H, W) uint32 of `bits` bits, as stored.
        bits: BitsStored, 1 to 16.
        inverted: Whether larger is darker (MONOCHROME1).
        patient_id: PatientID, or "" where the header has none.
        study_uid: StudyInstanceUID, or "".
        sop_uid: SOPInstanceUID, or "".
    """

    values: NDArray[Any]
    bits: int
    inverted: bool
    patient_id: str
    study_uid: str
    sop_uid: str


def read_film(path: Path) -> Film:
    """Decode a single-frame greyscale DICOM of up to 16 bits.

    Stored values are scaled by BitsStored, [0, 2**BitsStored - 1] to [0, 255], and MONOCHROME1 is
    inverted. Neither a window (VOI LUT) nor a modality LUT is applied: windows differ between
    devices and would make brightness depend on the header instead of on the film. A film that uses
    a quarter of its range or less is read by its header, with a logged warning.

    Raises:
        DataError: `read_stored_film` refuses the file.
    """
    film = read_stored_film(path)
    _warn_of_unused_bits(path, film.values, film.bits)
    pixels = _to_bytes(film.values, film.bits, film.inverted)
    return Film(pixels, film.patient_id, film.study_uid, film.sop_uid)


def read_stored_film(path: Path) -> StoredFilm:
    """Decode the stored values of a single-frame greyscale DICOM of up to 16 bits.

    Values that end above BitsStored - 1 are shifted down (HighBit, PS3.5 8.1.1).

    Raises:
        DataError: Not a DICOM file, cut off or damaged, no pixels, colour, several frames, signed
            or deeper than 16 bits, values above BitsStored, a compression that is not read, or
            anything of which a decoder warns.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for harmless in ("Invalid value for VR", "The value length"):  # of names and dates
                warnings.filterwarnings("ignore", message=harmless)
            header = pydicom.dcmread(path)
            _check(header)
            check_elements(header)
            stored = check_pixel_data(header)
            if stored is None:
                stored = pixel_array(header, correct_unused_bits=False)
            if not header.file_meta.TransferSyntaxUID.is_encapsulated:
                check_native(stored)
            values = _values(stored, header)
        identity = [_text(header, name) for name in _IDENTITY]
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except InvalidDicomError as error:
        raise DataError(
            f"{path}: not a DICOM file (no 'DICM' mark); restore it from the release"
        ) from error
    except Exception as error:  # damaged files make the decoders raise nearly anything
        raise DataError(
            f"{path}: cannot be decoded ({type(error).__name__}: {_one_line(error)}); "
            "it may be cut off: restore it from the release"
        ) from error
    inverted = header.PhotometricInterpretation == "MONOCHROME1"
    return StoredFilm(values, int(header.BitsStored), inverted, *identity)


def read_row_count(paths: Iterable[Path]) -> int:
    """Return the rows of the first film whose header can be read; 0 where none can be."""
    for path in paths:
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["Rows"])
            return int(header.Rows)
        except Exception:  # noqa: BLE001, S112 (reading the film reports it)
            continue
    return 0


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
    if float(header.get("RescaleSlope") or 1) < 0:
        raise DataError(
            f"RescaleSlope is {header.RescaleSlope}, expected above 0: the film would be read as "
            "its negative; invert its values and remove the slope"
        )
    inverse = str(header.get("PresentationLUTShape") or "IDENTITY").strip() == "INVERSE"
    if inverse and header.PhotometricInterpretation != "MONOCHROME1":
        raise DataError(
            "PresentationLUTShape is INVERSE, expected IDENTITY for MONOCHROME2: the header "
            "contradicts itself; correct it"
        )
    _check_high_bit(header)


def _check_high_bit(header: pydicom.Dataset) -> None:
    lowest, syntax = int(header.BitsStored) - 1, header.file_meta.TransferSyntaxUID
    shifted = not syntax.is_encapsulated or syntax == RLELossless  # other codes hold values alone
    allowed = range(lowest, int(header.BitsAllocated) if shifted else lowest + 1)
    if header.get("HighBit") not in allowed:
        shown = " to ".join(str(bit) for bit in dict.fromkeys((allowed[0], allowed[-1])))
        raise DataError(
            f"HighBit is {header.get('HighBit')}, expected {shown} for {header.BitsStored} stored "
            f"of {header.BitsAllocated} bits: restore the file from the release"
        )


def _values(stored: NDArray[Any], header: pydicom.Dataset) -> NDArray[Any]:
    """Return (H, W) values of BitsStored bits, in the type that they are stored in.

    Raises:
        DataError: Bits above them are set, and the header names no overlay there.
    """
    below = int(header.HighBit) + 1 - int(header.BitsStored)
    values = stored >> below if below else stored
    largest = 2 ** int(header.BitsStored) - 1
    if np.iinfo(values.dtype).max <= largest:  # no bits above, so nothing to check or to clear
        return values
    if values.max() > largest and not _has_overlay_bits(header):
        raise DataError(
            f"values up to {values.max()}, but {header.BitsStored} stored bits hold values to "
            f"{largest} only: restore the file from the release, or correct BitsStored"
        )
    return np.asarray(values & largest)


def _has_overlay_bits(header: pydicom.Dataset) -> bool:
    """Return whether an overlay is in unused bits of the pixels (retired, PS3.3 C.9.2)."""
    return any(header.get((group, 0x0102)) is not None for group in range(0x6000, 0x6020, 2))


def _warn_of_unused_bits(path: Path, values: NDArray[Any], stored: int) -> None:
    used = int(values.max()).bit_length() if stored > 8 else 0
    if used and stored - used >= 2:
        _log.warning(
            "%s: %d stored bits hold values to %d only (%d bits), so the film is dark; where "
            "BitsStored is wrong, correct it before staging",
            path,
            stored,
            2**used - 1,
            used,
        )


def _to_bytes(values: NDArray[Any], bits: int, inverted: bool) -> NDArray[np.uint8]:
    largest = 2**bits - 1
    if largest != 255:
        values = (values.astype(np.uint32) * 255 + largest // 2) // largest
    pixels = values.astype(np.uint8, copy=False)
    return np.asarray(255 - pixels) if inverted else pixels


def _text(header: pydicom.Dataset, name: str) -> str:
    return str(header.get(name) or "").strip()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
