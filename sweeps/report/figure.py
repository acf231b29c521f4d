"""The figure: annotation dollars against AUROC, drawn without pyplot so that it holds no state."""

from __future__ import annotations

import io
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

DPI = 160
SIZE = (10.0, 7.4)
_MARGINS = {"left": 0.075, "top": 0.98, "bottom": 0.075, "hspace": 0.1}
PANELS = {ROBUST: "Robust AUROC on test", OVERALL: "Overall AUROC"}
COLOURS = {"label": "#0072B2", "box": "#E69F00", "box=image": "#D55E00", "mask": "#009E73"}
"""From Okabe and Ito's palette, told apart with every kind of colour vision."""
_R_COLOURS = LinearSegmentedColormap.from_list("r", ["#dd8fbe", "#8c2d6e", "#3d0f33"])
_MARKERS = "os^DvPX*<>phd8H"
STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
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
    "ranked: they are not shown to be better than chance, or lost on validation. Hollow markers "
    "lack a planned seed. The grey line at 0.5 is chance. Purchases at one price are drawn "
    "side by side; the table has the exact dollars. The shaded band holds the highest robust AUROC "
    "for the money in 95 % of the draws of new seeds and new patients."
)


def frontier_png(cells: pd.DataFrame, priced: pd.DataFrame, attained: pd.DataFrame) -> bytes:
    """Return the figure as PNG bytes, the same for the same tables and library versions.

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
        legend = _legend(figure, colours, markers)
        right = legend.get_window_extent().x0 / (SIZE[0] * DPI) - 0.015
        robust, overall = figure.subplots(
            2, 1, sharex=True, height_ratios=[3.2, 1.0], gridspec_kw=_MARGINS | {"right": right}
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
        return as_png(figure)


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


def _legend(figure: Figure, colours: dict[str, str], markers: dict[str, str]) -> Legend:
    """One column at the right, outside the panels: colours, markers, and how to read the rest."""

    def entry(label: str, **style: Any) -> Line2D:
        drawn: dict[str, Any] = {"linestyle": "none", "markersize": 7} | style
        return Line2D([], [], label=label, **drawn)

    ring = {"markerfacecolor": "none", "markeredgecolor": INK, "markersize": 10}
    entries = [
        entry("Annotation"),
        *(entry(name, marker="s", color=colour) for name, colour in colours.items()),
        entry(""),
        entry("Method"),
        *(entry(name, marker=marker, color=MUTED) for name, marker in markers.items()),
        entry(""),
        entry("Reading"),
        entry("frontier", marker="o", linestyle="-", color=INK, linewidth=1.2, **ring),
        Patch(facecolor=FAINT, alpha=BAND, label="95 % of the draws"),
        entry("one seed", marker="o", color=MUTED, markersize=3, alpha=0.5),
        entry("95 % interval", marker="|", color=MUTED, markersize=11, markeredgewidth=1.4),
        entry("not ranked", marker="o", color=MUTED, alpha=UNLEARNED),
        entry("seed missing", marker="o", markerfacecolor="white", markeredgecolor=MUTED),
        entry("chance", linestyle="-", color=FAINT, linewidth=1.4),
    ]
    legend = figure.legend(handles=entries, loc="upper right", frameon=False, handlelength=1.6)
    for text in legend.get_texts():
        if text.get_text() in ("Annotation", "Method", "Reading"):
            text.set_fontweight("bold")
    return legend
