"""Dermoscopy phantom: lesions of two kinds, and seven artefacts that go with or against the label.

Images are made up, so nothing in them is of a patient. As in the trap splits of Bissoto et al. 2020
the artefacts go one way with malignancy in training and validation and the other way in test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated

import cv2
import numpy as np
from annotated_types import Ge, Le
from numpy.typing import NDArray

from spurious.config.fields import Probability, Seed
from spurious.data.randomness import generator

Picture = NDArray[np.float32]
"""(H, W, 3) RGB, about 0 to 255; drawn on in place."""

SKIN, LESION = (222.0, 178.0, 158.0), (122.0, 82.0, 66.0)


@dataclass(frozen=True, kw_only=True)
class SkinPhantom:
    """Options of the phantom.

    Attributes:
        n_train, n_val, n_test: Images per split; `n_train` is without those of validation.
        prevalence: Share of malignant lesions, in every split.
        agreement: Share of training and validation images of each label whose artefact says the
            same as the label, for each artefact.
        test_agreement: The same in `test`.
        width: Of the images in pixels; they are three quarters as high.
        contrast: How far malignant lesions differ: 0 not at all, 1 clearly.
        seed: Every image derives from it and the image's number.
    """

    n_train: Annotated[int, Ge(2), Le(20_000)] = 600
    n_val: Annotated[int, Ge(2), Le(20_000)] = 100
    n_test: Annotated[int, Ge(2), Le(20_000)] = 300
    prevalence: Probability = 0.3
    agreement: Probability = 0.8
    test_agreement: Probability = 0.2
    width: Annotated[int, Ge(64), Le(2048)] = 256
    contrast: Annotated[float, Ge(0.0), Le(2.0)] = 1.0
    seed: Seed = 0


@dataclass(frozen=True)
class Case:
    """One image to be made.

    Attributes:
        number: Decides, with the seed, all that is random in the image.
        split: `train`, `val` or `test`.
        malignant: The label.
        artefacts: Every name of `DRAWN` to whether the image shows it.
    """

    number: int
    split: str
    malignant: bool
    artefacts: Mapping[str, bool]


def draw_cases(config: SkinPhantom) -> list[Case]:
    """Draw what every image shows, in ascending order of numbers, splits mixed.

    The shares of `config` are met exactly, up to rounding, so that small phantoms have images of
    both labels with and without each artefact.
    """
    rng = generator(config.seed, "skin cases")
    sizes = {"train": config.n_train, "val": config.n_val, "test": config.n_test}
    shown: list[tuple[str, bool, dict[str, bool]]] = []
    for split, size in sizes.items():
        agreement = config.test_agreement if split == "test" else config.agreement
        malignant = round(size * config.prevalence)
        for label, count in ((True, malignant), (False, size - malignant)):
            agreeing = np.arange(count) < round(count * agreement)
            columns = {
                name: rng.permutation(agreeing) == (label == (direction > 0))
                for name, (direction, _) in DRAWN.items()
            }
            shown += [
                (split, label, {name: bool(column[i]) for name, column in columns.items()})
                for i in range(count)
            ]
    order = rng.permutation(len(shown)).tolist()
    return [Case(number, *shown[place]) for number, place in enumerate(order)]


def render_case(config: SkinPhantom, case: Case) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return the (H, W, 3) uint8 RGB image of a case and its lesion, (H, W) bool.

    Skin, lesion and each artefact have generators of their own, so a case that differs in an
    artefact alone is the same lesion on the same skin.
    """
    height, width = config.width * 3 // 4, config.width
    seed, number = config.seed, case.number
    rng = generator(seed, "skin", number)
    picture = np.asarray(SKIN, np.float32) + 8 * _clouds(rng, height, width)[..., None]
    sign = config.contrast if case.malignant else 0.0
    mask = _draw_lesion(picture, generator(seed, "skin lesion", number), sign)
    for name, (_, draw) in DRAWN.items():
        if case.artefacts[name]:
            draw(picture, generator(seed, "skin artefact", name, number))
    picture += rng.normal(0, 3, picture.shape).astype(np.float32)
    return np.clip(picture, 0, 255).astype(np.uint8), mask


def _clouds(rng: np.random.Generator, height: int, width: int, cells: int = 5) -> Picture:
    """Return a smooth field of about unit variance, (H, W)."""
    coarse = rng.standard_normal((cells, cells)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))


def _draw_lesion(picture: Picture, rng: np.random.Generator, contrast: float) -> NDArray[np.bool_]:
    """Draw a brown blot; with contrast its outline is more ragged and its colour blotched."""
    height, width = picture.shape[:2]
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    y, x = rng.uniform(0.4, 0.6) * height, rng.uniform(0.4, 0.6) * width
    angle = np.arctan2(rows - y, columns - x)
    radius = np.full((height, width), rng.uniform(0.18, 0.28) * height, np.float32)
    for waves in (2, 3, 5, 8):
        ragged = (0.05 + 0.06 * contrast) * rng.uniform(0.5, 1.0)
        radius *= 1 + ragged * np.cos(waves * angle + rng.uniform(0, 2 * np.pi))
    inside = radius - np.hypot(rows - y, columns - x)
    mask: NDArray[np.bool_] = inside > 0
    blots = _clouds(rng, height, width, 12)
    colour = np.asarray(LESION, np.float32) + 6 * blots[..., None]
    colour -= (30 * contrast * (blots > 0.3))[..., None] * np.asarray((1.0, 0.8, 0.2), np.float32)
    soft = 1 / (1 + np.exp(-np.clip(inside / (0.01 * width), -20, 20)))
    picture += soft[..., None] * (colour - picture)
    return mask


def _dark_corner(picture: Picture, rng: np.random.Generator) -> None:
    height, width = picture.shape[:2]
    rows, columns = np.mgrid[:height, :width]
    far = np.hypot(rows - height / 2, columns - width / 2) / width
    picture[far > rng.uniform(0.5, 0.54)] = 12


def _gel_border(picture: Picture, rng: np.random.Generator) -> None:
    edge = int(rng.uniform(0.06, 0.14) * picture.shape[1])
    picture[:, :edge] *= 0.86
    picture[:, edge : edge + 2] = 245


def _gel_bubble(picture: Picture, rng: np.random.Generator) -> None:
    height, width = picture.shape[:2]
    for x, y, size in rng.random((6, 3)).tolist():
        place = (int(x * width), int(y * height))
        cv2.circle(picture, place, 2 + int(0.02 * size * width), (248, 240, 235), 1, cv2.LINE_AA)


def _hair(picture: Picture, rng: np.random.Generator) -> None:
    height, width = picture.shape[:2]
    for top, middle, bottom in (rng.random((8, 3)) * width).tolist():
        at = np.linspace(0, 1, 20)
        x = (1 - at) ** 2 * top + 2 * at * (1 - at) * middle + at**2 * bottom
        line = np.stack([x, at * height], axis=1).round().astype(np.int32)
        cv2.polylines(picture, [line], False, (48, 34, 30), 1, cv2.LINE_AA)


def _ink(picture: Picture, rng: np.random.Generator) -> None:
    height, width = picture.shape[:2]
    x, y = (int(rng.uniform(0.02, 0.12) * side) for side in (width, height))
    cv2.line(picture, (x, y), (x + width // 8, y + height // 16), (92, 58, 148), 1 + width // 48)


def _patches(picture: Picture, rng: np.random.Generator) -> None:
    height, width = picture.shape[:2]
    place = (int(rng.uniform(0.9, 1.0) * width), int(rng.uniform(0.0, 0.2) * height))
    cv2.circle(picture, place, width // 8, (96, 168, 196), -1, cv2.LINE_AA)


def _ruler(picture: Picture, rng: np.random.Generator) -> None:
    height, width = picture.shape[:2]
    step = max(4, int(rng.uniform(0.03, 0.05) * width))
    for i, x in enumerate(range(step, width, step)):
        cv2.line(picture, (x, height), (x, height - height // (10 if i % 5 else 6)), (20, 20, 20))


DRAWN: Mapping[str, tuple[int, Callable[[Picture, np.random.Generator], None]]] = {
    "hair": (-1, _hair),
    "gel_bubble": (-1, _gel_bubble),
    "gel_border": (+1, _gel_border),
    "ink": (+1, _ink),
    "patches": (-1, _patches),
    "ruler": (+1, _ruler),
    "dark_corner": (+1, _dark_corner),
}
"""Artefacts in the order in which they are drawn, each with its direction in training, which is
that of the released splits, and what draws it."""
