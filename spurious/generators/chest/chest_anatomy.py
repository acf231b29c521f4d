"""Geometry of a chest phantom: outlines of one made-up patient as a frontal film shows them.

Coordinates are (x, y) as fractions of the film side, x to the right, y down; the patient's right
lung is on the left of the film. Tables below are (distance from the midline in half widths of the
thorax, depth below the apex in lung heights); they are placed, tilted and varied per patient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spurious.generators.chest.raster import Curve, ribbon, smooth

Table = Sequence[tuple[float, float]]

_WALL: Table = (
    (0.16, 0.10), (0.22, 0.025), (0.36, 0.0), (0.52, 0.03), (0.67, 0.12),
    (0.80, 0.27), (0.90, 0.47), (0.965, 0.70), (1.0, 0.90), (1.0, 1.0),
)  # fmt: skip
_DOME: Table = (
    (1.0, 1.0), (0.95, 0.955), (0.80, 0.90), (0.60, 0.865), (0.40, 0.87), (0.22, 0.905),
    (0.10, 0.95),
)  # fmt: skip
_MEDIAL: Table = ((0.10, 0.95), (0.10, 0.75), (0.10, 0.50), (0.115, 0.30), (0.16, 0.10))
_HEART: Table = (
    (-0.17, 0.44), (-0.20, 0.55), (-0.255, 0.70), (-0.27, 0.82), (-0.20, 0.95), (0.10, 1.0),
    (0.42, 0.985), (0.565, 0.93), (0.60, 0.85), (0.53, 0.73), (0.40, 0.60), (0.27, 0.48),
    (0.19, 0.41), (0.0, 0.38),
)  # fmt: skip
_MEDIASTINUM: Table = (
    (-0.13, -0.10), (-0.14, 0.10), (-0.165, 0.25), (-0.16, 0.40), (-0.19, 0.55), (-0.17, 1.0),
    (0.17, 1.0), (0.19, 0.52), (0.20, 0.40), (0.175, 0.345), (0.215, 0.29), (0.20, 0.235),
    (0.135, 0.20), (0.125, 0.08), (0.13, -0.10),
)  # fmt: skip
_BODY: Table = (
    (0.20, -0.4), (0.21, -0.13), (0.34, -0.06), (0.70, -0.03), (1.08, 0.04), (1.28, 0.16),
    (1.33, 0.3), (1.22, 0.42), (1.17, 0.60), (1.17, 0.85), (1.20, 1.1), (1.25, 1.6),
)  # fmt: skip


@dataclass(frozen=True)
class Lung:
    """One lung field.

    Attributes:
        side: -1 for the left half of the film (the patient's right lung), +1 for the right half.
        wall: Chest wall from the medial side of the apex over the apex to the costophrenic angle.
        dome: Diaphragm from the costophrenic angle to the midline.
        outline: Closed outline; starts with `wall`, then `dome`.
        hilum: (2,) root of the lung, towards which it collapses.
    """

    side: int
    wall: Curve
    dome: Curve
    outline: Curve
    hilum: Curve


@dataclass(frozen=True)
class Anatomy:
    """A patient without disease or device.

    Attributes:
        midline: x of the spine.
        lungs: The left and the right half of the film.
        body, heart, mediastinum, trachea, stomach: Closed outlines.
        vertebrae, clavicles, scapulae: Closed outlines.
        breasts: Closed outlines; none for a man.
        posterior_ribs, anterior_ribs: Centre lines.
    """

    midline: float
    lungs: tuple[Lung, Lung]
    body: Curve
    heart: Curve
    mediastinum: Curve
    trachea: Curve
    stomach: Curve
    vertebrae: Sequence[Curve]
    clavicles: Sequence[Curve]
    scapulae: Sequence[Curve]
    breasts: Sequence[Curve]
    posterior_ribs: Sequence[Curve]
    anterior_ribs: Sequence[Curve]


@dataclass(frozen=True)
class _Frame:
    """Places tables on the film: thorax position, half width, height and tilt (radians)."""

    midline: float
    top: float
    width: float
    height: float
    tilt: float

    def place(self, table: Table | Curve, side: int = 1) -> Curve:
        points = np.asarray(table, np.float64)
        x = points[:, 0] * side * self.width
        y = self.top + points[:, 1] * self.height
        return np.stack([self.midline + x + self.tilt * (y - 0.5), y - self.tilt * x], axis=1)


def draw_anatomy(rng: np.random.Generator, *, female: bool) -> Anatomy:
    """Draw the outlines of one patient; breast shadows only for a woman."""
    frame = _Frame(
        midline=0.5 + rng.normal(0, 0.012),
        top=rng.uniform(0.07, 0.12),
        width=rng.uniform(0.385, 0.435),
        height=rng.uniform(0.74, 0.83),
        tilt=rng.normal(0, 0.018),
    )
    lungs = (_lung(rng, frame, -1), _lung(rng, frame, +1))
    posterior, anterior = _ribs(rng, frame, lungs)
    heart = _vary(rng, _HEART, 0.012) * (rng.uniform(0.85, 1.12), 1.0)
    return Anatomy(
        midline=frame.midline,
        lungs=lungs,
        body=_body(rng, frame),
        heart=smooth(frame.place(heart), 160, closed=True),
        mediastinum=smooth(frame.place(_vary(rng, _MEDIASTINUM, 0.006)), 160, closed=True),
        trachea=_trachea(rng, frame),
        stomach=_stomach(rng, lungs[1]),
        vertebrae=_vertebrae(rng, frame),
        clavicles=[_clavicle(rng, frame, side) for side in (-1, 1)],
        scapulae=[_scapula(rng, frame, side) for side in (-1, 1)],
        breasts=_breasts(rng, frame) if female else [],
        posterior_ribs=posterior,
        anterior_ribs=anterior,
    )


def _vary(rng: np.random.Generator, table: Table, deviation: float) -> Curve:
    points = np.array(table)
    return points + rng.normal(0, deviation, points.shape)


def _lung(rng: np.random.Generator, frame: _Frame, side: int) -> Lung:
    wall, dome = _vary(rng, _WALL, 0.006), _vary(rng, _DOME, 0.006)
    medial = _vary(rng, _MEDIAL, 0.003)
    wall[3:8, 0] += rng.normal(0, 0.015)
    lift = rng.normal(0, 0.02) + 0.012 * side  # the liver lifts the dome on the left of the film
    dome[1:, 1] = 1 + (dome[1:, 1] + lift - 1) * rng.uniform(0.6, 1.15)
    dome[0] = wall[-1]
    medial[0], medial[-1] = dome[-1], wall[0]
    parts = [
        smooth(frame.place(table, side), count)
        for table, count in ((wall, 240), (dome, 120), (medial, 80))
    ]
    hilum = frame.place([(0.24, 0.47 if side < 0 else 0.44)], side)[0]
    outline = np.concatenate([parts[0], parts[1][1:], parts[2][1:-1]])
    return Lung(side, parts[0], parts[1], outline, hilum)


def _ribs(
    rng: np.random.Generator, frame: _Frame, lungs: Sequence[Lung]
) -> tuple[list[Curve], list[Curve]]:
    """Posterior and anterior parts of all ribs; a rib turns forward at the lateral wall."""
    posterior, anterior = [], []
    spacing = rng.uniform(0.088, 0.098)
    slope, fall = rng.uniform(0.07, 0.12), rng.uniform(0.12, 0.18)
    for lung in lungs:
        for i in range(10):
            y = -0.055 + i * spacing + rng.normal(0, 0.002)
            drop = slope + 0.012 * i
            reach = _wall_reach(frame, lung, y + drop) + 0.012
            table = (
                (0.04, y + 0.012), (0.09 + 0.22 * reach, y - 0.022),
                (0.09 + 0.5 * reach, y - 0.008), (0.87 * reach, y + 0.5 * drop),
                (reach, y + drop + 0.02), (0.965 * reach, y + drop + 0.075),
                (0.82 * reach, y + drop + 0.6 * fall + 0.02),
                (0.20 + 0.01 * i, y + drop + fall + 0.03),
            )  # fmt: skip
            rib = smooth(frame.place(table, lung.side), 120)
            turn = int(np.argmax(lung.side * rib[:, 0]))
            posterior.append(rib[: turn + 4])
            if 0 < i < 8:
                anterior.append(rib[turn - 4 :])
    return posterior, anterior


def _wall_reach(frame: _Frame, lung: Lung, depth: float) -> float:
    """Distance of the lateral wall from the midline at a depth, in half widths."""
    lateral = lung.wall[len(lung.wall) // 4 :]
    x = np.interp(frame.top + depth * frame.height, lateral[:, 1], lateral[:, 0])
    return float(abs(x - frame.midline) / frame.width)


def _body(rng: np.random.Generator, frame: _Frame) -> Curve:
    wide = rng.uniform(0.97, 1.12)
    stretch = np.array([[1.0]] * 3 + [[wide]] * (len(_BODY) - 3))
    sides = []
    for side in (-1, 1):
        table = _vary(rng, _BODY, 0.01)
        table[:, :1] *= stretch
        sides.append(smooth(frame.place(table, side), 120))
    return np.concatenate([sides[0], sides[1][::-1]])


def _trachea(rng: np.random.Generator, frame: _Frame) -> Curve:
    bend = rng.normal(0.015, 0.015)
    return frame.place([
        (-0.042, -0.3), (-0.042, 0.05), (-0.038 - bend, 0.22), (-0.05 - bend, 0.36), (-0.16, 0.44),
        (-0.15, 0.475), (-0.005 - bend, 0.395), (0.14, 0.462),
        (0.15, 0.43), (0.045 - bend, 0.36), (0.042 - bend, 0.22), (0.042, 0.05), (0.042, -0.3),
    ])  # fmt: skip


def _stomach(rng: np.random.Generator, lung: Lung) -> Curve:
    """Gas under the dome of an upright patient: follows the dome above, level below."""
    first = int(rng.uniform(30, 45))
    above = lung.dome[first : first + int(rng.uniform(25, 45))].copy()
    above[:, 1] += rng.uniform(0.012, 0.02)
    level = above[:, 1].max() + rng.uniform(0.008, 0.03)
    corners = np.array([(above[-1, 0], level), (above[0, 0], level)])
    return smooth(np.concatenate([above[::8], corners]), 80, closed=True)


def _vertebrae(rng: np.random.Generator, frame: _Frame) -> list[Curve]:
    height = rng.uniform(0.066, 0.074)
    outlines = []
    for i in range(-2, 19):
        wide, top = 0.080 + 0.0022 * i, -0.02 + i * height
        bottom, waist = top + 0.88 * height, 0.9 * wide
        table = (
            (-wide, top), (0, top + 0.004), (wide, top), (waist, (top + bottom) / 2),
            (wide, bottom), (0, bottom - 0.004), (-wide, bottom), (-waist, (top + bottom) / 2),
        )  # fmt: skip
        outlines.append(smooth(frame.place(table), 60, closed=True))
    return outlines


def _clavicle(rng: np.random.Generator, frame: _Frame, side: int) -> Curve:
    y, rise = rng.uniform(0.05, 0.11), rng.uniform(0.03, 0.10)
    table = (
        (0.11, y + 0.04), (0.28, y + 0.03), (0.5, y + 0.01), (0.78, y - rise),
        (1.1, y - rise - 0.005),
    )  # fmt: skip
    line = smooth(frame.place(table, side), 60)
    at = (0, 0.02, 0.08, 0.2, 0.6, 0.98, 1)
    thick = (0.008, 0.024, 0.030, 0.022, 0.019, 0.025, 0.01)
    return ribbon(line, np.interp(np.linspace(0, 1, len(line)), at, thick))


def _scapula(rng: np.random.Generator, frame: _Frame, side: int) -> Curve:
    x = rng.uniform(0.88, 1.08)
    table = (
        (x - 0.02, 0.10), (x - 0.03, 0.22), (x, 0.38), (x + 0.04, 0.50), (x + 0.13, 0.42),
        (x + 0.19, 0.25), (x + 0.24, 0.14), (x + 0.15, 0.10),
    )  # fmt: skip
    return smooth(frame.place(table, side), 90, closed=True)


def _breasts(rng: np.random.Generator, frame: _Frame) -> list[Curve]:
    y, size = rng.uniform(0.62, 0.74), rng.uniform(0.8, 1.15)
    table = (
        (0.25, -0.12), (0.3, 0.06), (0.55, 0.17), (0.85, 0.15), (1.12, 0.02), (1.1, -0.18),
        (0.7, -0.22),
    )  # fmt: skip
    outlines = []
    for side in (-1, 1):
        points = _vary(rng, table, 0.01) * (1.0, size) + (0.0, y)
        outlines.append(smooth(frame.place(points, side), 80, closed=True))
    return outlines
