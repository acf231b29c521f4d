"""Reader of any team's own folder of images."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from spurious.config.folder import FolderOptions, parse_directions
from spurious.data.classes import ImageClass
from spurious.data.outlines import measure_outline
from spurious.data.records import Record
from spurious.data.specificity import count_components
from spurious.errors import DataError
from spurious.readers.base import FolderReader
from spurious.readers.folder.folder_index import FolderIndex, read_folder
from spurious.readers.folder.marks import Drawn, draw_marks, fill_normal
from spurious.readers.images import NativeImage, read_image
from spurious.readers.issues import ReaderIssues
from spurious.readers.marks.boxes import stage_boxes
from spurious.readers.resize import shrink_image, shrink_mask
from spurious.readers.windows import apply_window, count_unused_bits

_log = logging.getLogger(__name__)


class Folder(FolderReader[FolderOptions, FolderIndex]):
    """A folder of PNG, JPEG, TIFF, BMP or DICOM images as a record source, see docs/data.md.

    - A table has a row per image: CSV, TSV, JSON Lines or Parquet, also in the layout of Hugging
      Face's ImageFolder. Without one, folders are splits and classes (`train/melanoma/x.jpg`).
    - A mask or box that nobody drew (a blank cell, no file) differs from one that is empty.
    - Patients are stored as salted hashes, see `patients.hash_patient`.
    - The image is uint8, a square, grey or RGB, upright by its EXIF orientation. Values of more
      than 8 bits are windowed by the option `window`.
    """

    name = "folder"

    @property
    def attribute_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """Spurious attributes of the table; reads the index."""
        return tuple(sorted(next(iter(self.contents.entries.values())).attributes))

    @property
    def classes(self) -> Sequence[ImageClass]:  # type: ignore[override]
        """Classes, where the options ask for them; reads the index."""
        return self.contents.classes if self.options.classes == "all" else ()

    @property
    def declared_directions(self) -> Mapping[str, int]:  # type: ignore[override]
        """Directions that the options declare."""
        return parse_directions(self.options.directions) or {}

    @property
    def partial(self) -> bool:  # type: ignore[override]
        """Whether an image lacks a mask or has boxes of its own; reads the index."""
        return self.contents.has_boxes or not all(
            marks.has_mask or self._is_filled(self.contents, image)
            for image, marks in self.contents.marks.items()
        )

    def read_index(self, issues: ReaderIssues) -> FolderIndex:
        """Join files, tables and marks."""
        return read_folder(self.folder, self.options, issues)

    def _is_filled(self, contents: FolderIndex, image: str) -> bool:
        """Return whether an image without a mask counts as drawn and empty."""
        filled = self.options.normal_images == "empty" and contents.entries[image].label == 0
        return filled and contents.has_masks

    def read_record(self, sample_id: str, path: Path) -> Record:
        """Decode, shrink and return one record; image (size, size, 1 or 3) uint8.

        Raises:
            DataError: A damaged file, another checksum, or a mask or box that does not fit; names
                the file.
        """
        try:
            return self._read(sample_id, path)
        except DataError as error:
            if str(self.folder) in str(error):
                raise
            where = self.contents.entries[sample_id].where  # a code or box is of its table
            raise DataError(f"{path}, {where}: {error}") from error

    def _read(self, sample_id: str, path: Path) -> Record:
        contents, options = self.contents, self.options
        entry, marks = contents.entries[sample_id], contents.marks[sample_id]
        _check_sum(path, entry.checksum)
        native = read_image(path)
        drawn = draw_marks(marks, native.header, options, sample_id)
        if options.normal_images == "empty" and entry.label == 0:
            shape = native.header.shape
            drawn = fill_normal(drawn, shape, contents.has_masks, contents.has_boxes)
        if entry.label == 1 and drawn.mask is not None and not drawn.mask.any():
            _log.warning(
                "%s: label 1 with a mask that is drawn and empty; look whether it was forgotten",
                sample_id,
            )
        pixels = to_channels(_to_bytes(native, options.window, path), contents.channels)
        abnormalities = 0 if drawn.boxes is None else len(drawn.boxes)
        if drawn.mask is not None:
            abnormalities = count_components(drawn.mask)
        image, mask, boxes = _stage(pixels, drawn, options)
        return Record(
            sample_id=sample_id,
            patient_id=entry.patient or sample_id,
            split=entry.split,
            label=entry.label,
            image=image,
            mask=mask,
            abnormalities=abnormalities,
            attributes=entry.attributes,
            boxes=boxes,
            covariates=entry.covariates,
            outline=None if drawn.mask is None else measure_outline(drawn.mask),
            class_number=entry.class_number,
        )


def _check_sum(path: Path, expected: str | None) -> None:
    if expected is None:
        return
    kind = "sha256" if len(expected) == 64 else "md5"
    held = hashlib.new(kind, path.read_bytes(), usedforsecurity=False).hexdigest()
    if held != expected:
        raise DataError(
            f"{path}: its {kind} is {held}, and the table has {expected}: the file is damaged or "
            "another one; restore it"
        )


def _to_bytes(native: NativeImage, window: str, path: Path) -> NDArray[np.uint8]:
    bits = native.header.bits
    if window == "full" and (unused := count_unused_bits(native.values, bits)):
        _log.warning(
            "%s: %d bits of which the upper %d are not used, so the image is dark; choose a "
            "window: --set window=percentile, or =0/%d",
            path,
            bits,
            unused,
            2 ** (bits - unused) - 1,
        )
    pixels = apply_window(native.values, bits, window)
    return np.asarray(255 - pixels) if native.inverted else pixels


def to_channels(pixels: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Return grey (H, W) or RGB (H, W, 3) pixels in 1 or 3 channels; luma by ITU-R BT.601."""
    if channels == 1 and pixels.ndim == 3:
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)
    if channels == 3 and pixels.ndim == 2:
        return np.repeat(pixels[..., None], 3, axis=2)
    return pixels


def _stage(
    pixels: NDArray[np.uint8], drawn: Drawn, options: FolderOptions
) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None, NDArray[np.int32] | None]:
    """Return image, mask and boxes at the staged size, after padding where it is chosen."""
    side, mask, boxes = options.image_size, drawn.mask, drawn.boxes
    if options.aspect == "pad":
        height, width = pixels.shape[:2]
        long = max(height, width)
        top, left = (long - height) // 2, (long - width) // 2
        pad = ((top, long - height - top), (left, long - width - left))
        pixels = np.pad(pixels, (*pad, *((0, 0),) * (pixels.ndim - 2)))
        mask = None if mask is None else np.pad(mask, pad)
        boxes = None if boxes is None else boxes + np.array([left, top, left, top])
    shape = (pixels.shape[0], pixels.shape[1])
    image = shrink_image(pixels, side, side)
    return (
        image if image.ndim == 3 else image[..., None],
        None if mask is None else shrink_mask(mask, side, side),
        None if boxes is None else stage_boxes(boxes, shape, (side, side)),
    )
