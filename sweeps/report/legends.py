"""Legends that leave room for the plot: their names are as short as that takes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.legend import Legend

from sweeps.report.short_names import shorten

LENGTHS = (60, 48, 40, 32, 26, 20, 14)
"""Most characters of a name, tried one after the other until a legend fits."""


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
