"""Labels written beside bundles of markers, each in the first place that is free."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.transforms import IdentityTransform
from numpy.typing import NDArray

from sweeps.report.layout import Box, around, first_free

MARKER = 7.0
"""Half the side of a marker with its ring, pixels."""
BUNDLE = 30.0
"""Neighbours of one bundle share a label up to this distance, pixels."""


@dataclass(frozen=True)
class Label:
    """What one marker asks for; positions in pixels.

    Attributes:
        text: The label.
        bundle: Neighbouring markers of one bundle share one label.
        colour: Colour of the marker; the text is written in a darker one.
        important: Written in bold, and placed before others.
        x: Centre of the marker.
        y: Centre of the marker.
        low: Lower end of its bar and dots.
        high: Upper end of its bar and dots.
    """

    text: str
    bundle: tuple[str, ...]
    colour: str
    important: bool
    x: float
    y: float
    low: float
    high: float


def write_labels(axes: Axes, labels: Sequence[Label], line: NDArray[np.float64]) -> None:
    """Write one label per bundle where nothing else is; or only on a bar or the line; or not.

    Needs final axis limits: places are chosen in pixels of the figure's own resolution.

    Args:
        axes: Where to write.
        labels: One per marker.
        line: (P, 2) corners of a line of level and upright strokes, in pixels.
    """
    left, bottom, right, top = (float(side) for side in axes.get_window_extent().extents)
    frame: Box = (left, bottom, right, top)
    markers: list[Box] = [
        (one.x - MARKER, one.y - MARKER, one.x + MARKER, one.y + MARKER) for one in labels
    ]
    bars: list[Box] = [(one.x - 1, one.low, one.x + 1, one.high) for one in labels]
    strokes: list[Box] = [
        (*np.minimum(one, other) - 1, *np.maximum(one, other) + 1)
        for one, other in itertools.pairwise(line)
    ]
    for bundle in sorted(_bundles(labels), key=lambda bundle: not _important(bundle)):
        text = axes.text(
            0,
            0,
            bundle[0].text,
            color=_dark(bundle[0].colour),
            fontsize=8.5,
            fontweight="bold" if _important(bundle) else "normal",
            transform=IdentityTransform(),
            zorder=7,
        )
        extent = text.get_window_extent()
        places = _places(bundle, extent.width, extent.height)
        box = first_free(places, markers + bars + strokes, frame)
        box = box or first_free(places, markers, frame)
        if box is None:
            text.remove()
            continue
        text.set_position((box[0] - extent.x0, box[1] - extent.y0))
        markers.append(box)


def _important(bundle: Sequence[Label]) -> bool:
    return any(one.important for one in bundle)


def _bundles(labels: Sequence[Label]) -> list[list[Label]]:
    """Labels of one bundle whose markers follow each other closely from left to right."""
    bundles: list[list[Label]] = []
    for one in sorted(labels, key=lambda one: (one.bundle, one.x)):
        last = bundles[-1][-1] if bundles else None
        if last is not None and last.bundle == one.bundle and one.x - last.x <= BUNDLE:
            bundles[-1].append(one)
        else:
            bundles.append([one])
    return bundles


def _places(bundle: Sequence[Label], width: float, height: float) -> list[Box]:
    """Above or below the bundle's bars first, then close to any of its markers."""
    centre = float(np.mean([one.x for one in bundle]))
    low, high = min(one.low for one in bundle), max(one.high for one in bundle)
    places = around(centre, low - 3, high + 3, width, height, 2.0)[:2]
    for one in bundle:
        places += around(one.x, one.y - MARKER, one.y + MARKER, width, height, 10.0)
    return places


def _dark(colour: str) -> list[float]:
    """Return the colour, dark enough to be read as small text on white."""
    channels = np.array(to_rgb(colour))
    brightness = float(channels @ [0.2126, 0.7152, 0.0722])
    return [float(channel) for channel in channels * min(0.7, 0.33 / max(brightness, 1e-6))]
