"""The figure of a comparison: each purchase's difference with its interval, one row a purchase."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sweeps.plan.cell import Cell
from sweeps.report.comparison.frame import METRICS
from sweeps.report.figure import DPI, STYLE, Drawing, as_png, as_vectors
from sweeps.report.panels import INK, MUTED
from sweeps.report.short_names import shorten
from sweeps.report.wording import annotation, images

MOST_ROWS = 120
"""Purchases that are drawn; the tables have all."""
WIDTH, ROW, REST = 10.0, 0.24, 1.1
"""Inches: of the figure, and high for a row and for title and axis."""
_TITLES = {"robust_auroc": "Robust AUROC", "auroc": "Overall AUROC"}
_COLOURS = {"higher": "#0072B2", "lower": "#D55E00"}
_MARKERS = {"higher": "^", "lower": "v"}


def draw_differences(frame: pd.DataFrame, first: str, second: str) -> Drawing | None:
    """Return the figure; None where the sweeps have no purchase with a difference in common.

    Args:
        frame: The result of `comparison_frame`.
        first, second: What the sweeps are called.
    """
    shown = frame[frame["difference"].notna()]
    labels = shown.drop_duplicates(["specificity", "budget", "method"])[:MOST_ROWS]
    if labels.empty:
        return None
    with matplotlib.style.context(["default", STYLE]):
        figure = Figure((WIDTH, REST + ROW * len(labels)), dpi=DPI, facecolor="white")
        FigureCanvasAgg(figure)
        figure.set_layout_engine("constrained")
        panels = figure.subplots(1, len(METRICS), sharey=True)
        for axes, metric in zip(panels, METRICS, strict=True):
            _draw_panel(axes, shown[shown["metric"] == metric], labels)
            axes.set_title(_TITLES[metric], loc="left", fontsize=10.5)
            axes.set_xlabel("second minus first")
        panels[0].set_yticks(np.arange(len(labels)), _names(list(labels["cell"])))
        panels[0].set_ylim(len(labels) - 0.4, -0.6)
        short = shorten([first, second], 40)
        figure.suptitle(f"{short[second]} minus {short[first]}", fontsize=11)
        return Drawing(as_png(figure), as_vectors(figure, "svg"), as_vectors(figure, "pdf"))


def _draw_panel(axes: Axes, mine: pd.DataFrame, labels: pd.DataFrame) -> None:
    places = {cell: place for place, cell in enumerate(labels["cell"])}
    axes.axvline(0.0, color=MUTED, linewidth=0.8, linestyle=(0, (5, 4)))
    for row in mine[mine["cell"].isin(places)].to_dict("records"):
        y, verdict = places[row["cell"]], row["verdict"]
        colour = _COLOURS.get(verdict, INK)
        if not np.isnan(row["low"]):
            axes.plot([row["low"], row["high"]], [y, y], color=colour, linewidth=1.4)
        fill = colour if verdict in _COLOURS else "white"
        marker, x = _MARKERS.get(verdict, "o"), row["difference"]
        axes.plot([x], [y], marker, color=colour, markerfacecolor=fill, markersize=5.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", color="#e7eaee", linewidth=0.6)
    axes.set_axisbelow(True)


def _names(cells: Sequence[Cell]) -> list[str]:
    short = shorten((str(cell.method) for cell in cells), 28)
    return [
        f"{annotation(cell.specificity)}, {images(cell.budget)}, {short[str(cell.method)]}"
        for cell in cells
    ]
