"""Anti-aliased drawing of smooth curves on float layers, independent of the film's size.

Coordinates are (x, y) as fractions of the film side, widths and blurs are fractions of it too, so
that one phantom can be rendered at any size. A layer is (size, size) float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

Curve = NDArray[np.float64]
Layer = NDArray[np.float32]

_SHIFT = 4
"""Fractional bits of the coordinates handed to the rasteriser."""

_WIDEST_BLUR = 5.0
"""Pixels; a wider blur is done on a smaller copy, where it cannot be told apart."""


def smooth(points: Curve, count: int, *, closed: bool = False) -> Curve:
    """Cubic spline through (P, 2) points, sampled at `count` places evenly in chord length."""
    if closed:
        points = np.concatenate([points, points[:1]])
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    at = np.concatenate([[0.0], np.cumsum(steps)])
    spline = CubicSpline(at, points, bc_type="periodic" if closed else "natural")
    sampled: Curve = spline(np.linspace(0.0, at[-1], count))
    return sampled


def ribbon(line: Curve, widths: NDArray[np.float64]) -> Curve:
    """Closed outline of a band of varying width around a centre line."""
    across = _normals(line) * (widths[:, None] / 2)
    return np.concatenate([line + across, (line - across)[::-1]])


def offset(line: Curve, distance: float) -> Curve:
    """Return a line parallel to `line`."""
    return line + distance * _normals(line)


def _normals(line: Curve) -> Curve:
    along = np.gradient(line, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    return np.stack([-along[:, 1], along[:, 0]], axis=1)


def fill(outlines: Sequence[Curve], size: int, soft: float = 0.0) -> Layer:
    """Union of closed outlines in [0, 1], blurred by `soft`."""
    canvas = np.zeros((size, size), np.uint8)
    for outline in outlines:
        cv2.fillPoly(canvas, [_to_fixed_point(outline, size)], (255,), cv2.LINE_AA, _SHIFT)
    return _soften(canvas, soft)


def region(outline: Curve, size: int) -> NDArray[np.bool_]:
    """Pixels inside a closed outline or on it, (size, size) bool."""
    canvas = np.zeros((size, size), np.uint8)
    cv2.fillPoly(canvas, [_to_fixed_point(outline, size)], (1,), cv2.LINE_8, _SHIFT)
    return canvas.astype(bool)


def stroke(
    lines: Sequence[Curve],
    widths: Sequence[float],
    size: int,
    soft: float = 0.0,
    values: Sequence[float] | None = None,
) -> Layer:
    """Lines drawn one over the other, each with its width and its value in [0, 1]."""
    canvas = np.zeros((size, size), np.uint8)
    for i, (line, width) in enumerate(zip(lines, widths, strict=True)):
        value = 255 if values is None else round(255 * values[i])
        thickness = max(1, round(width * size))
        cv2.polylines(
            canvas, [_to_fixed_point(line, size)], False, (value,), thickness, cv2.LINE_AA, _SHIFT
        )
    return _soften(canvas, soft)


def bones(lines: Sequence[Curve], width: float, size: int) -> Layer:
    """Long bones seen from the side: a bright cortex around a fainter marrow, in [0, 1]."""
    twice = [*lines, *lines]
    widths = [width] * len(lines) + [0.62 * width] * len(lines)
    values = [1.0] * len(lines) + [0.58] * len(lines)
    return stroke(twice, widths, size, 0.0011, values)


def blur(layer: Layer, sigma: float) -> Layer:
    """Gaussian blur of a layer."""
    size, factor = layer.shape[0], 1
    while sigma * size / factor > _WIDEST_BLUR and size // (2 * factor) >= 32:
        factor *= 2
    small = layer
    if factor > 1:
        side = size // factor
        small = np.asarray(cv2.resize(layer, (side, side), interpolation=cv2.INTER_AREA))
    blurred = cv2.GaussianBlur(small, (0, 0), max(sigma * size / factor, 0.3))
    return enlarge(np.asarray(blurred), size)


def enlarge(layer: NDArray[np.float32], size: int) -> Layer:
    """Cubic interpolation up to (size, size)."""
    if layer.shape[0] == size:
        return layer
    return np.asarray(cv2.resize(layer, (size, size), interpolation=cv2.INTER_CUBIC), np.float32)


def grain(rng: np.random.Generator, size: int, octaves: Sequence[tuple[int, float]]) -> Layer:
    """Sum of smooth noise fields, each given by its cells per side and its standard deviation."""
    total = np.zeros((size, size), np.float32)
    for cells, deviation in octaves:
        total += enlarge(deviation * rng.standard_normal((cells, cells), np.float32), size)
    return total


def _soften(canvas: NDArray[np.uint8], soft: float) -> Layer:
    size = canvas.shape[0]
    if soft * size > _WIDEST_BLUR:
        return blur(_unit(canvas), soft)
    blurred = cv2.GaussianBlur(canvas, (0, 0), soft * size) if soft * size > 0.3 else canvas
    return _unit(np.asarray(blurred))


def _unit(canvas: NDArray[Any]) -> Layer:
    return np.asarray(np.divide(canvas, 255, dtype=np.float32))


def _to_fixed_point(curve: Curve, size: int) -> NDArray[np.int32]:
    """Fixed-point pixel coordinates; pixel centres lie at whole numbers, hence the half."""
    return np.asarray(np.round((curve * size - 0.5) * 2**_SHIFT), np.int32)
