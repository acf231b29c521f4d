"""Names in figures: shortened so that they stay apart, in legends that leave room for the plot."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.legend import Legend

LENGTHS = (60, 48, 40, 32, 26, 20, 14)
"""Most characters of a name, tried one after the other until a legend fits."""
_LEAST_PART = 7
_PARTS = re.compile(r"([^\s,;:()=\[\]]+)")
"""Words and values of a method's name: `exbl(good=1.2.840, bad=1.2.841)` has five."""
_GAP = "\N{HORIZONTAL ELLIPSIS}"


def shorten(names: Iterable[str], most: int) -> dict[str, str]:
    """Shorten names in the middle, so that they stay distinct.

    Args:
        names: The names; repeats count once.
        most: Characters that a shortened name has at most, but for a number in brackets.

    Returns:
        Each name to its short one: itself where it is short enough. Names that would be alike get
        a number each, in alphabetical order.
    """
    distinct = sorted(set(names))
    short = {name: _shorten(name, most) for name in distinct}
    alike, seen = Counter(short.values()), Counter[str]()
    taken = set(short.values())
    for name in distinct:
        text = short[name]
        if alike[text] > 1:
            while (numbered := f"{text} [{seen[text] + 1}]") in taken:
                seen[text] += 1
            taken.add(numbered)
            short[name] = numbered
    return short


def _shorten(name: str, most: int) -> str:
    """Shorten each long part of a name alike, so that its options stay; else the whole name."""
    parts = _PARTS.split(name)
    for length in range(most, _LEAST_PART - 1, -1):
        text = "".join(_cut(part, length) for part in parts)
        if len(text) <= most:
            return text
    return _cut(name, most)


def _cut(text: str, most: int) -> str:
    """Return a text with an ellipsis for its middle; the end tells identifiers apart, and stays."""
    if len(text) <= most:
        return text
    end = most // 2
    return text[: most - 1 - end] + _GAP + text[len(text) - end :]


def fit_names(
    names: Collection[str], fits: Callable[[Mapping[str, str]], bool]
) -> Mapping[str, str]:
    """Return names as long as they fit, the shortest where none does.

    Args:
        names: The names.
        fits: Draws with short names and says whether there is room; it takes back what it drew.
    """
    for most in LENGTHS:
        short = shorten(names, most)
        if fits(short):
            break
    return short


def draw_in_columns(
    figure: Figure, handles: Sequence[Any], width: float, most: int = 6, **style: Any
) -> Legend:
    """Draw a legend of a figure with as many columns as fit in a width.

    Args:
        figure: The figure, with a canvas.
        handles: What it lists, with labels; at least one.
        width: In pixels.
        most: Columns at most.
        style: Of `Figure.legend`.
    """
    for columns in range(min(most, len(handles)), 0, -1):
        legend = figure.legend(handles=handles, ncols=columns, **style)
        if columns == 1 or legend.get_window_extent().width <= width:
            break
        legend.remove()
    return legend
