"""The figure of embeddings: each cell's test images in two dimensions, coloured by group."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from sweeps.plan.cell import Cell
from sweeps.report.cells import CELL, cell_keys
from sweeps.report.embedded import embed
from sweeps.report.figure import DPI, STYLE, as_png
from sweeps.report.panels import FAINT, MUTED
from sweeps.report.short_names import shorten
from sweeps.report.wording import annotation, images

MOST = 1000
"""Images of a panel; more take long, and cover each other."""
FEWEST = 5
"""Images below which there is nothing to project."""
NEIGHBOURS = 15
COLUMNS = 5
SIDE = 2.0
"""Width of a panel, inches."""
MOST_CHARACTERS = 20
"""Of a method's name above a panel, beside its seed."""
GROUPS = {(0, 0): "#56B4E9", (0, 1): "#0072B2", (1, 0): "#E69F00", (1, 1): "#D55E00"}
"""(label, attribute) to colour: a hue per label, darker with the attribute."""
_PREFIX = "spurious_"


@dataclass(frozen=True)
class Panel:
    """One cell's projection.

    Attributes:
        title: The cell in two short lines.
        points: (n, 2), or None where embeddings are too few or not finite.
        groups: n pairs of label and attribute: -1 where unknown, 0 in a dataset without any.
    """

    title: str
    points: NDArray[np.float64] | None
    groups: list[tuple[int, int]]


def projection_context(
    embeddings: Mapping[str, pd.DataFrame], png: bytes | None
) -> dict[str, str] | None:
    """Return the figure for the page with what it shows; None where there is none."""
    if png is None:
        return None
    name = _attribute(embeddings)
    by = "label (y)" if name is None else f"label (y) and attribute {name} (s)"
    caption = (
        f"Embeddings of test images by the kept model of each purchase's first seed that has them, "
        f"projected by UMAP with cosine distance and at most {NEIGHBOURS} neighbours, at most "
        f"{MOST:,} images each; coloured by {by}. Neighbours in a panel are alike to the model; "
        f"axes have no unit, and distances between clusters little meaning."
    )
    alt = f"Scatter plots of test images in two dimensions, coloured by {by}, one per purchase."
    return {"png": embed(png), "alt": alt, "caption": caption}


def projection_png(
    embeddings: Mapping[str, pd.DataFrame], priced: pd.DataFrame, cells: pd.DataFrame
) -> bytes:
    """Return the figure as PNG bytes, the same for the same input, versions and kind of processor.

    Args:
        embeddings: Trial id to its rows of `embeddings`; at least one, at most one per cell.
        priced: The result of `price_trials`.
        cells: The result of `cells`, whose order the panels have.
    """
    trials = priced[priced["trial_id"].isin(list(embeddings))]
    of_cell = {tuple(row[name] for name in CELL): row for row in trials.to_dict("records")}
    name = _attribute(embeddings)
    shown = [of_cell[key] for key in cell_keys(cells) if key in of_cell]
    methods = shorten((row["method"] for row in shown), MOST_CHARACTERS)
    panels = [
        _panel(row, embeddings[row["trial_id"]], name, methods[row["method"]]) for row in shown
    ]
    columns = min(COLUMNS, max(len(panels), 2))
    rows = -(-len(panels) // columns)
    with matplotlib.style.context(["default", STYLE]):
        height = rows * (SIDE + 0.45) + 0.35
        figure = Figure(figsize=(columns * SIDE, height), dpi=DPI, facecolor="white")
        FigureCanvasAgg(figure)
        grid = figure.subplots(rows, columns, squeeze=False)
        top = 1.0 - 0.75 / height
        figure.subplots_adjust(0.02, 0.1 / height, 0.98, top, wspace=0.08, hspace=0.3)
        for axes in grid.flat[len(panels) :]:
            axes.remove()
        for axes, panel in zip(grid.flat, panels, strict=False):
            _draw(axes, panel)
        _legend(figure, {group for panel in panels for group in panel.groups}, name)
        return as_png(figure)


def _attribute(embeddings: Mapping[str, pd.DataFrame]) -> str | None:
    """Return the first spurious attribute by name, None where there is none."""
    columns = sorted({str(column) for table in embeddings.values() for column in table})
    attributes = [column for column in columns if column.startswith(_PREFIX)]
    return attributes[0].removeprefix(_PREFIX) if attributes else None


def _panel(trial: Mapping[Any, Any], table: pd.DataFrame, name: str | None, method: str) -> Panel:
    if len(table) > MOST:
        table = table.sample(MOST, random_state=0)
    table = table.sort_values("sample_id", kind="stable")
    known = pd.Series(0, index=table.index)
    if name is not None:
        known = table[_PREFIX + name].map({False: 0, True: 1}).fillna(-1).astype(int)
    cell: Cell = trial["cell"]
    title = (
        f"{annotation(cell.specificity)}, {images(cell.budget)} images\n"
        f"{method}, seed {trial['seed']}"
    )
    vectors = np.stack(list(table["embedding"]))
    return Panel(title, project(vectors), list(zip(table["label"], known, strict=True)))


def project(vectors: NDArray[np.float32]) -> NDArray[np.float64] | None:
    """(n, D) embeddings to (n, 2) by UMAP; None where there are too few, or values not finite."""
    if len(vectors) < FEWEST or not np.isfinite(vectors).all():
        return None
    from umap import UMAP  # slow to import

    model = UMAP(
        n_neighbors=min(NEIGHBOURS, len(vectors) - 1),
        metric="cosine",
        random_state=0,
        n_jobs=1,  # several threads give other numbers each time
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of graphs in several pieces, which is fine
        return np.asarray(model.fit_transform(vectors), dtype=np.float64)


def _draw(axes: Axes, panel: Panel) -> None:
    axes.set_title(panel.title, fontsize=8, loc="left", color=MUTED)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set(visible=True, color=FAINT)
    if panel.points is None:
        axes.text(0.5, 0.5, "too few images,\nor not finite", ha="center", va="center", color=MUTED)
        return
    colours = [GROUPS.get(group, FAINT) for group in panel.groups]
    x, y = panel.points.T
    axes.scatter(x, y, s=7, c=colours, linewidths=0, alpha=0.75)


def _legend(figure: Figure, pairs: set[tuple[int, int]], name: str | None) -> None:
    """Only the groups that are drawn."""
    dot: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 5}
    entries = [
        Line2D(
            [],
            [],
            color=colour,
            label=f"y = {label}" if name is None else f"y = {label}, s = {attribute}",
            **dot,
        )
        for (label, attribute), colour in GROUPS.items()
        if (label, attribute) in pairs
    ]
    if any(attribute < 0 for _, attribute in pairs):
        entries.append(Line2D([], [], color=FAINT, label="s unknown", **dot))
    columns = -(-len(entries) // 2)  # a label's two groups below each other
    figure.legend(handles=entries, loc="upper left", frameon=False, ncols=columns, fontsize=8)
