"""Run-length masks of COCO: column by column, lengths of runs of 0 and 1 in turn.

Counts are a list, or text of five bits a character in which each count from the third on is the
difference to the count two before. The decoder of pycocotools believes what it reads and returns
some mask for text that was cut or changed, so counts are read and added up here.

Source: pycocotools, common/maskApi.c, rleToString and rleFrString.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spurious.errors import DataError

_FIRST, _LAST = 48, 48 + 63
_MORE, _SIGN, _BITS = 0x20, 0x10, 5
_LONGEST = 7
"""Characters of a count of 32 bits."""


def decode_coco_rle(code: Any, height: int, width: int) -> NDArray[np.bool_]:
    """Decode `{"size": [h, w], "counts": ...}` of an image of known size.

    Args:
        code: The object as JSON holds it; counts are a list of whole numbers or text.
        height: Rows of the image.
        width: Columns of the image.

    Returns:
        (height, width) bool.

    Raises:
        DataError: Not such an object, another size, or counts that are damaged.
    """
    if not isinstance(code, dict) or not {"size", "counts"} <= code.keys():
        raise DataError("run-length mask is not an object with 'size' and 'counts'")
    size, counts = code["size"], code["counts"]
    if size != [height, width]:
        raise DataError(
            f"run-length mask has size {str(size)[:60]}, and its image is {height} x {width}; "
            "expected [rows, columns] of the image"
        )
    lengths = _read_text(counts) if isinstance(counts, str) else _read_list(counts)
    total = sum(lengths)
    if total != height * width:
        raise DataError(
            f"counts of the run-length mask add up to {total} pixels instead of {height} x {width} "
            f"= {height * width}; they are cut off or damaged"
        )
    flat = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return flat.reshape(width, height).T


def _read_list(counts: Any) -> list[int]:
    if not isinstance(counts, list) or not all(type(count) is int for count in counts):
        raise DataError("counts of the run-length mask are neither text nor a list of integers")
    if any(count < 0 for count in counts):
        raise DataError("counts of the run-length mask include one below 0; they are damaged")
    return counts


def _read_text(text: str) -> list[int]:
    counts: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character)
        if not _FIRST <= code <= _LAST:
            raise DataError(
                f"counts of the run-length mask have the character {character!r}, which compressed "
                "counts do not; where a table holds them, it may have escaped them"
            )
        code -= _FIRST
        value |= (code & 0x1F) << shift
        shift += _BITS
        if code & _MORE:
            if shift >= _LONGEST * _BITS:
                raise DataError("counts of the run-length mask hold a number above 32 bits")
            continue
        if code & _SIGN:
            value -= 1 << shift
        count = value + (counts[-2] if len(counts) > 2 else 0)
        if count < 0:
            raise DataError(
                f"counts of the run-length mask give a run of {count} pixels; they are damaged"
            )
        counts.append(count)
        value = shift = 0
    if shift:
        raise DataError("counts of the run-length mask end inside a number; they are cut off")
    return counts
