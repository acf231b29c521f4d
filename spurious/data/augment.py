"""Augmentations whose draws depend on (seed, epoch, sample, occurrence) alone (albumentations)."""

from __future__ import annotations

import os
import random
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spurious.data.randomness import derive, generator
from spurious.errors import ConfigError

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else every import asks the network

_BORDER_CONSTANT = 0
_LOCAL = threading.local()


def _compose(name: str) -> Any:
    import albumentations as A
    import cv2

    cv2.setNumThreads(0)  # a trial's threads are its `workers`; else each warp takes every core
    if name == "flip":
        return A.Compose([A.HorizontalFlip(p=0.5)])
    intensity = A.OneOf(
        [
            A.RandomBrightnessContrast(brightness_limit=0.0, contrast_limit=0.2, p=1.0),
            A.RandomGamma(gamma_limit=(80, 120), p=1.0),
            A.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.0, p=1.0),
        ],
        p=0.3,
    )
    shape = A.OneOf(
        [
            A.ElasticTransform(alpha=120, sigma=6, p=1.0),
            A.GridDistortion(p=1.0),
            A.OpticalDistortion(p=1.0),
        ],
        p=0.3,
    )
    pose = A.Affine(
        translate_percent=(-0.0625, 0.0625),
        scale=(0.9, 1.1),
        keep_ratio=True,
        rotate=(-45, 45),
        border_mode=_BORDER_CONSTANT,
        p=0.5,
    )
    return A.Compose([A.HorizontalFlip(p=0.5), intensity, shape, pose])


def _pipeline(name: str) -> Any:
    """Return the calling thread's own pipeline: albumentations' generators are not thread-safe."""
    pipelines = _LOCAL.__dict__.setdefault("pipelines", {})
    if name not in pipelines:
        pipelines[name] = _compose(name)
    return pipelines[name]


def check(name: str, dtype: np.dtype[Any]) -> None:
    """Refuse augmentations that assume intensities in [0, 1] on data without such a range.

    Raises:
        ConfigError: `paper` on float images.
    """
    if name == "paper" and not np.issubdtype(dtype, np.integer):
        raise ConfigError(
            "augment 'paper' changes gamma and brightness, which needs integer images; this "
            f"dataset is {dtype}: use 'flip' or 'none'"
        )


def augment_batch(
    name: str,
    image: NDArray[np.float32],
    target: NDArray[np.bool_] | None,
    *,
    seed: int,
    epoch: int,
    sample: int,
    view: int = 0,
    occurrence: int = 0,
) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
    """Augment one image and, alike, its target.

    Args:
        name: `flip` or `paper`.
        image: (H, W, C) float32, in [0, 1] for `paper`.
        target: (H, W) bool, or None for image labels.
        seed: The trial's seed.
        epoch: From 1.
        sample: The image's row in the dataset.
        view: Another number gives other draws, for methods that compare two views.
        occurrence: How often the epoch has drawn the image before: every copy is another draw.

    Returns:
        Image and target of the same shapes; targets are warped with nearest-neighbour sampling.
    """
    pipeline = _pipeline(name)
    # one stream for all steps: `set_random_seed` would give each step the same draws, so that flips
    # and rotations came together
    purpose: tuple[int | str, ...] = ("augment", seed, epoch, sample)
    purpose += (view,) if view else ()
    purpose += ("occurrence", occurrence) if occurrence else ()
    pipeline.set_random_state(generator(*purpose), random.Random(derive(*purpose)))
    if target is None:
        out = pipeline(image=image)
        return out["image"].reshape(image.shape), None
    out = pipeline(image=image, mask=target.astype(np.uint8))
    return out["image"].reshape(image.shape), out["mask"].astype(bool)
