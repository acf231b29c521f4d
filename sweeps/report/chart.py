"""The frontier as SVG that the page shows as it is, and that its script moves.

One mark for each purchase, which can be reached by keyboard and names itself. Kinds of annotation
have shapes, methods have colours and, in the name, words. `explore.js` has the same scale.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from sweeps.report.frontier import on_frontier
from sweeps.report.panels import LOG_ABOVE, dollar_tick

WIDTH, HEIGHT = 880, 400
LEFT, RIGHT, TOP, BOTTOM = 52.0, 864.0, 14.0, 356.0
COLOURS = 8
"""Methods that have a colour of their own; beyond, they repeat."""
_NEAR, _STEP, _MOST_STEPS = 9.0, 6.0, 12
"""Pixels within which two marks cover each other, and how one is moved away."""
_SHAPES = {
    "label": "M0 -6A6 6 0 1 0 0.01 -6Z",
    "box": "M-5.5 -5.5H5.5V5.5H-5.5Z",
    "r": "M0 -7L6.5 5H-6.5Z",
    "mask": "M0 -7.5L7.5 0L0 7.5L-7.5 0Z",
}


@dataclass(frozen=True)
class Mark:
    """A purchase on the chart.

    Attributes:
        name: In words.
        kind: `label`, `box`, `r` or `mask`.
        budget: Annotated images, as text beside the mark.
        method: Its place among the sweep's methods.
        dollars: Its price.
        mean, low, high: Robust AUROC and its interval; NaN limits without one.
        words: What the mark says of itself, its name included.
        is_ranked: Whether it may be named as an answer.
    """

    name: str
    kind: str
    budget: str
    method: int
    dollars: float
    mean: float
    low: float
    high: float
    words: str
    is_ranked: bool


@dataclass(frozen=True)
class Scale:
    """Dollars to pixels.

    Attributes:
        start, end: Of the axis: dollars, or their decadic logarithm.
        is_log: Which of the two.
        ticks: Dollars.
    """

    start: float
    end: float
    is_log: bool
    ticks: Sequence[float]

    def at(self, dollars: float) -> float:
        """Return the place of a price; what is free stands at the left end of a logarithm."""
        value = dollars
        if self.is_log:
            value = math.log10(max(dollars, 10.0**self.start))
        return LEFT + (value - self.start) / (self.end - self.start) * (RIGHT - LEFT)


def dollar_scale(costs: Sequence[float]) -> Scale:
    """Return the scale of an axis: logarithmic where the dearest is more than ten times dearer."""
    positive = [cost for cost in costs if cost > 0]
    low, high = min(positive, default=0.0), max(positive, default=1.0)
    if not positive or high <= LOG_ABOVE * low:
        begin = min(*costs, low) if costs else low
        pad = 0.08 * (high - begin) or 0.5 * high or 1.0
        start, end = begin - pad, high + pad
        rough = (end - start) / 6
        ten = 10.0 ** math.floor(math.log10(rough))
        step = ten * next(factor for factor in (1, 2, 5, 10) if factor * ten >= rough)
        first, last = math.ceil(max(start, 0.0) / step), math.floor(end / step)
        return Scale(start, end, False, [k * step for k in range(first, last + 1)])
    decades = math.log10(high / low)
    start, end = math.log10(low) - 0.06 * decades, math.log10(high) + 0.06 * decades
    factors = (1, 2, 5) if decades < 3 else (1, 3) if decades < 4 else (1,)
    ticks = [f * 10.0**k for k in range(math.floor(start), math.ceil(end) + 1) for f in factors]
    return Scale(start, end, True, [t for t in ticks if start <= math.log10(t) <= end])


def lowest(marks: Sequence[Mark]) -> float:
    """Return the lower end of the axis of AUROCs: a tenth, at most chance."""
    ends = [value for mark in marks for value in (mark.mean, mark.low) if not math.isnan(value)]
    return math.floor(min([0.5, *ends]) * 10 + 1e-9) / 10


def height_of(value: float, bottom: float) -> float:
    """Return the place of an AUROC."""
    return BOTTOM - (min(max(value, bottom), 1.0) - bottom) / (1.0 - bottom) * (BOTTOM - TOP)


def dodge(xs: Sequence[float], ys: Sequence[float]) -> list[float]:
    """Return places moved to the right where two marks would cover each other."""
    moved, placed = list(xs), list[tuple[float, float]]()
    for i in sorted(range(len(xs)), key=lambda i: xs[i]):
        x, tries = xs[i], 0
        while tries < _MOST_STEPS and any(
            abs(px - x) < _NEAR and abs(py - ys[i]) < _NEAR for px, py in placed
        ):
            x, tries = x + _STEP, tries + 1
        placed.append((x, ys[i]))
        moved[i] = x
    return moved


def frontier_svg(marks: Sequence[Mark], kinds: Mapping[str, str], methods: Sequence[str]) -> str:
    """Return the chart.

    Args:
        marks: In the order of the page's data.
        kinds: Kinds of annotation that occur, with their words.
        methods: Names of methods, in the order of their colours.
    """
    scale, bottom = dollar_scale([mark.dollars for mark in marks]), lowest(marks)
    ranked = [mark for mark in marks if mark.is_ranked]
    on = on_frontier([mark.dollars for mark in ranked], [mark.mean for mark in ranked])
    front = sorted(
        (mark for mark, is_on in zip(ranked, on, strict=True) if is_on), key=lambda m: m.dollars
    )
    points = " ".join(
        f"{scale.at(mark.dollars):.1f},{height_of(mark.mean, bottom):.1f}" for mark in front
    )
    xs = dodge(
        [scale.at(mark.dollars) for mark in marks], [height_of(mark.mean, bottom) for mark in marks]
    )
    parts = [
        f'<svg id="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="group" '
        'aria-label="Robust AUROC against dollars, one mark for each purchase">',
        *_grid(bottom),
        f'<g id="ticks" data-y="{BOTTOM + 20:g}">{_ticks(scale)}</g>',
        f'<text class="title" x="{(LEFT + RIGHT) / 2:g}" y="{HEIGHT - 4}">dollars</text>',
        f'<polyline id="frontier" points="{points}"/>',
        *(_mark(i, mark, xs[i], bottom, mark in front) for i, mark in enumerate(marks)),
        "</svg>",
        _legend(kinds, methods),
    ]
    return "\n".join(parts)


def _grid(bottom: float) -> list[str]:
    """Return lines and numbers of AUROCs, a tenth apart, chance by name."""
    lines = []
    for tenth in range(round(bottom * 10), 11):
        y = height_of(tenth / 10, bottom)
        name = ' class="chance"' if tenth == 5 else ""
        lines.append(f'<line{name} x1="{LEFT:g}" x2="{RIGHT:g}" y1="{y:.1f}" y2="{y:.1f}"/>')
        lines.append(
            f'<text class="auroc" x="{LEFT - 8:g}" y="{y + 4:.1f}">{tenth / 10:.1f}</text>'
        )
    return lines


def _ticks(scale: Scale) -> str:
    return "".join(
        f'<text x="{scale.at(tick):.1f}" y="{BOTTOM + 20:g}">{dollar_tick(tick)}</text>'
        for tick in scale.ticks
    )


def _mark(place: int, mark: Mark, x: float, bottom: float, is_front: bool) -> str:
    y = height_of(mark.mean, bottom)
    names = ["mark", f"c{mark.method % COLOURS}"]
    names += ["front"] if is_front else []
    names += [] if mark.is_ranked else ["unranked"]
    words = escape(mark.words, quote=True)
    bar = ""
    if not math.isnan(mark.low):
        ends = (height_of(mark.low, bottom), height_of(mark.high, bottom))
        bar = f'<line class="bar" x1="0" x2="0" y1="{ends[0]:.1f}" y2="{ends[1]:.1f}"/>'
    return (
        f'<g class="{" ".join(names)}" data-place="{place}" tabindex="0" role="img" '
        f'aria-label="{words}" transform="translate({x:.1f} 0)">'
        f"<title>{words}</title>{bar}"
        f'<path d="{_SHAPES[mark.kind]}" transform="translate(0 {y:.1f})"/>'
        f'<text class="budget" x="10" y="{y + 4:.1f}">{escape(mark.budget)}</text></g>'
    )


def _legend(kinds: Mapping[str, str], methods: Sequence[str]) -> str:
    """Return shapes and colours with their words, in HTML below the chart."""
    items = [
        f'<li><svg viewBox="-9 -9 18 18" aria-hidden="true"><path d="{_SHAPES[kind]}"/></svg>'
        f"{escape(words)}</li>"
        for kind, words in kinds.items()
    ]
    items += [
        f'<li><svg viewBox="-9 -9 18 18" aria-hidden="true" class="c{i % COLOURS}">'
        f'<path d="M-8 -4H8V4H-8Z"/></svg>{escape(name)}</li>'
        for i, name in enumerate(methods)
    ]
    return f'<ul class="legend">{"".join(items)}</ul>'


def context_of(marks: Sequence[Mark]) -> dict[str, Any]:
    """Return what the script needs of the chart: its ends, and each mark's height."""
    bottom = lowest(marks)
    return {
        "left": LEFT,
        "right": RIGHT,
        "heights": [round(height_of(mark.mean, bottom), 1) for mark in marks],
    }
