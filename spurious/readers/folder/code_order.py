"""Warns of run-length codes whose order is declared otherwise than the images show."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from spurious.config.folder import FolderOptions
from spurious.readers.folder.marks import Marks, rle_convention
from spurious.readers.grey_films import read_grey
from spurious.readers.images import ImageHeader
from spurious.readers.marks.rle_order import CodedImage, find_other_order

_log = logging.getLogger(__name__)


def warn_of_other_order(
    paths: Mapping[str, Path],
    marks: Mapping[str, Marks],
    headers: Mapping[str, ImageHeader],
    options: FolderOptions,
) -> None:
    """Warn where codes fit the images better along the lines that are not declared.

    Args:
        paths: Image files by id.
        marks: What is drawn on each.
        headers: Of the images that can be read.
        options: The reader's options, with the declared order.
    """
    convention = rle_convention(options)
    if convention is None:
        return
    coded = [
        CodedImage(
            held.codes, headers[image].shape, partial(read_grey, paths[image], options.window)
        )
        for image, held in sorted(marks.items())
        if held.codes and image in headers
    ]
    if odd := find_other_order(coded, convention):
        _log.warning("column %s: %s; look at some masks on their images", options.rle, odd)
