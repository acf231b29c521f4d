"""Reads the segments that a DICOM Segmentation draws on one image.

A frame belongs to the image that it names by ReferencedSOPInstanceUID; one that names none is of
the only image that the object refers to. An image that the object
refers to, but of which it holds no frame, was looked at and has nothing of the segment: writers
leave out empty frames.

Source: DICOM PS3.3 A.51 (Segmentation IOD) and C.8.20 (its modules).
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.encaps import generate_fragments
from pydicom.errors import InvalidDicomError
from pydicom.uid import JPEG2000, ExplicitVRBigEndian, JPEG2000Lossless

from spurious.errors import DataError
from spurious.readers.dicom_frames import check_elements
from spurious.readers.joins import name_some
from spurious.readers.jpeg2000 import check_jpeg2000

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
    with _naming(path):
        return _describe(_read_dataset(path, stop_before_pixels=True))


def read_segments(
    path: Path,
    size: tuple[int, int],
    *,
    image: str | None = None,
    segments: Collection[int | str] = (),
    threshold: float = 0.5,
) -> NDArray[np.bool_] | None:
    """Read the union of segments on one image.

    Args:
        path: A DICOM Segmentation.
        size: Height and width of the image.
        image: Its SOPInstanceUID; None where the segmentation refers to one image alone.
        segments: Labels or numbers of those that count; all where there is one.
        threshold: Fraction from which a pixel of a fractional segmentation counts.

    Returns:
        (H, W) bool; None where the segmentation does not refer to the image.

    Raises:
        DataError: Damaged, of another size, several segments of which none is named, a segment
            that it does not have, or no image named where it refers to several; names the file.
    """
    with _naming(path):
        dataset = _read_dataset(path)
        held = _describe(dataset)
        if image is None and len(held.images) != 1:
            raise DataError(
                f"it refers to {len(held.images)} images; expected one, or the SOPInstanceUID of "
                "the image that is meant, as a DICOM image has it"
            )
        uid = next(iter(held.images)) if image is None else image
        if uid not in held.images:
            return None
        if held.size != size:
            raise DataError(
                f"its frames are {held.size[0]} x {held.size[1]} pixels, and the image is "
                f"{size[0]} x {size[1]}; export it on the image itself"
            )
        numbers = _choose(held, segments)
        _check_pixels(dataset)
        return np.asarray(_read_frames(dataset, held, uid, numbers) >= threshold)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
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


def _read_dataset(path: Path, stop_before_pixels: bool = False) -> pydicom.Dataset:
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


def _describe(dataset: pydicom.Dataset) -> SegmentFile:
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
    images |= _find_sources(groups)
    segments = {
        int(segment.SegmentNumber): str(segment.get("SegmentLabel", "")).strip()
        for segment in dataset.SegmentSequence
    }
    return SegmentFile(frozenset(images), segments, (int(dataset.Rows), int(dataset.Columns)))


def _choose(held: SegmentFile, segments: Collection[int | str]) -> list[int]:
    """Return the numbers of the chosen segments; a label comes before a number written as text."""
    listed = name_some(f"{number} '{label}'" for number, label in held.segments.items())
    if not segments:
        if len(held.segments) > 1:
            raise DataError(
                f"it has {len(held.segments)} segments ({listed}); name those that count"
            )
        return [*held.segments]
    numbers: set[int] = set()
    for segment in segments:
        matches = {number for number, label in held.segments.items() if segment in (label, number)}
        if not matches and str(segment).isdecimal():
            matches = {int(segment)} & held.segments.keys()
        if not matches:
            raise DataError(f"it has no segment '{segment}', only {listed}")
        numbers |= matches
    return sorted(numbers)


def _check_pixels(dataset: pydicom.Dataset) -> None:
    """Compare the length of plain pixels with the header; look through JPEG 2000."""
    syntax, data = dataset.file_meta.TransferSyntaxUID, dataset.PixelData
    if not syntax.is_encapsulated:
        frames = int(dataset.get("NumberOfFrames", 1))
        bits = int(dataset.Rows) * int(dataset.Columns) * frames * int(dataset.BitsAllocated)
        expected = -(-bits // 8)
        if len(data) not in (expected, expected + expected % 2):
            raise DataError(
                f"{len(data)} bytes of pixel data, expected {expected} for {frames} frames of "
                f"{dataset.Rows} x {dataset.Columns}; restore the file"
            )
    elif syntax in (JPEG2000, JPEG2000Lossless):
        for fragment in list(generate_fragments(data))[1:]:  # the first is a table of offsets
            check_jpeg2000(fragment)


def _read_frames(
    dataset: pydicom.Dataset, held: SegmentFile, image: str, numbers: list[int]
) -> NDArray[np.float64]:
    """Return the largest value of the segments, (H, W), fractions from 0 to 1."""
    from highdicom.seg import Segmentation

    largest = np.zeros((int(dataset.Rows), int(dataset.Columns)))
    kind = str(dataset.SegmentationType)
    groups = dataset.get("PerFrameFunctionalGroupsSequence", [])
    if len(groups) != int(dataset.get("NumberOfFrames", 1)):
        raise DataError(
            f"{len(groups)} frames are described of {dataset.NumberOfFrames}; restore it"
        )
    shared = dataset.get("SharedFunctionalGroupsSequence", [])
    places = [
        position
        for position, group in enumerate(groups, start=1)
        if _is_on(group, shared, held, image)
        and (kind == "LABELMAP" or _find_segment(group, shared) in numbers)
    ]
    decoder = Segmentation.from_dataset(dataset, copy=False)
    for place in places:
        stored = decoder.get_stored_frame(place)
        if kind == "LABELMAP":
            values = np.isin(stored, numbers).astype(np.float64)
        elif kind == "FRACTIONAL":
            values = stored / float(dataset.MaximumFractionalValue)
            if values.max() > 1:
                raise DataError(
                    f"a frame has values above MaximumFractionalValue "
                    f"({dataset.MaximumFractionalValue}); restore the file"
                )
        else:
            values = stored.astype(np.float64)
        largest = np.maximum(largest, values)
    return largest


def _is_on(
    group: pydicom.Dataset, shared: Sequence[pydicom.Dataset], held: SegmentFile, image: str
) -> bool:
    """Return whether a frame is drawn on the image; raises DataError where it does not say."""
    sources = _find_sources((group, *shared)) or set(held.images)
    if len(sources) != 1:
        raise DataError(
            f"a frame names {len(sources)} images that it was drawn on; expected one: export it "
            "with references to its images (DerivationImageSequence)"
        )
    return image in sources


def _find_sources(groups: Iterable[pydicom.Dataset]) -> set[str]:
    return {
        str(source.ReferencedSOPInstanceUID)
        for group in groups
        for derivation in group.get("DerivationImageSequence", [])
        for source in derivation.get("SourceImageSequence", [])
    }


def _find_segment(group: pydicom.Dataset, shared: Sequence[pydicom.Dataset]) -> int | None:
    named = (one.get("SegmentIdentificationSequence") for one in (group, *shared))
    return next((int(one[0].ReferencedSegmentNumber) for one in named if one), None)
