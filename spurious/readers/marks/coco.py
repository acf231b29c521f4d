"""Draws the annotations of an image that a COCO file lists, see `coco_files`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from spurious.errors import DataError
from spurious.readers.marks.coco_shapes import draw_shape
from spurious.readers.marks.drawing import Drawing

_log = logging.getLogger(__name__)
_NO_WARNING = 1.0
"""Pixels past the border that tools write for shapes which end at it."""


@dataclass(frozen=True)
class CocoImage:
    """An image of the file with what it draws.

    Attributes:
        name: `file_name`, with slashes and without a leading `./`.
        size: Height and width as the file states them; None where it does not.
        shapes: `id`, `segmentation` and `bbox` of the annotations.
        masks: Whether a mask is known where no shape is drawn.
    """

    name: str
    size: tuple[int, int] | None
    shapes: tuple[Mapping[str, Any], ...]
    masks: bool


def draw_coco(image: CocoImage, height: int, width: int) -> Drawing:
    """Draw all annotations of an image.

    Args:
        image: An entry of `read_coco`.
        height: Rows of the image itself.
        width: Its columns.

    Returns:
        The union of the masks, and a box of every annotation. The mask is None where an annotation
        is a box alone, and on an image without annotations where the whole file has boxes alone.

    Raises:
        DataError: The file states another size, or an annotation is broken or outside the image.
    """
    if image.size not in (None, (height, width)):
        raise DataError(
            f"COCO lists {image.name} with {image.size[0]} x {image.size[1]} pixels, and the image "
            f"has {height} x {width}; annotate the images themselves, not copies of another size"
        )
    mask = np.zeros((height, width), bool) if image.masks else None
    boxes = [np.zeros((0, 4))]
    for shape in image.shapes:
        where = f"COCO annotation {shape['id']} of {image.name}"
        try:
            drawing, past = draw_shape(shape, height, width)
        except DataError as error:
            raise DataError(f"{where}: {error}") from error
        if past > _NO_WARNING:
            _log.warning("%s goes %.1f pixels past the image; clipped", where, past)
        boxes.append(drawing.boxes)
        mask = None if mask is None or drawing.mask is None else mask | drawing.mask
    return Drawing(mask, np.concatenate(boxes))
