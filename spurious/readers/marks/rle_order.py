"""Finds out whether run-length codes go along the lines that are declared, rows or columns.

Of an oblong image the codes of the other order draw stripes, which have a longer boundary. Of a
square image they draw the transposed masks, which are shapes as good as the right ones: there only
the pictures can tell. The boundary of a mask that was drawn on its picture is an edge of that
picture more than of the others in the table, which are of the same kind and have their edges at
the same places.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from spurious.errors import DataError
from spurious.readers.marks.rle import NO_MASK, RleConvention, decode
from spurious.readers.resize import shrink_image, shrink_mask

LOOKED_AT = 40
"""Images; decoding them takes a second or two."""
_FEWEST = 12
_STRIPED = 2.0
"""Times as long as the other order's is the boundary of masks that are stripes."""
_CLEAR = 4.0
"""Standard deviations of what chance gives."""
_TIMES = 2.0
"""As much better the other order has to be: transposed, a lesion in the middle fits in part."""
_SIDE = 96
_RING = np.ones((5, 5), np.uint8)


@dataclass(frozen=True)
class CodedImage:
    """An image with codes.

    Attributes:
        codes: Of its mask, which is their union.
        shape: Height and width.
        read: Decodes it, (H, W) uint8.
    """

    codes: Sequence[str]
    shape: tuple[int, int]
    read: Callable[[], NDArray[np.uint8]]


@dataclass(frozen=True, eq=False)
class _BothMasks:
    """An image's mask in the declared and in the other order.

    Attributes:
        image: What it is of.
        boundaries: Lengths at native size, in pixels.
        small: (side, side) bool each.
    """

    image: CodedImage
    boundaries: tuple[int, int]
    small: tuple[NDArray[np.bool_], NDArray[np.bool_]]


def find_other_order(images: Sequence[CodedImage], convention: RleConvention) -> str | None:
    """Return a warning where the order that is not declared fits the images clearly better.

    Args:
        images: All images with codes; up to `LOOKED_AT` of them are judged, evenly spread.
        convention: The declared one.
    """
    order: Literal["columns", "rows"] = "rows" if convention.order == "columns" else "columns"
    orders = (convention, replace(convention, order=order))
    some = _spread([image for image in images if set(image.codes) - {NO_MASK}])
    side = min([_SIDE, *(min(image.shape) for image in some)])
    drawn = [masks for image in some if (masks := _draw_both(image, orders, side)) is not None]
    if len(drawn) < _FEWEST:
        return None
    boundaries = [sum(masks.boundaries[place] for masks in drawn) for place in (0, 1)]
    remedy = f"they may go along {order}: --set rle_order={order}"
    if boundaries[0] > _STRIPED * boundaries[1]:
        return (
            f"read along {convention.order}, the masks of {len(drawn)} images have boundaries of "
            f"{boundaries[0]} pixels, and along {order} of {boundaries[1]}, so the codes look like "
            f"stripes; {remedy}"
        )
    if boundaries[1] > _STRIPED * boundaries[0]:
        return None
    fits = _compare_with_pictures(drawn)
    if fits is None or fits[1] < max(_CLEAR, _TIMES * fits[0]):
        return None
    return (
        f"read along {order}, the masks of {len(drawn)} images follow the edges of their own "
        f"pictures clearly better than along {convention.order} ({fits[1]:.1f} and {fits[0]:.1f} "
        f"standard deviations better than those of others); {remedy}"
    )


def _spread(images: Sequence[CodedImage]) -> Sequence[CodedImage]:
    positions = np.linspace(0, len(images) - 1, min(len(images), LOOKED_AT)).round().astype(int)
    return [images[position] for position in positions]


def _draw_both(image: CodedImage, orders: Sequence[RleConvention], side: int) -> _BothMasks | None:
    """Draw an image's mask in both orders; None where it shows nothing, or does not fit."""
    masks = []
    for order in orders:
        try:
            drawn = [decode(code, *image.shape, order)[0] for code in image.codes]
        except DataError:  # loading reports it
            return None
        masks.append(np.asarray(np.logical_or.reduce(drawn), bool))
    if not masks[0].any() or masks[0].all():
        return None
    boundaries = (_measure_boundary(masks[0]), _measure_boundary(masks[1]))
    small = (shrink_mask(masks[0], side, side), shrink_mask(masks[1], side, side))
    return _BothMasks(image, boundaries, small)


def _measure_boundary(mask: NDArray[np.bool_]) -> int:
    """Return how many pairs of neighbouring pixels differ."""
    return sum(int(np.count_nonzero(np.diff(mask, axis=axis))) for axis in (0, 1))


def _compare_with_pictures(drawn: Sequence[_BothMasks]) -> tuple[float, float] | None:
    """Return how much better masks of either order fit their own pictures than those of others.

    Returns:
        Both in standard deviations of a random assignment of masks to pictures; None where too few
        pictures can be read.
    """
    pictures, held = [], []
    for masks in drawn:
        side = masks.small[0].shape[0]
        with suppress(DataError):  # loading reports it
            pictures.append(shrink_image(masks.image.read(), side, side).astype(np.float64))
            held.append(masks)
    if len(pictures) < _FEWEST:
        return None
    declared, other = (_score_own([of.small[place] for of in held], pictures) for place in (0, 1))
    return declared, other


def _score_own(
    masks: Sequence[NDArray[np.bool_]], pictures: Sequence[NDArray[np.float64]]
) -> float:
    """Return by how many standard deviations masks show more contrast on their own pictures.

    Over all assignments of masks to pictures the sum of a matrix's entries has a known mean and
    variance (Hoeffding 1951).
    """
    rings = [_find_rings(mask) for mask in masks]
    contrasts = np.array(
        [
            [abs(float(picture[inner].mean() - picture[outer].mean())) for picture in pictures]
            for inner, outer in rings
            if inner.any() and outer.any()
        ]
    )
    kept = [bool(inner.any() and outer.any()) for inner, outer in rings]
    contrasts = contrasts.reshape(-1, len(pictures))[:, kept]
    if len(contrasts) < _FEWEST:
        return 0.0
    contrasts /= np.maximum(contrasts.mean(axis=0), 1e-9)
    centred = contrasts - contrasts.mean(0) - contrasts.mean(1)[:, None] + contrasts.mean()
    variance = float((centred**2).sum()) / (len(centred) - 1)
    return float(np.trace(centred)) / math.sqrt(variance) if variance else 0.0


def _find_rings(mask: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the pixels within 2 of a mask's boundary: those of the mask, and the others."""
    bits = mask.astype(np.uint8)
    inner = mask & ~cv2.erode(bits, _RING).astype(bool)
    outer = cv2.dilate(bits, _RING).astype(bool) & ~mask
    return inner, outer
