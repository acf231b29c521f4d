"""Finds images that look alike in different splits: copies, resized or compressed again.

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
NEAR = 60
"""Bits of 576 that may differ.

Copies of phantom films at 3/4 of their size and JPEG quality 50 differ in up to 56, of phantom
lesions in 48 in the median; no two of 600 different ones in less than 79 and 105.
"""

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


def hash_image(image: NDArray[Any]) -> bytes:
    """Return HASH_BYTES of an image: in each of 24 x 24 places, whether it brightens rightwards.

    Args:
        image: (H, W, C) uint8, uint16 or float32; below 25 pixels a side its hash says little.
    """
    small = np.ascontiguousarray(image)
    while min(small.shape[:2]) >= 8 * SIDE:  # halving is ten times faster than any other ratio
        height, width = (side // 2 for side in small.shape[:2])
        even = small[: 2 * height, : 2 * width]
        small = cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA)
    tiny = (
        cv2.resize(small.astype(np.float32), (SIDE + 1, SIDE), interpolation=cv2.INTER_AREA)
        .reshape(SIDE, SIDE + 1, -1)
        .mean(axis=2)
    )
    return np.packbits(tiny[:, 1:] > tiny[:, :-1]).tobytes()


def find_near_pairs(
    hashes: Mapping[str, bytes], splits: Mapping[str, str], most: int = 1000
) -> tuple[int, list[NearPair]]:
    """Find the pairs of images of different splits whose hashes differ in NEAR bits at most.

    All pairs are compared, as products of matrices: 100,000 images take a minute on two cores.

    Args:
        hashes: Hash by sample id, see `hash_image`.
        splits: Split by sample id.
        most: Pairs that are returned.

    Returns:
        How many there are, and up to `most` of them by distance, then ids; the split of the first
        image comes first in the alphabet.
    """
    of_split: dict[str, list[str]] = {}
    for sample_id in sorted(hashes):
        if int.from_bytes(hashes[sample_id]).bit_count() in _TELLING:
            of_split.setdefault(splits[sample_id], []).append(sample_id)
    names, count = sorted(of_split), 0
    pairs: list[NearPair] = []
    for number, name in enumerate(names):
        ids = of_split[name]
        later_ids = [other for later in names[number + 1 :] for other in of_split[later]]
        for first in range(0, len(ids), _ROWS):
            some = ids[first : first + _ROWS]
            signs = _signs(some, hashes)
            for second in range(0, len(later_ids), _ROWS):
                some_later = later_ids[second : second + _ROWS]
                agree = (
                    signs @ _signs(some_later, hashes).T
                )  # bits that agree, less those that do not
                near = np.argwhere(agree >= SIDE * SIDE - 2 * NEAR)
                count += len(near)
                for a, b in near[: most - len(pairs)].tolist():
                    distance = (SIDE * SIDE - int(agree[a, b])) // 2
                    pairs.append(NearPair(some[a], some_later[b], distance))
    return count, sorted(pairs, key=lambda pair: (pair.distance, pair.first, pair.second))


def _signs(ids: list[str], hashes: Mapping[str, bytes]) -> NDArray[np.float32]:
    """Return (n, 576) float32: +1 for a set bit, -1 for another."""
    packed = np.frombuffer(b"".join(hashes[i] for i in ids), np.uint8).reshape(len(ids), -1)
    return np.unpackbits(packed, axis=1) * np.float32(2) - np.float32(1)
