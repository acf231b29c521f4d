"""Draws annotations of COCO: polygons, run-length masks, boxes.

Polygons become pixels as pycocotools draws them. It clips whatever leaves the image and draws
nothing of a polygon below a pixel, so both are looked at here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spurious.errors import DataError
from spurious.readers.marks.boxes import FARTHEST, clip_box, make_box
from spurious.readers.marks.coco_rle import decode_coco_rle
from spurious.readers.marks.drawing import Drawing, bound_mask

_THINNEST = 1e-6
"""Pixels; a polygon may be a line, which has no box."""


def check_shape(annotation: Mapping[str, Any]) -> None:
    """Check what an annotation draws, as far as that goes without the image's size.

    Raises:
        DataError: Neither polygons nor run-length mask nor box, or broken ones.
    """
    shape = annotation.get("segmentation")
    if isinstance(shape, list) and shape:
        read_polygons(shape)
    elif isinstance(shape, dict):
        if not {"size", "counts"} <= shape.keys():
            raise DataError("its segmentation has no 'size' and 'counts'")
    elif shape is None or shape == []:
        _read_bbox(annotation.get("bbox"))
    else:
        raise DataError("its segmentation is neither polygons nor a run-length mask")


def draw_shape(annotation: Mapping[str, Any], height: int, width: int) -> tuple[Drawing, float]:
    """Draw one annotation; its box is that of its segmentation, and `bbox` where it has none.

    Returns:
        Mask (None of a box) and (k, 4) boxes, k of 0 or 1; and by how many pixels it went past a
        border of the image at most.

    Raises:
        DataError: Broken, of another size, or outside the image.
    """
    shape = annotation.get("segmentation")
    if isinstance(shape, dict):
        mask = decode_coco_rle(shape, height, width)
        box = bound_mask(mask)[None] if mask.any() else np.zeros((0, 4))
        return Drawing(mask, box), 0.0
    if shape:
        return draw_polygons(read_polygons(shape), height, width)
    inside, past = clip_box(_read_bbox(annotation.get("bbox")), height, width)
    return Drawing(None, inside[None]), past


def draw_polygons(
    polygons: Sequence[NDArray[np.float64]], height: int, width: int
) -> tuple[Drawing, float]:
    """Draw the union of polygons, and the box around all of them.

    A polygon that covers no pixel's centre marks the pixel in its middle, so that it stays.

    Args:
        polygons: One or more, each (n, 2) float64, x and y in pixels from the top left corner.
        height: Rows of the image.
        width: Columns of the image.

    Returns:
        Mask and (1, 4) boxes, and by how many pixels a vertex is outside at most.

    Raises:
        DataError: A polygon lies outside the image.
    """
    from pycocotools import mask as coco

    boxes, past = [], 0.0
    for polygon in polygons:
        low = polygon.min(axis=0)
        high = np.maximum(polygon.max(axis=0), low + _THINNEST)
        inside, over = clip_box(np.concatenate([low, high]), height, width)
        boxes.append(inside)
        past = max(past, over)
    codes = coco.frPyObjects([polygon.ravel().tolist() for polygon in polygons], height, width)
    merged = coco.merge(codes)
    code = {"size": merged["size"], "counts": merged["counts"].decode()}
    mask = decode_coco_rle(code, height, width).copy()
    for box, area in zip(boxes, coco.area(codes).tolist(), strict=True):
        if not area:
            mask[_middle(box[1::2], height), _middle(box[0::2], width)] = True
    bounds = np.stack(boxes)
    around = np.concatenate([bounds[:, :2].min(axis=0), bounds[:, 2:].max(axis=0)])
    return Drawing(mask, around[None]), past


def read_polygons(shapes: Any) -> list[NDArray[np.float64]]:
    """Return the polygons of `[[x, y, x, y, ...], ...]`, each (n, 2) float64.

    Raises:
        DataError: Not such lists, fewer than three vertices, or numbers that are not finite.
    """
    if not isinstance(shapes, list):
        raise DataError("its segmentation is not a list of polygons")
    polygons = []
    for shape in shapes:
        if not isinstance(shape, list) or not all(type(value) in (int, float) for value in shape):
            raise DataError("a polygon is not a list of numbers 'x, y, x, y, ...'")
        if len(shape) < 6 or len(shape) % 2:
            raise DataError(
                f"a polygon has {len(shape)} numbers; expected 6 or more and an even number, x and "
                "y of every vertex"
            )
        if not all(abs(value) <= FARTHEST for value in shape):
            raise DataError("a polygon has a vertex that is not finite, or far from any image")
        polygons.append(np.array(shape, np.float64).reshape(-1, 2))
    return polygons


def _middle(edges: NDArray[np.float64], side: int) -> int:
    return min(int(edges.mean()), side - 1)


def _read_bbox(bbox: Any) -> NDArray[np.float64]:
    if not isinstance(bbox, list) or len(bbox) != 4:
        raise DataError("it has neither a segmentation nor a 'bbox' of four numbers")
    if not all(type(value) in (int, float) and abs(value) <= FARTHEST for value in bbox):
        raise DataError("its 'bbox' has something else than numbers of an image's size")
    return make_box(bbox, "x y width height")
