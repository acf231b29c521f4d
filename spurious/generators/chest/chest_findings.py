"""Pneumothorax and chest tube of a phantom: where they are, before they are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spurious.generators.chest.chest_anatomy import Anatomy, Lung
from spurious.generators.chest.raster import Curve, offset, region, smooth


@dataclass(frozen=True)
class Pneumothorax:
    """Air between the chest wall and a lung that fell back towards its hilum.

    Attributes:
        lung: Index into `Anatomy.lungs`.
        outline: Closed outline of the air.
        pleura: Edge of the lung inside it, the thin line that a radiologist looks for.
    """

    lung: int
    outline: Curve
    pleura: Curve


@dataclass(frozen=True)
class Tube:
    """A chest drain.

    Attributes:
        path: Centre line from outside the body to the tip.
        width: Outer diameter, fraction of the film side.
        stripes: Centre lines of the dense stripe, interrupted at the last side hole.
    """

    path: Curve
    width: float
    stripes: Sequence[Curve]


@dataclass(frozen=True)
class _Pattern:
    """Stretch of the wall (shares of its length) along which the lung falls back."""

    start: tuple[float, float]
    end: tuple[float, float]
    skew: float
    weight: float


_PATTERNS = (
    _Pattern((0.02, 0.03), (0.38, 0.55), 0.8, 0.45),  # apical cap
    _Pattern((0.02, 0.03), (0.85, 0.99), 0.75, 0.30),  # apex to base
    _Pattern((0.30, 0.40), (0.75, 0.92), 1.0, 0.25),  # lateral
)
_BASAL = _Pattern((0.68, 0.76), (0.99, 0.995), 1.2, 0.0)


def draw_pneumothorax(
    rng: np.random.Generator, anatomy: Anatomy, depths: tuple[float, float], p_second: float
) -> list[Pneumothorax]:
    """Draw one pneumothorax, or two separate ones with probability `p_second`.

    Args:
        rng: Generator.
        anatomy: The patient.
        depths: Least and largest share of the way to the hilum that the lung falls back; small
            ones are drawn more often.
        p_second: A second one lies at the base of the same side or at the other apex.
    """
    lung = int(rng.integers(2))
    deep = depths[0] + (depths[1] - depths[0]) * rng.beta(1.3, 2.2)
    pattern = _PATTERNS[rng.choice(len(_PATTERNS), p=[each.weight for each in _PATTERNS])]
    second = rng.random() < p_second
    if not second:
        return [_collapse(rng, anatomy, lung, pattern, deep)]
    shallow = depths[0] + 0.5 * (deep - depths[0])
    same_side = rng.random() < 0.5
    other = (lung, _BASAL) if same_side else (1 - lung, _PATTERNS[0])
    return [
        _collapse(rng, anatomy, lung, _PATTERNS[0], deep),
        _collapse(rng, anatomy, *other, shallow),
    ]


def _collapse(
    rng: np.random.Generator, anatomy: Anatomy, lung: int, pattern: _Pattern, depth: float
) -> Pneumothorax:
    wall, hilum = anatomy.lungs[lung].wall, anatomy.lungs[lung].hilum
    at = np.linspace(0, 1, len(wall))
    start, end = rng.uniform(*pattern.start), rng.uniform(*pattern.end)
    inside = (at >= start) & (at <= end)
    along = (at[inside] - start) / (end - start)
    share = depth * np.sin(np.pi * along**pattern.skew) ** 0.8
    share *= 1 + 0.08 * np.interp(along, np.linspace(0, 1, 7), rng.normal(0, 1, 7))
    pleura = wall[inside] + (hilum - wall[inside]) * share[:, None]
    return Pneumothorax(lung, np.concatenate([wall[inside], pleura[::-1]]), pleura)


def pneumothorax_mask(
    anatomy: Anatomy, findings: Sequence[Pneumothorax], size: int
) -> NDArray[np.bool_]:
    """Return the truth: pixels of pleural air inside the lung fields, (size, size) bool."""
    mask = np.zeros((size, size), bool)
    for finding in findings:
        field = region(anatomy.lungs[finding.lung].outline, size)
        mask |= region(finding.outline, size) & field
    return mask


def draw_tube(rng: np.random.Generator, lung: Lung) -> Tube:
    """Draw a drain that enters between lower ribs and ends at the apex or, less often, the base."""
    wall, hilum = lung.wall, lung.hilum

    def inwards(place: float, share: float) -> Curve:
        point = wall[int(place * len(wall))]
        return np.asarray(point + (hilum - point) * share)

    place = rng.uniform(0.62, 0.82)
    skin = np.array([lung.side * rng.uniform(0.15, 0.2), rng.uniform(-0.01, 0.08)])
    entry = inwards(place, 0.0) + skin
    inside = inwards(place, rng.uniform(0.10, 0.20))
    if rng.random() < 0.75:
        middle = inwards(rng.uniform(0.45, 0.60), rng.uniform(0.15, 0.40))
        tip = inwards(rng.uniform(0.10, 0.25), rng.uniform(0.12, 0.35))
    else:
        middle = inwards(0.85, rng.uniform(0.25, 0.40))
        tip = inwards(rng.uniform(0.88, 0.95), rng.uniform(0.40, 0.60))
    path = smooth(np.stack([entry, inside, middle, tip]), 120)
    width = rng.uniform(0.013, 0.019)
    stripe = offset(path, rng.choice([-1, 1]) * 0.22 * width)
    hole = int(rng.uniform(92, 106))
    return Tube(path, width, (stripe[:hole], stripe[hole + 4 :]))
