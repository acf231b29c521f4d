"""Reads what the header of a DICOM Segmentation states.

Source: DICOM PS3.3 A.51 (Segmentation IOD) and C.8.20 (its modules).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.uid import ExplicitVRBigEndian

from spurious.errors import DataError
from spurious.readers.dicom_frames import check_elements

_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""Segmentation Storage, Label Map Segmentation Storage."""
_KINDS = ("BINARY", "FRACTIONAL", "LABELMAP")


@dataclass(frozen=True)
class SegmentFile:
    """What the header of a segmentation states.

    Attributes:
        images: SOPInstanceUID of every image that it refers to.
        segments: Label of every segment by its number.
        size: Rows and columns of its frames.
    """

    images: frozenset[str]
    segments: Mapping[int, str]
    size: tuple[int, int]


def read_segment_file(path: Path) -> SegmentFile:
    """Read the header of a segmentation, without its pixels.

    Raises:
        DataError: Not a DICOM Segmentation, or damaged; names the file.
    """
    with name_file(path):
        return describe_segments(read_dataset(path, stop_before_pixels=True))


@contextmanager
def name_file(path: Path) -> Iterator[None]:
    """Turn whatever reading raises, and warnings of decoders, into a DataError with the path."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for harmless in ("Invalid value for VR", "The value length"):  # of names and dates
                warnings.filterwarnings("ignore", message=harmless)
            warnings.filterwarnings("error", message=".*Invalid value for VR UI")
            yield
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except InvalidDicomError as error:
        raise DataError(f"{path}: not a DICOM file (no 'DICM' mark); restore it") from error
    except Exception as error:  # damaged files make the libraries raise nearly anything
        text = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise DataError(
            f"{path}: cannot be read as a DICOM Segmentation ({text}); it may be cut off: restore "
            "the file"
        ) from error


def read_dataset(path: Path, stop_before_pixels: bool = False) -> pydicom.Dataset:
    """Read a segmentation within `name_file`; raises DataError for another object."""
    dataset = pydicom.dcmread(path, stop_before_pixels=stop_before_pixels)
    if dataset.get("SOPClassUID") not in _CLASSES:
        kind = getattr(dataset.get("SOPClassUID"), "name", "without a class")
        raise DataError(f"it is {kind}, expected a Segmentation")
    if dataset.file_meta.TransferSyntaxUID == ExplicitVRBigEndian:
        raise DataError("it is big endian (retired); convert it (gdcmconv --explicit)")
    if dataset.get("SegmentationType") not in _KINDS:
        raise DataError(
            f"SegmentationType is {dataset.get('SegmentationType')}, expected one of "
            f"{', '.join(_KINDS)}; restore the file"
        )
    check_elements(dataset)
    return dataset


def describe_segments(dataset: pydicom.Dataset) -> SegmentFile:
    """Return what a segmentation states of its images, segments and size."""
    series = [*dataset.get("ReferencedSeriesSequence", [])]
    for study in dataset.get("StudiesContainingOtherReferencedInstancesSequence", []):
        series += study.get("ReferencedSeriesSequence", [])
    images = {
        str(instance.ReferencedSOPInstanceUID)
        for one in series
        for instance in one.get("ReferencedInstanceSequence", [])
    }
    groups = (
        *dataset.get("SharedFunctionalGroupsSequence", []),
        *dataset.get("PerFrameFunctionalGroupsSequence", []),
    )
    images |= find_sources(groups)
    segments = {
        int(segment.SegmentNumber): str(segment.get("SegmentLabel", "")).strip()
        for segment in dataset.SegmentSequence
    }
    return SegmentFile(frozenset(images), segments, (int(dataset.Rows), int(dataset.Columns)))


def find_sources(groups: Iterable[pydicom.Dataset]) -> set[str]:
    """Return the SOPInstanceUIDs of the images from which frames were derived."""
    return {
        str(source.ReferencedSOPInstanceUID)
        for group in groups
        for derivation in group.get("DerivationImageSequence", [])
        for source in derivation.get("SourceImageSequence", [])
    }
