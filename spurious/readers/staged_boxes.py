"""Boxes of one film at the staged size."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spurious.errors import DataError
from spurious.readers.marks.boxes import clip_box, stage_boxes

_log = logging.getLogger(__name__)


def fit_boxes(
    boxes: Sequence[NDArray[np.float64]], shape: tuple[int, int], side: int, where: str
) -> NDArray[np.int32]:
    """Cut boxes at their film's borders, with a warning, and scale them to a square of `side`.

    Args:
        boxes: (4,) each, in native pixels.
        shape: Native height and width.
        side: Of the staged image.
        where: Table and film, for messages.

    Returns:
        (k, 4) int32; (0, 4) for a film that was looked at without a finding.

    Raises:
        DataError: A box outside its film.
    """
    inside = np.zeros((len(boxes), 4))
    for place, box in enumerate(boxes):
        try:
            inside[place], past = clip_box(box, *shape)
        except DataError as error:
            raise DataError(f"{where}: {error}") from error
        if past >= 1:
            _log.warning("%s: a box goes %g pixels past the border; clipped", where, past)
    return stage_boxes(inside, shape, (side, side))
