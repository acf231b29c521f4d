"""What is drawn on each image: mask files, run-length codes, COCO annotations, boxes."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pydicom
from numpy.typing import NDArray

from spurious.config.folder import FolderOptions
from spurious.errors import DataError
from spurious.readers.images import ImageHeader, read_header, turn_upright
from spurious.readers.issues import ReaderIssues
from spurious.readers.marks.boxes import BoxForm, clip_box, make_box, read_box
from spurious.readers.marks.coco import CocoImage, draw_coco
from spurious.readers.marks.dicom_seg import read_segments
from spurious.readers.marks.mask_files import read_mask
from spurious.readers.marks.nifti import read_nifti_mask
from spurious.readers.marks.rle import RleConvention, decode, find_runs

_log = logging.getLogger(__name__)
OBJECTS: Literal["objects"] = "objects"
"""Form of boxes in Hugging Face's column of that name."""

_NIFTI = (".nii", ".nii.gz")
_SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""Classes of DICOM Segmentations and of their label maps."""
_PAST = 1.0
"""Pixels past a border that are clipped without a word."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Marks:
    """What was drawn on one image, not decoded yet.

    Attributes:
        files: Mask files, whose union counts.
        codes: Run-length codes, likewise.
        coco: Its entry in a COCO file.
        boxes: (k, 4) float64 in native pixels; None where nobody drew boxes.
    """

    files: Sequence[Path] = ()
    codes: Sequence[str] = ()
    coco: CocoImage | None = None
    boxes: NDArray[np.float64] | None = None

    @property
    def has_mask(self) -> bool:
        """Whether a mask is drawn, empty or not."""
        if self.files or self.codes:
            return True
        coco = self.coco
        return coco is not None and coco.masks and all(s["segmentation"] for s in coco.shapes)

    @property
    def has_boxes(self) -> bool:
        """Whether boxes are drawn that do not follow from the mask."""
        return self.boxes is not None or (self.coco is not None and not self.has_mask)


@dataclass(frozen=True, eq=False)
class Drawn:
    """Marks of one image at its native size; None where nobody drew.

    Attributes:
        mask: (H, W) bool.
        boxes: (k, 4) float64, x0, y0, x1, y1.
    """

    mask: NDArray[np.bool_] | None
    boxes: NDArray[np.float64] | None


def rle_convention(options: FolderOptions) -> RleConvention | None:
    """Return the declared convention of run-length codes; None where there are none."""
    if options.rle_starts is None or options.rle_base is None or options.rle_order is None:
        return None
    base: Literal[0, 1] = 1 if options.rle_base else 0
    return RleConvention(options.rle_starts, base, options.rle_order)


def read_codes(
    cells: Sequence[tuple[str, str]], convention: RleConvention, issues: ReaderIssues
) -> Sequence[str]:
    """Return the codes of an image that are not blank; (where, code) of each row.

    Codes that cannot be read go to `issues`.
    """
    codes = []
    for where, code in cells:
        if not code:
            continue
        try:
            find_runs(code, convention)
        except DataError as error:
            issues.add(f"{where}: {error}")
        codes.append(code)
    return codes


def read_boxes(
    rows: Sequence[tuple[str, Sequence[str]]],
    form: BoxForm | Literal["objects"],
    issues: ReaderIssues,
) -> NDArray[np.float64] | None:
    """Return an image's boxes, (k, 4) float64; None where all cells are blank.

    Args:
        rows: Where, and the cells of a box.
        form: What the numbers are.
        issues: Receives what is not a box.
    """
    boxes: list[NDArray[np.float64]] = []
    drawn = False
    for where, cells in rows:
        try:
            held = _read_objects(cells[0]) if form == OBJECTS else [read_box(cells, form)]
        except DataError as error:
            issues.add(f"{where}: {error}")
            continue
        drawn |= held is not None
        boxes += [box for box in held or () if box is not None]
    if boxes:
        return np.stack(boxes)
    return np.zeros((0, 4)) if drawn and form == OBJECTS else None


def _read_objects(cell: str) -> list[NDArray[np.float64] | None] | None:
    """Return the boxes of Hugging Face's `objects`, x, y, width, height; None where it is blank.

    Raises:
        DataError: Not an object with a list `bbox` of four numbers each.
    """
    if not cell:
        return None
    try:
        held = json.loads(cell)["bbox"]
        numbers = [[float(number) for number in box] for box in held]
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"objects is '{cell[:80]}'; expected an object with bbox, a list of boxes"
        ) from error
    if any(len(box) != 4 for box in numbers):
        raise DataError(f"a box of objects has not four numbers ({cell[:80]})")
    return [make_box(box, "x y width height") for box in numbers]


def draw_marks(marks: Marks, header: ImageHeader, options: FolderOptions, where: str) -> Drawn:
    """Draw what an image has at its native, upright size.

    A mask of the upright size, or of its aspect, counts as upright. One that has the size before
    turning alone is turned as its image is.

    Args:
        marks: What the image has.
        header: Of the image.
        options: The reader's options.
        where: The image's name, for warnings.

    Raises:
        DataError: A damaged mask, one of another size, or marks outside the image.
    """
    height, width = header.shape
    masks = [_read_file(path, header, options) for path in marks.files]
    convention = rle_convention(options)
    if convention is not None:
        masks += [_read_code(code, header, convention, where) for code in marks.codes]
    boxes = None if marks.boxes is None else _clip(marks.boxes, height, width, where)
    if marks.coco is not None:
        as_stored = marks.has_mask and marks.coco.size == header.stored != header.shape
        drawing = draw_coco(marks.coco, *(header.stored if as_stored else header.shape))
        if drawing.mask is None:
            boxes = _clip(drawing.boxes, height, width, where)
        elif as_stored:
            masks.append(np.asarray(turn_upright(drawing.mask, header.orientation), bool))
        else:
            masks.append(drawing.mask)
    turned = header.orientation != 1 and header.shape == header.stored
    if masks and (turned or (header.orientation != 1 and marks.codes)):
        _log.warning(
            "%s: turned upright by EXIF orientation %d; its mask is taken as upright: look at both",
            where,
            header.orientation,
        )
    mask = np.logical_or.reduce(masks) if masks else None
    return Drawn(mask, boxes)


def _read_file(path: Path, header: ImageHeader, options: FolderOptions) -> NDArray[np.bool_]:
    values = [int(value) for value in (options.mask_values or "").split(",") if value]
    if path.name.lower().endswith(_NIFTI):
        return read_nifti_mask(path, header.shape, values=values)
    mask_header = read_header(path)
    if mask_header.kind == "DICOM" and _is_segmentation(path):
        image = header.sop_uid or None
        mask = read_segments(path, header.shape, image=image, segments=values)
        if mask is None:
            raise DataError(f"{path}: it refers to other images than this one; correct its name")
        return mask
    if mask_header.shape == header.stored != header.shape:
        mask = read_mask(path, header.stored, values=values)
        return np.asarray(turn_upright(mask, header.orientation), bool)
    return read_mask(path, header.shape, values=values)


def _is_segmentation(path: Path) -> bool:
    header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID"])
    return header.get("SOPClassUID") in _SEGMENTATIONS


def _read_code(
    code: str, header: ImageHeader, convention: RleConvention, where: str
) -> NDArray[np.bool_]:
    mask, excess = decode(code, *header.shape, convention)
    if excess:
        _log.warning("%s: a run goes %d pixels past the last pixel; clipped", where, excess)
    return mask


def _clip(boxes: NDArray[np.float64], height: int, width: int, where: str) -> NDArray[np.float64]:
    clipped = [clip_box(box, height, width) for box in boxes]
    past = max((pixels for _, pixels in clipped), default=0.0)
    if past > _PAST:
        _log.warning("%s: a box goes %.1f pixels past the image; clipped", where, past)
    return np.stack([box for box, _ in clipped]) if clipped else np.zeros((0, 4))


def fill_normal(drawn: Drawn, shape: tuple[int, int], masks: bool, boxes: bool) -> Drawn:
    """Return a normal image's marks where readers looked at all of them: what is missing is empty.

    Args:
        drawn: What the image has.
        shape: Its height and width.
        masks: Whether the dataset has masks.
        boxes: Whether it has boxes.
    """
    mask = np.zeros(shape, bool) if drawn.mask is None and masks else drawn.mask
    empty = drawn.boxes is None and boxes and drawn.mask is None
    return Drawn(mask, np.zeros((0, 4)) if empty else drawn.boxes)
