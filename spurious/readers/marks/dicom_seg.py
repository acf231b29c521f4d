"""Reads the segments that a DICOM Segmentation draws on one image.

A frame belongs to the image that it names by ReferencedSOPInstanceUID; one that names none is of
the only image that the object refers to. An image that the object refers to, but of which it holds
no frame, was looked at and has nothing of the segment: writers leave out empty frames.

Frames are decoded by pydicom: highdicom (0.28) refuses segmentations of films, its own too, whose
frames have no pixel spacing.

Source: DICOM PS3.3 A.51 (Segmentation IOD) and C.8.20 (its modules), PS3.5 8.1.1 (single bits).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.encaps import generate_fragments
from pydicom.pixels.utils import pixel_array
from pydicom.uid import JPEG2000, JPEG2000Lossless

from spurious.errors import DataError
from spurious.readers.joins import name_some
from spurious.readers.jpeg2000 import check_jpeg2000
from spurious.readers.marks.dicom_seg_header import (
    SegmentFile,
    describe_segments,
    find_sources,
    name_file,
    read_dataset,
)


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
    with name_file(path):
        dataset = read_dataset(path)
        held = describe_segments(dataset)
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
    largest, kind = np.zeros(held.size), str(dataset.SegmentationType)
    groups = dataset.get("PerFrameFunctionalGroupsSequence", [])
    frames = int(dataset.get("NumberOfFrames", 1))
    if len(groups) != frames:
        raise DataError(f"{len(groups)} frames are described of {frames}; restore the file")
    shared = dataset.get("SharedFunctionalGroupsSequence", [])
    for place, group in enumerate(groups):
        if not _is_on(group, shared, held, image):
            continue
        if kind != "LABELMAP" and _find_segment(group, shared) not in numbers:
            continue
        stored = _decode_frame(dataset, place)
        if kind == "LABELMAP":
            values = np.isin(stored, numbers).astype(np.float64)
        elif kind == "FRACTIONAL":
            values = stored / float(dataset.MaximumFractionalValue)
        else:
            values = stored.astype(np.float64)
        if values.max() > 1:
            raise DataError(
                "a frame has values above 1, or above MaximumFractionalValue "
                f"({dataset.get('MaximumFractionalValue')}); restore the file"
            )
        largest = np.maximum(largest, values)
    return largest


def _decode_frame(dataset: pydicom.Dataset, place: int) -> NDArray[Any]:
    """Return the stored values of a frame, (H, W); single bits need not begin at a byte."""
    height, width = int(dataset.Rows), int(dataset.Columns)
    if int(dataset.BitsAllocated) != 1 or dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        return pixel_array(dataset, index=place, raw=True)
    first = place * height * width
    held = dataset.PixelData[first // 8 : (first + height * width + 7) // 8]
    bits = np.unpackbits(np.frombuffer(held, np.uint8), bitorder="little")
    return bits[first % 8 :][: height * width].reshape(height, width)


def _is_on(
    group: pydicom.Dataset, shared: Sequence[pydicom.Dataset], held: SegmentFile, image: str
) -> bool:
    """Return whether a frame is drawn on the image; raises DataError where it does not say."""
    sources = find_sources((group, *shared)) or set(held.images)
    if len(sources) != 1:
        raise DataError(
            f"a frame names {len(sources)} images that it was drawn on; expected one: export it "
            "with references to its images (DerivationImageSequence)"
        )
    return image in sources


def _find_segment(group: pydicom.Dataset, shared: Sequence[pydicom.Dataset]) -> int | None:
    named = (one.get("SegmentIdentificationSequence") for one in (group, *shared))
    return next((int(one[0].ReferencedSegmentNumber) for one in named if one), None)
