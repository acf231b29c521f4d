"""Shares of explanations in masks and on spurious features against robust AUROC, trial by trial."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.style
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from sweeps.report.explained import KINDS, describe_region, rank_correlation
from sweeps.report.figure import DPI, STYLE, as_png, cell_colours, cell_markers
from sweeps.report.legends import draw_in_columns, fit_names
from sweeps.report.panels import FAINT, INK, MUTED

MOST_BESIDE = 2.0
"""Inches for the legend beside the panels, of which each takes about three."""
LEAST_SPAN = 0.02
"""Least width of a panel, in shares."""


def scatter_png(explained: pd.DataFrame, cells: pd.DataFrame) -> bytes | None:
    """Return shares of maps in regions against robust AUROC, a panel each; None without any.

    Args:
        explained: The result of `sweeps.report.explained.explained_frame`.
        cells: The result of `cells`.
    """
    known = explained.dropna(subset=["share", "robust_auroc"])
    if known.empty:
        return None
    kinds = [kind for kind in KINDS if (known["explanation"] == kind).any()]
    regions = sorted(known["region"].unique(), key=lambda name: (name not in ("mask", "box"), name))
    colours, markers = cell_colours(cells), cell_markers(cells)
    with matplotlib.style.context(["default", STYLE]):
        size = (2.2 + 3.2 * len(regions), 0.5 + 2.7 * len(kinds))
        figure = Figure(figsize=size, dpi=DPI, facecolor="white", layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.subplots(len(kinds), len(regions), squeeze=False, sharey=True)
        for row, kind in enumerate(kinds):
            for column, region in enumerate(regions):
                of = known[(known["explanation"] == kind) & (known["region"] == region)]
                _draw_scatter(grid[row, column], of, colours, markers)
                grid[row, column].set_title(
                    f"{KINDS[kind]} in {describe_region(region)}", fontsize=9, loc="left"
                )
            grid[row, 0].set_ylabel("Robust AUROC, kept epoch")
        for axes in grid[-1]:
            axes.set_xlabel("Share of the map")
        _legend(figure, colours, markers)
        return as_png(figure)


def _draw_scatter(
    axes: Axes, of: pd.DataFrame, colours: Mapping[str, str], markers: Mapping[str, str]
) -> None:
    axes.axhline(0.5, color=FAINT, linewidth=1.2, zorder=1)
    if of.empty:
        axes.set_axis_off()
        return
    axes.axvline(float(of["chance"].mean()), color=MUTED, linewidth=1.0, linestyle=":", zorder=1)
    for row in of.to_dict("records"):
        axes.plot(
            row["share"],
            row["robust_auroc"],
            markers[row["method"]],
            color=colours[row["specificity"]],
            markersize=5,
            markeredgewidth=0,
            alpha=0.7,
        )
    axes.xaxis.set_major_locator(MaxNLocator(4))
    low, high = axes.get_xlim()
    if high - low < LEAST_SPAN:  # so that noise is not blown up to the full width
        middle = (low + high) / 2
        axes.set_xlim(middle - LEAST_SPAN / 2, middle + LEAST_SPAN / 2)
    axes.text(
        *(0.98, 0.03, f"rank correlation {rank_correlation(of)}"),
        transform=axes.transAxes,
        ha="right",
        fontsize=8,
        color=MUTED,
    )


def _legend(figure: Figure, colours: Mapping[str, str], markers: Mapping[str, str]) -> None:
    """List colours and markers beside the panels, or below where there are too many of them."""
    style: dict[str, Any] = {"linestyle": "none", "markersize": 6, "markeredgewidth": 0}

    def entries(names: Mapping[str, str]) -> list[Line2D]:
        return [
            *(Line2D([], [], marker="s", color=c, label=n, **style) for n, c in colours.items()),
            *(
                Line2D([], [], marker=m, color=INK, label=names[n], **style)
                for n, m in markers.items()
            ),
            Line2D([], [], color=MUTED, linestyle=":", label="chance of the map"),
            Line2D([], [], color=FAINT, label="chance of the AUROC"),
        ]

    def measure(names: Mapping[str, str]) -> tuple[float, float]:
        """Return width and height in inches of a column, which is taken back."""
        legend = figure.legend(handles=entries(names), frameon=False, fontsize=8)
        box = legend.get_window_extent()
        legend.remove()
        return box.width / DPI, box.height / DPI

    names = fit_names(markers, lambda short: measure(short)[0] <= MOST_BESIDE)
    plain: dict[str, Any] = {"frameon": False, "fontsize": 8}
    width, height = figure.get_size_inches()
    if measure(names)[1] <= height:
        figure.legend(handles=entries(names), loc="outside right upper", **plain)
        return
    place = {"loc": "outside lower left", **plain}
    below = draw_in_columns(figure, entries(names), width * DPI, **place)
    figure.set_size_inches(width, height + below.get_window_extent().height / DPI)
