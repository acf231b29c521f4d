"""Finds images that look alike in different splits: copies, resized or compressed again.

Hashes tell which pairs to look at, thumbnails whether these are copies.

Source: difference hashes as in N. Krawetz, "Kind of Like That" (2013), with 24 x 24 bits: films of
different patients resemble each other too much for 8 x 8.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 24
HASH_BYTES = SIDE * SIDE // 8
NEAR = 90
"""Bits of 576 in which two images may differ that are compared by their thumbnails."""
THUMBNAIL = 32
"""Side of the thumbnails, in pixels."""
ALIKE = 0.98
"""Correlation of two thumbnails' details from which on images are copies.

Resizing and compressing hardly move it from 1; films of different patients stay well below, also
those whose hashes are near.
"""
_DETAIL = 2.0
"""Sigma, in pixels of the thumbnail, of the Gaussian filter that leaves out the details."""

_ROWS = 2048
"""Images that are compared with as many of other splits at a time."""
_TELLING = range(SIDE, SIDE * SIDE - SIDE)
"""Set bits of a hash that says something: all flat images have the same."""


@dataclass(frozen=True)
class NearPair:
    """Two images of different splits that look alike, and in how many bits their hashes differ."""

    first: str
    second: str
    distance: int


def make_fingerprint(image: NDArray[Any]) -> bytes:
    """Return an image's hash, and its thumbnail, grey, one byte a pixel.

    A bit of the hash says whether the image brightens rightwards in one of 24 x 24 places.

    Args:
        image: (H, W, C) uint8, uint16 or float32; below 25 pixels a side its hash says little.
    """
    small = np.ascontiguousarray(image)
    while min(small.shape[:2]) >= 8 * SIDE:  # halving is ten times faster than any other ratio
        height, width = (side // 2 for side in small.shape[:2])
        even = small[: 2 * height, : 2 * width]
        small = cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA)
    tiny = _shrink(small, SIDE + 1, SIDE)
    thumbnail = _shrink(small, THUMBNAIL, THUMBNAIL)
    dark, bright = float(thumbnail.min()), float(thumbnail.max())
    grey = np.rint((thumbnail - dark) * (255.0 / ((bright - dark) or 1.0))).astype(np.uint8)
    return np.packbits(tiny[:, 1:] > tiny[:, :-1]).tobytes() + grey.tobytes()


def _shrink(image: NDArray[Any], width: int, height: int) -> NDArray[np.float32]:
    """Return the mean over channels of an image at another size, (height, width)."""
    resized = cv2.resize(image.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(resized.reshape(height, width, -1).mean(axis=2))


def find_near_pairs(
    prints: Mapping[str, bytes], splits: Mapping[str, str], most: int = 1000
) -> tuple[int, list[NearPair]]:
    """Find the pairs of images of different splits that are copies by their fingerprints.

    All pairs of hashes are compared, as products of matrices: 100,000 images take a minute on two
    cores.

    Args:
        prints: Fingerprint by sample id, see `make_fingerprint`.
        splits: Split by sample id.
        most: Pairs that are returned.

    Returns:
        How many there are, and up to `most` of them by distance, then ids; the split of the first
        image comes first in the alphabet.
    """
    of_split: dict[str, list[str]] = {}
    for sample_id in sorted(prints):
        if int.from_bytes(prints[sample_id][:HASH_BYTES]).bit_count() in _TELLING:
            of_split.setdefault(splits[sample_id], []).append(sample_id)
    names, count = sorted(of_split), 0
    pairs: list[NearPair] = []
    for number, name in enumerate(names):
        ids = of_split[name]
        later_ids = [other for later in names[number + 1 :] for other in of_split[later]]
        for first in range(0, len(ids), _ROWS):
            some = ids[first : first + _ROWS]
            signs = _signs(some, prints)
            for second in range(0, len(later_ids), _ROWS):
                some_later = later_ids[second : second + _ROWS]
                agree = (
                    signs @ _signs(some_later, prints).T
                )  # bits that agree, less those that do not
                candidates = np.argwhere(agree >= SIDE * SIDE - 2 * NEAR)
                near = _confirm(candidates, some, some_later, prints)
                count += len(near)
                for a, b in near[: most - len(pairs)].tolist():
                    distance = (SIDE * SIDE - int(agree[a, b])) // 2
                    pairs.append(NearPair(some[a], some_later[b], distance))
    return count, sorted(pairs, key=lambda pair: (pair.distance, pair.first, pair.second))


def _signs(ids: list[str], prints: Mapping[str, bytes]) -> NDArray[np.float32]:
    """Return (n, 576) float32: +1 for a set bit, -1 for another."""
    hashes = b"".join(prints[i][:HASH_BYTES] for i in ids)
    packed = np.frombuffer(hashes, np.uint8).reshape(len(ids), -1)
    return np.unpackbits(packed, axis=1) * np.float32(2) - np.float32(1)


def _confirm(
    pairs: NDArray[np.int64], firsts: list[str], seconds: list[str], prints: Mapping[str, bytes]
) -> NDArray[np.int64]:
    """Keep the pairs, (n, 2) numbers within two lists of ids, whose thumbnails agree in detail."""
    details = [
        {at: _details(prints[ids[at]]) for at in np.unique(column).tolist()}
        for ids, column in ((firsts, pairs[:, 0]), (seconds, pairs[:, 1]))
    ]
    alike = [bool(details[0][a] @ details[1][b] >= ALIKE) for a, b in pairs.tolist()]
    return pairs[np.array(alike, dtype=bool)]


def _details(fingerprint: bytes) -> NDArray[np.float32]:
    """Return what of a thumbnail a filter takes away, as a unit vector, (1024,) float32."""
    grey = np.frombuffer(fingerprint[HASH_BYTES:], np.uint8).reshape(THUMBNAIL, THUMBNAIL)
    image = grey.astype(np.float32)
    detail = (image - cv2.GaussianBlur(image, (0, 0), _DETAIL)).ravel()
    detail -= detail.mean()
    return np.asarray(detail / (np.linalg.norm(detail) or np.float32(1)))
