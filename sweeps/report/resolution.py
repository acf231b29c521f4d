"""The figure of resolutions: robust AUROC, and the two pixel measures, against r.

As Figure 3 (a) of Saab et al. 2022, with intervals, and with the measures by their equations and
exactly where the images are generated squares.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.legend import Legend

from spurious.config.datasets import GaussianSquares
from spurious.config.options import Specificity
from spurious.squares.model import exact
from sweeps.report.embedded import embed
from sweeps.report.figure import DPI, STYLE, as_png
from sweeps.report.gate import CHANCE
from sweeps.report.legends import fit_names
from sweeps.report.measures import VARIANCE, closed_form_or_nan, squares_measured
from sweeps.report.panels import FAINT, GRID
from sweeps.report.wording import images

FEWEST = 3
"""Resolutions below which a table says it all."""
SIZE = (10.0, 4.8)
BOTTOM, TOP = 0.28, 0.98
LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
SQUARES = (("closed form", closed_form_or_nan, "--"), ("exact", exact, "-"))
CAPTION = (
    "Against the resolution r of the masks. Left: robust AUROC on test, means over seeds with 95 % "
    "intervals for new seeds and new patients, and single seeds as dots; the grey line is chance. "
    "Right: variance of the pixels that the annotation calls abnormal, as measured, each line "
    "divided by its largest value{squares}."
)
OF_SQUARES = (
    "; and variance and mutual information in the model of squares, by the paper's equations "
    "(dashed) and exactly, and the information as measured on training images"
)


def resolution_context(png: bytes | None, squares: GaussianSquares | None) -> dict[str, str] | None:
    """Return the figure for the page with its caption; None where there is none."""
    if png is None:
        return None
    caption = CAPTION.format(squares="" if squares is None else OF_SQUARES)
    alt = "Line plots of robust AUROC and of pixel measures against the resolution r of the masks."
    return {"png": embed(png), "alt": alt, "caption": caption}


def resolution_png(
    cells: pd.DataFrame,
    priced: pd.DataFrame,
    measured: pd.DataFrame,
    squares: GaussianSquares | None,
) -> bytes | None:
    """Return the figure as PNG bytes; None where fewer than `FEWEST` resolutions have a result.

    Args:
        cells: The result of `sweeps.report.cells.cells`.
        priced: The trials that it was made from.
        measured: The result of `sweeps.report.measures.measures`.
        squares: The generator's options where the images are generated squares.
    """
    shown = cells.assign(r=_resolutions(cells["cell"]))
    shown = shown[shown["r"].notna() & shown["robust_auroc_mean"].notna()].astype({"r": int})
    resolutions = sorted(set(shown["r"]))
    if len(resolutions) < FEWEST:
        return None
    with matplotlib.style.context(["default", STYLE]):
        figure = Figure(figsize=SIZE, dpi=DPI, facecolor="white")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2)
        figure.subplots_adjust(0.065, BOTTOM, 0.985, TOP, wspace=0.16)
        _draw_robust(left, shown, priced)
        _draw_measures(right, resolutions, measured)
        if squares is not None:
            _draw_squares(right, resolutions, cells, squares)
        for axes in (left, right):
            _axes(axes, resolutions)
        _fit_legends(figure)
        return as_png(figure)


def _resolutions(cells: pd.Series[Any]) -> list[float]:
    """r of each cell, NaN where it has none."""
    resolutions = [cell.specificity.r for cell in cells]
    return [np.nan if r is None else float(r) for r in resolutions]


def _draw_robust(axes: Axes, shown: pd.DataFrame, priced: pd.DataFrame) -> None:
    """A line per budget and method."""
    budgets = {cell.key[1:]: cell.budget for cell in shown["cell"]}
    for colour, (budget, method) in zip(itertools.cycle(LINES), sorted(budgets), strict=False):
        line = shown[(shown["budget"] == budget) & (shown["method"] == method)].sort_values("r")
        mean = line["robust_auroc_mean"].to_numpy()
        ends = [line[f"robust_auroc_{end}"].fillna(line["robust_auroc_mean"]) for end in _ENDS]
        bars = np.abs(np.clip(np.stack([end.to_numpy() for end in ends]), 0, 1) - mean)
        label = f"{method}, {images(budgets[budget, method])} images"
        style: dict[str, Any] = {"color": colour, "capsize": 3, "marker": "o", "label": label}
        axes.errorbar(line["r"], mean, yerr=bars, **style)
        seeds = priced[(priced["budget"] == budget) & (priced["method"] == method)]
        seeds = seeds.assign(r=_resolutions(seeds["cell"])).dropna(subset="r")
        dots: dict[str, Any] = {"markersize": 3.5, "alpha": 0.4, "markeredgewidth": 0}
        axes.plot(seeds["r"], seeds["test_robust_auroc"], "o", color=colour, **dots)
    axes.axhline(CHANCE, color=FAINT, linewidth=1.4, zorder=1)
    axes.set_ylabel("Robust AUROC on test")


_ENDS = ("low", "high")


def _draw_measures(axes: Axes, resolutions: Sequence[int], measured: pd.DataFrame) -> None:
    """The variance, divided by its largest value as the paper draws it."""
    variance = measured.assign(r=_resolutions(measured["cell"]))
    means = variance.groupby("r")[VARIANCE].mean().reindex(list(resolutions))
    _line(axes, resolutions, means.tolist(), LINES[0], "o-", "variance, measured")
    axes.set_ylabel("Measure, divided by its largest value")


def _draw_squares(
    axes: Axes, resolutions: Sequence[int], cells: pd.DataFrame, squares: GaussianSquares
) -> None:
    """Both measures by equation and exactly, and the information as measured on the images."""
    targets = [Specificity("r", r=r) for r in resolutions]
    for name, form, style in SQUARES:
        curve = [form(squares, target) for target in targets]
        variances = [one.variance for one in curve]
        _line(axes, resolutions, variances, LINES[1], style, f"variance, {name}")
        _line(axes, resolutions, [one.mi for one in curve], LINES[2], style, f"{_MI}, {name}")
    on_images = squares_measured(squares, cells).by_specificity
    information = [on_images[target].mi for target in targets]
    _line(axes, resolutions, information, LINES[3], "o-", f"{_MI}, measured")


_MI = "mutual information"


def _line(
    axes: Axes, x: Sequence[int], y: Sequence[float], colour: str, style: str, label: str
) -> None:
    largest = np.nanmax(y) if np.isfinite(y).any() else np.nan
    if largest > 0:
        axes.plot(x, np.asarray(y) / largest, style, color=colour, label=label)


def _axes(axes: Axes, resolutions: Sequence[int]) -> None:
    axes.set_xscale("log")
    axes.set_xticks(resolutions, [str(r) for r in resolutions])
    axes.minorticks_off()
    axes.set_ylim(-0.04, 1.04)
    axes.set_xlabel("Resolution r of the masks")
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)


def _fit_legends(figure: Figure) -> None:
    """Draw legends below the panels, with short names; the figure grows by what they need."""
    lowest = 0.0
    for axes in figure.axes:
        handles, labels = axes.get_legend_handles_labels()
        if handles:
            legend = _fit_legend(axes, handles, labels)
            lowest = min(lowest, legend.get_window_extent().y0 / DPI)
    figure.set_size_inches(SIZE[0], SIZE[1] - lowest)
    high = SIZE[1] - lowest
    figure.subplots_adjust(
        bottom=(BOTTOM * SIZE[1] - lowest) / high, top=1 - (1 - TOP) * SIZE[1] / high
    )


def _fit_legend(axes: Axes, handles: Sequence[Any], labels: Sequence[str]) -> Legend:
    """Draw an axes' legend with two columns, or one where the shortest names take as much."""
    place: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.14)}

    def draw(names: Mapping[str, str], columns: int) -> Legend:
        shown = [names[label] for label in labels]
        return axes.legend(handles, shown, frameon=False, fontsize=8, ncols=columns, **place)

    def fits(columns: int, names: Mapping[str, str]) -> bool:
        legend = draw(names, columns)
        return bool(legend.get_window_extent().width <= axes.get_window_extent().width)

    names = fit_names(labels, functools.partial(fits, 2))
    return draw(names, 2 if fits(2, names) else 1)
