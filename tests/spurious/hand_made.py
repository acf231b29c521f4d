"""Tiny pictures and tables of releases, written without the project's writers."""

from __future__ import annotations

import gzip
import importlib.util
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage


def ramp(height: int, width: int, dtype: Any = np.uint8) -> Any:
    """Values that rise from left to right over the whole range of `dtype`."""
    row = np.linspace(0, np.iinfo(dtype).max, width).astype(dtype)
    return np.tile(row, (height, 1))


def write_dicom(path: Path, pixels: Any, *, bits: int = 8, **tags: Any) -> None:
    """Write an uncompressed film."""
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = tags.get("SOPInstanceUID", "1.2.3")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    film = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    values = {
        "SOPClassUID": SecondaryCaptureImageStorage,
        "SOPInstanceUID": "1.2.3",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "BitsAllocated": 8 * pixels.dtype.itemsize,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": 0,
        **tags,
    }
    for name, value in values.items():
        setattr(film, name, value)
    film.PixelData = pixels.tobytes()
    film["PixelData"].VR = "OB" if bits == 8 else "OW"
    film.save_as(path, enforce_file_format=True)


def write_picture(path: Path, pixels: Any) -> None:
    """Write a picture in the format of its ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_text(path: Path, text: str) -> None:
    """Write a table as it stands, without the indentation of the test."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [line.strip() for line in text.strip().splitlines()]
    path.write_text("\n".join(lines) + "\n")


def real_table(name: str, folder: Path) -> Path:
    """Unpack a released table of torchxrayvision; the test is skipped where it is absent."""
    spec = importlib.util.find_spec("torchxrayvision")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("torchxrayvision is not installed")
    packed = Path(spec.submodule_search_locations[0]) / "data" / name
    path = folder / packed.with_suffix("").name
    if packed.suffix == ".zip":
        with zipfile.ZipFile(packed) as archive:
            path.write_bytes(archive.read(archive.namelist()[0]))
    else:
        path.write_bytes(gzip.decompress(packed.read_bytes()))
    return path
