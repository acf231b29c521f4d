"""Renders a chest phantom: attenuation added up along the beam, then the tone curve of a film."""

from __future__ import annotations

import cmath
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from spurious.generators.chest.chest_anatomy import Anatomy, Lung
from spurious.generators.chest.chest_findings import Pneumothorax, Tube, pneumothorax_mask
from spurious.generators.chest.raster import (
    Curve,
    Layer,
    blur,
    bones,
    enlarge,
    fill,
    grain,
    stroke,
)

_PIXEL = 1 / 1024
"""One pixel of the released size, the unit of line widths."""

_PLEURA = 1.6 * _PIXEL
_WALL = 10 * _PIXEL
"""A rim of drawn air that is nearer to the edge of its lung lies at the chest wall."""


@dataclass(frozen=True)
class DrawnPlace:
    """Where somebody drew pleural air on a film of a patient, instead of a made-up place.

    Attributes:
        mask: (size, size) bool, not empty.
        air: Whether this film shows air there. The lungs reach over the mask either way, so that
            their shape does not tell.
    """

    mask: NDArray[np.bool_]
    air: bool


@dataclass(frozen=True)
class Findings:
    """What a film shows beside the anatomy, and how clearly.

    Attributes:
        pneumothorax: None to two; the mask is their air.
        tube: A chest drain, or None.
        pneumothorax_contrast: 0 invisible, 1 as subtle as on films, above 1 clearer.
        tube_contrast: The same for the drain.
        drawn: Place of a pneumothorax that comes as a mask, or None.
    """

    pneumothorax: Sequence[Pneumothorax] = ()
    tube: Tube | None = None
    pneumothorax_contrast: float = 1.0
    tube_contrast: float = 1.0
    drawn: DrawnPlace | None = None


def render_film(
    rng: np.random.Generator, anatomy: Anatomy, findings: Findings, size: int
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Render one film.

    The generator draws vessels, texture, noise and exposure in an order that does not depend on
    the findings, so the same generator gives the same film with and without them.

    Returns:
        (size, size) uint8 film, and the (size, size) bool mask of the pneumothorax.
    """
    mask = pneumothorax_mask(anatomy, findings.pneumothorax, size)
    if findings.drawn is not None and findings.drawn.air:
        mask |= findings.drawn.mask
    body = fill([anatomy.body], size, 0.002)
    film = _soft_tissue(anatomy, body)
    film += _chest_content(rng, anatomy, findings, mask)
    film += body * _skeleton(rng, anatomy, size)
    if findings.tube is not None:
        film += findings.tube_contrast * _drain(findings.tube, size)
    return _expose(rng, film), mask


def _soft_tissue(anatomy: Anatomy, body: Layer) -> Layer:
    """Trunk, neck, shoulders, abdomen and breasts; thicker towards the middle."""
    size = body.shape[0]
    tissue = body * (0.20 + 0.16 * blur(body, 0.04) + 0.36 * blur(body, 0.16))
    left, right = anatomy.lungs
    below = [
        left.dome,
        right.dome[::-1],
        np.array([(1.3, 1.0), (1.3, 1.4), (-0.3, 1.4), (-0.3, 1.0)]),
    ]
    tissue += 0.09 * body * fill([np.concatenate(below)], size, 0.03)
    if anatomy.breasts:
        breasts = fill(anatomy.breasts, size, 0.006)
        tissue += 0.03 * breasts + 0.035 * blur(breasts, 0.04)
    return tissue


def _chest_content(
    rng: np.random.Generator,
    anatomy: Anatomy,
    findings: Findings,
    mask: NDArray[np.bool_],
) -> Layer:
    """Air of the lungs as far as heart and vessels leave it, and what a pneumothorax changes."""
    size = mask.shape[0]
    lungs = fill([lung.outline for lung in anatomy.lungs], size, 0.0014)
    if findings.drawn is not None:
        lungs = np.maximum(lungs, blur(findings.drawn.mask.astype(np.float32), 0.0014))
    heart = fill([anatomy.heart], size, 0.0035)
    mediastinum = fill([anatomy.mediastinum], size, 0.009)
    open_air = lungs * (1 - 0.86 * heart) * (1 - 0.84 * mediastinum)
    depth = _depth(lungs)
    layer = -0.46 * open_air * (0.62 + 0.38 * depth)
    layer += 0.045 * blur(heart, 0.03) + 0.035 * blur(mediastinum, 0.012)
    layer -= 0.05 * fill([anatomy.trachea], size, 0.004)
    layer -= 0.10 * fill([anatomy.stomach], size, 0.004) * (1 - lungs)
    parenchyma = _parenchyma(rng, anatomy.lungs, depth)
    contrast = findings.pneumothorax_contrast
    if findings.pneumothorax or mask.any():
        air = blur(mask.astype(np.float32), 0.0009)
        parenchyma *= 1 - min(contrast, 1.0) * air
        parenchyma -= 0.03 * contrast * air
        parenchyma += 0.075 * contrast * _pleura(findings, lungs)
    return np.asarray(layer + open_air * parenchyma)


def _pleura(findings: Findings, lungs: Layer) -> Layer:
    """Edges of collapsed lungs: of a drawn place, its rim where it is not at the chest wall."""
    size = lungs.shape[0]
    edges = [finding.pleura for finding in findings.pneumothorax]
    layer = stroke(edges, [_PLEURA] * len(edges), size, 0.0007)
    if findings.drawn is None or not findings.drawn.air:
        return layer
    air = findings.drawn.mask.astype(np.uint8)
    width = max(1, round(_PLEURA * size))
    rim = air - np.asarray(cv2.erode(air, np.ones((3, 3), np.uint8), iterations=width))
    inside = np.pad((lungs > 0.5).astype(np.uint8), 1)
    depth = np.asarray(cv2.distanceTransform(inside, cv2.DIST_L2, 3))[1:-1, 1:-1]
    rim[depth < _WALL * size] = 0
    return np.maximum(layer, blur(rim.astype(np.float32), 0.0007))


def _depth(lungs: Layer) -> Layer:
    """Depth of the lung along the beam: 0 at the edge of a field, 1 well inside."""
    size = lungs.shape[0]
    side = min(size, 256)
    small = np.asarray(cv2.resize(lungs, (side, side), interpolation=cv2.INTER_AREA))
    inside = (small > 0.5).astype(np.uint8)
    distance = np.asarray(cv2.distanceTransform(inside, cv2.DIST_L2, 5)) / side
    depth = (1 - np.exp(-distance / 0.035)).astype(np.float32)
    return enlarge(np.asarray(cv2.GaussianBlur(depth, (0, 0), 3 * side / 256)), size)


def _parenchyma(rng: np.random.Generator, lungs: Sequence[Lung], depth: Layer) -> Layer:
    """Vessels, hila and fine texture; few markings reach the outer edge of a lung."""
    size = depth.shape[0]
    layer = grain(rng, size, ((20, 0.008), (48, 0.009), (110, 0.009), (240, 0.006)))
    branches = [branch for lung in lungs for branch in _vessel_tree(rng, lung)]
    branches.sort(key=lambda branch: branch[1])
    trees: list[Layer] = []
    for low, high, soft in ((0.0, 0.0028, 0.0009), (0.0028, 1.0, 0.0024)):
        chosen = [(line, width) for line, width in branches if low <= width < high]
        lines, widths = [line for line, _ in chosen], [width for _, width in chosen]
        values = [min(0.12 + 110 * width, 0.9) for width in widths]
        trees.append(stroke(lines, widths, size, soft, values))
    hila = [
        lung.hilum + np.array([(0.0, -0.03), (0.012 * lung.side, 0.01), (0.0, 0.05)])
        for lung in lungs
    ]
    layer += 0.155 * (0.25 + 0.75 * depth) * np.maximum(trees[0], trees[1])
    return layer + 0.10 * stroke(hila, [0.03, 0.03], size, 0.012)


def _vessel_tree(rng: np.random.Generator, lung: Lung) -> list[tuple[Curve, float]]:
    """Branches (line, width) from the hilum outwards; each splits into a main and a side one.

    Points and directions are complex numbers x + iy here: a turn is one multiplication.
    """
    tips: list[tuple[complex, complex, float, int]] = []
    for angle in np.linspace(-1.45, 1.5, 10) + rng.normal(0, 0.08, 10):
        direction = complex(lung.side * np.cos(angle), np.sin(angle))
        start = complex(lung.hilum[0] - 0.01 * lung.side, lung.hilum[1] + 0.045 * np.sin(angle))
        upper = 0.75 if angle < 0 else 1.0  # upright, more blood flows to the bases
        tips.append((start, direction, upper * rng.uniform(0.007, 0.0105), 0))
    branches: list[tuple[Curve, float]] = []
    for start, direction, width, level in tips:  # grows while it is walked
        if width < 0.0011 or level > 8 or len(branches) >= 1500:
            continue
        length = rng.uniform(0.032, 0.058) * 0.95**level
        end = start + length * direction * complex(1, rng.normal(0, 0.12))
        middle = (start + end) / 2 + length * direction * complex(0, rng.normal(0, 0.06))
        line = np.array([[point.real, point.imag] for point in (start, middle, end)])
        branches.append((line, width))
        turn = 1 if rng.random() < 0.5 else -1
        for angle, share in (
            (turn * rng.uniform(0.05, 0.3), rng.uniform(0.72, 0.86)),
            (-turn * rng.uniform(0.3, 0.75), rng.uniform(0.45, 0.70)),
        ):
            tips.append((end, direction * cmath.exp(1j * angle), width * share, level + 1))
    return branches


def _skeleton(rng: np.random.Generator, anatomy: Anatomy, size: int) -> Layer:
    """Spine, ribs, clavicles and scapulae, unevenly visible as behind real soft tissue."""
    cage = fill([lung.outline for lung in anatomy.lungs], size, 0.02)
    behind = 0.30 + 0.70 * cage
    behind *= 1 + 0.2 * grain(rng, size, ((6, 1.0),))
    x = np.abs(np.linspace(0, 1, size, dtype=np.float32) - anatomy.midline)
    cartilage = np.clip((x - 0.10) / 0.14, 0, 1)  # ribs end in cartilage, which hardly shows
    ribs = 0.072 * bones(anatomy.posterior_ribs, 21 * _PIXEL, size)
    ribs *= np.clip(0.25 + (x - 0.02) / 0.06, 0, 1)
    ribs += 0.050 * cartilage * bones(anatomy.anterior_ribs, 26 * _PIXEL, size)
    layer = behind * ribs
    layer += 0.035 * fill(anatomy.vertebrae, size, 0.003)
    for outlines, inner, edge in (
        (anatomy.clavicles, 0.055, 0.055),
        (anatomy.scapulae, 0.03, 0.03),
    ):
        closed = [np.concatenate([outline, outline[:1]]) for outline in outlines]
        layer += inner * fill(outlines, size, 0.001)
        layer += edge * stroke(closed, [2.5 * _PIXEL] * len(closed), size, 0.001)
    return layer


def _drain(tube: Tube, size: int) -> Layer:
    wall = tube.width - 5 * _PIXEL
    hose = stroke([tube.path, tube.path], [tube.width, wall], size, 0.0008, [1.0, 0.5])
    stripes = stroke(tube.stripes, [3.2 * _PIXEL] * len(tube.stripes), size, 0.0008)
    return 0.07 * hose + 0.20 * stripes


def _expose(rng: np.random.Generator, film: Layer) -> NDArray[np.uint8]:
    """Edge enhancement, noise, and a tone curve whose ends and gamma differ from film to film."""
    size = film.shape[0]
    film = 1.35 * film - 0.35 * blur(film, 0.02)
    film += grain(rng, size, ((3, 0.008),))
    noise = np.asarray(cv2.GaussianBlur(rng.standard_normal((size, size), np.float32), (0, 0), 0.6))
    film += noise * (0.011 + 0.011 * np.clip(film, 0, 1))
    black, white = rng.normal(0.02, 0.015), rng.normal(0.93, 0.03)
    tone = np.clip((film - black) / (white - black), 0, 1) ** np.float32(rng.uniform(0.85, 1.15))
    tone = 0.6 * tone + 0.4 * tone * tone * (3 - 2 * tone)
    return np.asarray(np.round(6 + 242 * tone), np.uint8)
