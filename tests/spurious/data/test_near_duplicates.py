"""Near copies across splits: planted ones are found, different films are not taken for them."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from spurious.data.near_duplicates import (
    HASH_BYTES,
    find_near_pairs,
    make_fingerprint,
)
from spurious.generators.chest import chest_phantom
from spurious.generators.skin import skin_phantom

SIDE, PLANTED = 112, 20


def draw_films() -> list[NDArray[np.uint8]]:
    """Draw 60 chest films (of 600 of 256 pixels, none is taken for another either)."""
    config = chest_phantom.ChestPhantom(n_train=40, n_val=10, n_test=10, size=SIDE, seed=3)
    cases = chest_phantom.draw_cases(config)
    return [chest_phantom.render_case(config, case)[0] for case in cases]


def draw_lesions() -> list[NDArray[np.uint8]]:
    """Draw 60 pictures of lesions, as squares."""
    config = skin_phantom.SkinPhantom(n_train=40, n_val=10, n_test=10, width=256, seed=3)
    pictures = [skin_phantom.render_case(config, c)[0] for c in skin_phantom.draw_cases(config)]
    return [cv2.resize(p, (192, 192), interpolation=cv2.INTER_AREA) for p in pictures]


def copy_picture(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Shrink to 7/8, compress as a JPEG of quality 75, and stage at the first size."""
    height, width = pixels.shape[:2]
    file = io.BytesIO()
    small = Image.fromarray(pixels).resize((width * 7 // 8, height * 7 // 8))
    small.save(file, "JPEG", quality=75)
    return cv2.resize(np.asarray(Image.open(file)), (width, height))


@pytest.mark.parametrize("draw", [draw_films, draw_lesions])
def test_planted_copies_are_found_and_others_are_not(draw) -> None:  # type: ignore[no-untyped-def]
    """Copies of training images in test are named with their first; others give no alarm."""
    pictures = draw()
    n = len(pictures)
    copies = [copy_picture(picture) for picture in pictures[:PLANTED]]
    images = {f"{i:04}": p.reshape(*p.shape[:2], -1) for i, p in enumerate([*pictures, *copies])}
    fingerprints = {sample_id: make_fingerprint(image) for sample_id, image in images.items()}
    splits = {i: "train" if int(i) < n * 2 // 3 else "test" for i in images}
    count, pairs = find_near_pairs(fingerprints, splits)
    expected = {(f"{n + i:04}", f"{i:04}") for i in range(PLANTED)}
    assert {(pair.first, pair.second) for pair in pairs} == expected
    assert count == PLANTED
    assert [pair.distance for pair in pairs] == sorted(pair.distance for pair in pairs)
    count, some = find_near_pairs(fingerprints, splits, most=5)
    assert (count, len(some)) == (PLANTED, 5)
    assert find_near_pairs(fingerprints, dict.fromkeys(images, "train")) == (0, [])


def test_flat_images_are_not_taken_for_copies() -> None:
    """Black films all look alike; every number type has a hash."""
    black = {str(i): make_fingerprint(np.zeros((40, 40, 1), np.uint16)) for i in range(3)}
    assert find_near_pairs(black, {"0": "train", "1": "val", "2": "test"}) == (0, [])
    ramp = np.random.default_rng(0).normal(size=(300, 211, 3))
    dark, bright = (make_fingerprint(x.astype(np.float32)) for x in (ramp, 1 + ramp))
    assert dark[:HASH_BYTES] == bright[:HASH_BYTES]


def test_equal_hashes_alone_are_no_copies() -> None:
    """Images that brighten in the same places, by other amounts; and one that is a copy."""
    rng = np.random.default_rng(5)
    steps = rng.normal(size=(24, 25))
    same = np.cumsum(steps, axis=1)
    other = np.cumsum(np.sign(steps) * rng.exponential(size=steps.shape), axis=1)
    images = {"a": same, "b": other, "c": 3 * same + 7}
    pictures = {i: np.kron(x, np.ones((8, 8)))[:, :, None] for i, x in images.items()}
    fingerprints = {i: make_fingerprint(picture) for i, picture in pictures.items()}
    assert len({fingerprint[:HASH_BYTES] for fingerprint in fingerprints.values()}) == 1
    count, pairs = find_near_pairs(fingerprints, {"a": "train", "b": "val", "c": "test"})
    assert count == 1
    assert [(pair.first, pair.second) for pair in pairs] == [("c", "a")]
