"""Augmentations."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from spurious.data.augment import augment_batch, check
from spurious.errors import ConfigError

Pair = tuple[NDArray[np.float32], NDArray[np.bool_]]
SIDE = 24


def scene(channels: int = 1) -> Pair:
    """A dark image with a bright off-centre rectangle, and the mask of the rectangle."""
    mask = np.zeros((SIDE, SIDE), bool)
    mask[6:12, 8:12] = True
    image = np.where(mask, 0.9, 0.1).astype(np.float32)[:, :, None].repeat(channels, axis=2)
    return image, mask


def draw(name: str, epoch: int = 1, sample: int = 0, seed: int = 0, channels: int = 1) -> Pair:
    """One augmented scene with its target."""
    image, mask = scene(channels)
    found, target = augment_batch(name, image, mask, seed=seed, epoch=epoch, sample=sample)
    assert target is not None
    return found, target


def key(pair: Pair) -> tuple[bytes, bytes]:
    """Comparable contents."""
    return pair[0].tobytes(), pair[1].tobytes()


@pytest.mark.parametrize("name", ["flip", "paper"])
def test_a_draw_depends_on_seed_epoch_and_sample_only(name: str) -> None:
    """Neither order nor threads nor what was drawn before matter."""
    jobs = [(epoch, sample, seed) for epoch in (1, 2) for sample in range(12) for seed in (0, 1)]
    one_by_one = {job: key(draw(name, *job)) for job in jobs}
    backwards = {job: key(draw(name, *job)) for job in reversed(jobs)}
    with ThreadPoolExecutor(4) as pool:
        threaded = dict(zip(jobs, pool.map(lambda job: key(draw(name, *job)), jobs), strict=True))
    assert one_by_one == backwards == threaded


@pytest.mark.parametrize("place", [0, 1, 2])
def test_every_part_of_the_seed_counts(place: int) -> None:
    """Another epoch, sample or seed draws another augmentation."""
    base = [1, 0, 0]
    found = set()
    for value in range(1, 13):
        base[place] = value
        found.add(key(draw("paper", *base)))
    assert len(found) > 6


@pytest.mark.parametrize("channels", [1, 3])
def test_flip_mirrors_image_and_target_together(channels: int) -> None:
    """Half the draws are mirrored left to right, the rest untouched; values keep any range."""
    image, mask = scene(channels)
    wild = image * 100 - 50
    mirrored = 0
    for sample in range(200):
        found, target = augment_batch("flip", wild, mask, seed=0, epoch=1, sample=sample)
        assert target is not None
        assert found.shape == image.shape
        assert found.dtype == np.float32
        flipped = bool((found == wild[:, ::-1]).all())
        assert flipped or (found == wild).all()
        assert (target == (mask[:, ::-1] if flipped else mask)).all()
        mirrored += flipped
    assert 72 <= mirrored <= 128  # 4 sd around 100


def test_steps_of_the_paper_s_pipeline_are_drawn_apart() -> None:
    """Flip .5, intensity .3, warp .3, pose .5: untouched and merely flipped are .1225 each.

    Were every step given the same random numbers, a flip would always come with a new pose.
    """
    image, _ = scene()
    draws = [draw("paper", sample=sample)[0] for sample in range(300)]
    same = sum(bool((found == image).all()) for found in draws)
    mirrored = sum(bool((found == image[:, ::-1]).all()) for found in draws)
    for count in (same, mirrored):
        assert 300 * 0.1225 - 4 * 5.7 < count < 300 * 0.1225 + 4 * 5.7


def test_image_and_target_are_warped_alike() -> None:
    """Wherever the rectangle goes its mask goes: bright pixels are masked and dark ones not."""
    moved = 0
    for sample in range(80):
        image, target = draw("paper", sample=sample)
        bright = image[:, :, 0] > 0.5
        assert target.dtype == bool
        assert target.shape == (SIDE, SIDE)
        moved += bool((target != scene()[1]).any())
        # linear and nearest-neighbour sampling differ at the rectangle's rim only
        assert (bright & target).sum() >= 0.6 * max(bright.sum(), target.sum())
    assert moved > 40


@pytest.mark.parametrize("channels", [1, 3])
def test_intensities_stay_in_range(channels: int) -> None:
    """`paper` keeps [0, 1], shape and single precision."""
    for sample in range(60):
        image, _ = draw("paper", sample=sample, channels=channels)
        assert image.shape == (SIDE, SIDE, channels)
        assert image.dtype == np.float32
        assert image.min() >= 0.0
        assert image.max() <= 1.0


def test_poses_keep_the_shape_of_things() -> None:
    """Zoom is the same along rows and columns: a mean square stays a square on average.

    The rectangle's second moments along its axes keep their ratio under shift, zoom and rotation.
    """
    mask = np.zeros((64, 64), bool)
    mask[20:44, 20:44] = True
    image = mask[:, :, None].astype(np.float32)
    ratios = []
    for sample in range(150):
        _, target = augment_batch("paper", image, mask, seed=0, epoch=1, sample=sample)
        assert target is not None
        spread = np.linalg.eigvalsh(np.cov(np.argwhere(target).T))
        ratios.append(spread[0] / spread[1])
    # an anisotropic zoom of .9 to 1.1 has a median ratio of .88 where it is drawn
    assert np.median(ratios) > 0.99


def test_warps_keep_to_their_thread() -> None:
    """OpenCV would spread each warp over all cores, of which a trial has its share only."""
    cv2.setNumThreads(2)
    with ThreadPoolExecutor(1) as pool:  # a new thread builds a pipeline of its own
        pool.submit(draw, "paper").result()
    assert cv2.getNumThreads() == 1


@pytest.mark.parametrize("name", ["flip", "paper"])
def test_labels_need_no_target(name: str) -> None:
    """Without a target the image is drawn as with one, and the input is left as it was."""
    image, mask = scene()
    before = image.copy()
    image.flags.writeable = False
    for sample in range(20):
        found, nothing = augment_batch(name, image, None, seed=0, epoch=1, sample=sample)
        assert nothing is None
        expected, _ = augment_batch(name, image, mask, seed=0, epoch=1, sample=sample)
        assert (found == expected).all()
    assert (image == before).all()


def test_paper_is_refused_on_float_data() -> None:
    """Gamma and brightness of intensities without a range mean nothing; flipping is fine."""
    with pytest.raises(ConfigError, match=r"'paper' .* float32: use 'flip' or 'none'"):
        check("paper", np.dtype("float32"))
    for name, dtype in (
        ("flip", "float32"),
        ("none", "float32"),
        ("paper", "uint8"),
        ("paper", "uint16"),
    ):
        check(name, np.dtype(dtype))
