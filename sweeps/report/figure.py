"""The figure: annotation dollars against AUROC, drawn without pyplot so that it holds no state."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from sweeps.report.cells import by_seed, cell_keys
from sweeps.report.legends import draw_in_columns, fit_names
from sweeps.report.panels import (
    BAND,
    FAINT,
    INK,
    MUTED,
    OVERALL,
    ROBUST,
    UNLEARNED,
    Marks,
    dollar_axis,
    draw_band,
    draw_frontier,
    draw_panel,
    side_by_side,
    write_budgets,
)
from sweeps.report.tables import specificity_order

DPI = 200
SIZE = (10.0, 7.4)
LEFT, TOP, BOTTOM, GAP = 0.075, 0.98, 0.075, 0.015
"""Margins of the panels, and between them and a legend, as fractions of `SIZE`."""
MOST_BESIDE = 0.3
"""Of the width, for the legend beside the panels."""
PANELS = {ROBUST: "Robust AUROC on test", OVERALL: "Overall AUROC"}
COLOURS = {"label": "#0072B2", "box": "#E69F00", "box=image": "#D55E00", "mask": "#009E73"}
"""From Okabe and Ito's palette, told apart with every kind of colour vision."""
_R_COLOURS = LinearSegmentedColormap.from_list("r", ["#dd8fbe", "#8c2d6e", "#3d0f33"])
_MARKERS = "os^DvPX*<>phd8H"
STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "svg.fonttype": "none",
    "svg.hashsalt": "spurious-sweeps",
    "pdf.fonttype": 42,
    "font.size": 9.5,
    "text.parse_math": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.labelsize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.fontsize": 9.5,
}

CAPTION = (
    "Each marker is one purchase: the mean over seeds. Faint dots are the single seeds, bars the "
    "95 % interval for new seeds and new patients, where there is one. A number tells how many "
    "training images were annotated, where there is room for it. Ringed markers on the line are "
    "the frontier: no other ranked purchase costs no more and scores no less. Pale ones are not "
    "ranked: they are not shown to have learned the abnormality, or lost on validation. Hollow "
    "markers lack a planned seed. The grey line at 0.5 is chance. Purchases at one price are drawn "
    "side by side; the table has the exact dollars. The shaded band holds the highest robust AUROC "
    "for the money in 95 % of the draws of new seeds and new patients. Long names of methods are "
    "shortened in the middle, and numbered in alphabetical order where they then look alike."
)


@dataclass(frozen=True)
class Drawing:
    """A figure in three formats; the same bytes for the same tables and library versions.

    Attributes:
        png: At 200 dots an inch.
        svg: With its text as text.
        pdf: With TrueType fonts, which journals ask for.
    """

    png: bytes
    svg: bytes
    pdf: bytes


def draw_frontier_figure(
    cells: pd.DataFrame, priced: pd.DataFrame, attained: pd.DataFrame
) -> Drawing:
    """Return the figure for the page and for papers.

    Args:
        cells: The result of `sweeps.report.cells.cells`.
        priced: The trials that it was made from.
        attained: The result of `sweeps.report.probabilities.attainment_frame`.
    """
    shown = cells[cells["dollars_mean"].notna()].reset_index(drop=True)
    with matplotlib.style.context(["default", STYLE]):
        figure = Figure(figsize=SIZE, dpi=DPI, facecolor="white")
        FigureCanvasAgg(figure)
        colours, markers = cell_colours(shown), cell_markers(shown)
        margins = _draw_legends(figure, colours, markers)
        robust, overall = figure.subplots(
            2, 1, sharex=True, height_ratios=[3.2, 1.0], gridspec_kw=margins | {"hspace": 0.1}
        )
        dollar_axis(robust, shown["dollars_mean"].to_numpy())
        marks = Marks(
            cells=shown,
            x=side_by_side(robust, shown["dollars_mean"].to_numpy()),
            colours=[colours[name] for name in shown["specificity"]],
            markers=[markers[name] for name in shown["method"]],
            seeds={name: by_seed(priced, cell_keys(shown), f"test_{name}") for name in PANELS},
        )
        for axes, metric in ((robust, ROBUST), (overall, OVERALL)):
            draw_panel(axes, marks, metric)
            axes.set_ylabel(PANELS[metric])
        draw_frontier(robust, marks)
        draw_band(robust, attained)
        write_budgets(robust, marks)
        figure.align_ylabels([robust, overall])
        overall.set_xlabel("Annotation cost (US dollars)")
        return Drawing(as_png(figure), as_vectors(figure, "svg"), as_vectors(figure, "pdf"))


def as_vectors(figure: Figure, kind: str) -> bytes:
    """Return a figure as `svg` or `pdf`, without the date."""
    buffer = io.BytesIO()
    dated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}[kind]
    figure.savefig(buffer, format=kind, metadata=dated)
    return buffer.getvalue()


def as_png(figure: Figure, dpi: int = DPI) -> bytes:
    """Return a figure's PNG, the same bytes for the same figure and library versions."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def cell_colours(cells: pd.DataFrame) -> dict[str, str]:
    """Return the specificity to its colour; resolutions r get one ramp from coarse to fine."""
    typed = sorted({cell.specificity for cell in cells["cell"]}, key=specificity_order)
    names = [str(specificity) for specificity in typed]
    ramp = [str(specificity) for specificity in typed if specificity.kind == "r"]
    shades = _R_COLOURS(np.linspace(0.0, 1.0, len(ramp)))
    resolutions = {n: to_hex(tuple(shade)) for n, shade in zip(ramp, shades, strict=True)}
    return {name: (COLOURS | resolutions)[name] for name in names}


def cell_markers(cells: pd.DataFrame) -> dict[str, str]:
    """Return the method to its marker; erm has the first."""
    names = sorted(set(cells["method"]), key=lambda name: (name != "erm", name))
    return {name: _MARKERS[i % len(_MARKERS)] for i, name in enumerate(names)}


def _draw_legends(
    figure: Figure, colours: Mapping[str, str], markers: Mapping[str, str]
) -> dict[str, float]:
    """Draw what colours, markers and the rest mean; return the margins of the panels.

    All stands in one column beside the panels. Where that is too high, methods go below them, and
    where it still is, annotations, too: the figure grows by what they need.
    """
    width, height = figure.bbox.width, figure.bbox.height

    def draw(sections: Sequence[str], names: Mapping[str, str]) -> tuple[float, float]:
        """Draw the column; return its width and height as fractions, and take it back."""
        legend = _column(figure, _entries(sections, colours, markers, names))
        box = legend.get_window_extent()
        legend.remove()
        return box.width / width, box.height / height

    names = fit_names(markers, lambda short: draw(_SECTIONS, short)[0] <= MOST_BESIDE)
    kept_beside = next(
        (kept for kept in (_SECTIONS, _SECTIONS[::2]) if draw(kept, names)[1] <= 1.0), _SECTIONS[2:]
    )
    legend = _column(figure, _entries(kept_beside, colours, markers, names))
    right = legend.get_window_extent().x0 / width - GAP
    used = 0.0
    for section in [name for name in reversed(_SECTIONS) if name not in kept_beside]:
        handles = _entries([section], colours, markers, names)[1:]
        style: dict[str, Any] = {"title": section, "title_fontproperties": {"weight": "bold"}}
        style |= {"bbox_to_anchor": (0, used), "bbox_transform": figure.dpi_scale_trans}
        style |= _LEGEND | {"loc": "lower left", "alignment": "left"}
        below = draw_in_columns(figure, handles, width * (1 - GAP), **style)
        used += below.get_window_extent().height / DPI + GAP
    grown = SIZE[1] + used
    figure.set_size_inches(SIZE[0], grown)
    top, bottom = 1 - (1 - TOP) * SIZE[1] / grown, (BOTTOM * SIZE[1] + used) / grown
    return {"left": LEFT, "right": right, "top": top, "bottom": bottom}


_SECTIONS = ("Annotation", "Method", "Reading")
_LEGEND: dict[str, Any] = {"frameon": False, "handlelength": 1.6}


def _column(figure: Figure, entries: Sequence[Any]) -> Legend:
    legend = figure.legend(handles=entries, loc="upper right", **_LEGEND)
    for text in legend.get_texts():
        if text.get_text() in _SECTIONS:
            text.set_fontweight("bold")
    return legend


def _entries(
    sections: Sequence[str],
    colours: Mapping[str, str],
    markers: Mapping[str, str],
    names: Mapping[str, str],
) -> list[Any]:
    """Return what a legend lists: each section under its name, an empty line between two."""

    def entry(label: str, **style: Any) -> Line2D:
        drawn: dict[str, Any] = {"linestyle": "none", "markersize": 7} | style
        return Line2D([], [], label=label, **drawn)

    ring = {"markerfacecolor": "none", "markeredgecolor": INK, "markersize": 10}
    known: dict[str, list[Any]] = {
        "Annotation": [entry(name, marker="s", color=colour) for name, colour in colours.items()],
        "Method": [
            entry(names[name], marker=marker, color=MUTED) for name, marker in markers.items()
        ],
        "Reading": [
            entry("frontier", marker="o", linestyle="-", color=INK, linewidth=1.2, **ring),
            Patch(facecolor=FAINT, alpha=BAND, label="95 % of the draws"),
            entry("one seed", marker="o", color=MUTED, markersize=3, alpha=0.5),
            entry("95 % interval", marker="|", color=MUTED, markersize=11, markeredgewidth=1.4),
            entry("not ranked", marker="o", color=MUTED, alpha=UNLEARNED),
            entry("seed missing", marker="o", markerfacecolor="white", markeredgecolor=MUTED),
            entry("chance", linestyle="-", color=FAINT, linewidth=1.4),
        ],
    }
    listed = [[entry(name), *known[name]] for name in sections]
    return [each for i, of in enumerate(listed) for each in ([entry("")] if i else []) + of]
