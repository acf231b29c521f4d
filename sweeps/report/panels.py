"""The two panels of the figure: axis, markers, intervals, frontier and budgets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from sweeps.report.gate import CHANCE
from sweeps.report.labels import Label, write_labels
from sweeps.report.layout import apart
from sweeps.report.wording import images

ROBUST, OVERALL = "robust_auroc", "auroc"
LOG_ABOVE = 10.0
"""Ratio of the largest to the smallest cost above which the dollar axis is logarithmic."""
LEAST_DISTANCE = 0.011
"""Between the markers of two cells, as a fraction of the axis' width."""
LEAST_SPAN = 0.1
"""Least height of a panel in AUROC, so that noise is not blown up to its full height."""
UNLEARNED = 0.3
"""Opacity of cells whose models learned nothing, which are not ranked."""
BAND = 0.3
"""Opacity of the band around the frontier."""
INK, MUTED, FAINT, GRID = "#1b1f24", "#57606a", "#b4bcc4", "#eef1f4"


@dataclass(frozen=True)
class Marks:
    """What both panels draw, one entry per cell with a result.

    Attributes:
        cells: The cells.
        x: (C,) dollars, moved apart where cells coincide.
        colours: (C,) by specificity.
        markers: (C,) by method.
        seeds: Metric to (C, S), one value per seed.
    """

    cells: pd.DataFrame
    x: NDArray[np.float64]
    colours: list[str]
    markers: list[str]
    seeds: dict[str, NDArray[np.float64]]


def dollar_axis(axes: Axes, dollars: NDArray[np.float64]) -> None:
    """Scale, limits and ticks. Free purchases among dear ones get a scale that can show zero."""
    low, high = float(dollars.min()), float(dollars.max())
    smallest = float(dollars[dollars > 0].min(initial=np.inf))
    if high <= LOG_ABOVE * smallest:
        pad = 0.08 * (high - low) or 0.5 * high or 1.0
        axes.set_xlim(low - pad, high + pad)
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    elif low == 0.0:
        axes.set_xscale("symlog", linthresh=smallest)
        axes.set_xlim(-0.3 * smallest, high * 1.5)
    else:
        decades = np.log10(high / smallest)
        margin = 10 ** (0.05 * decades)
        steps = (1.0, 2.0, 5.0) if decades < 3.0 else (1.0, 3.0) if decades < 4.0 else (1.0,)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=steps, numticks=40))
        axes.set_xlim(low / margin, high * margin)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: dollar_tick(value)))


def dollar_tick(value: float) -> str:
    """Return a tick label: whole dollars, cents only where a small tick needs them."""
    whole = abs(value) >= 100 or abs(value - round(value)) < 1e-9
    return f"${value:,.0f}" if whole else f"${value:,.2f}"


def side_by_side(axes: Axes, dollars: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return dollars moved apart on the axis by the width of a marker where cells coincide."""
    to_fraction = axes.transData + axes.transAxes.inverted()
    at = to_fraction.transform(np.column_stack([dollars, np.zeros_like(dollars)]))
    at[:, 0] = apart(at[:, 0], min(LEAST_DISTANCE, 0.9 / len(dollars)))
    return np.asarray(to_fraction.inverted().transform(at)[:, 0])


def _interval(cells: pd.DataFrame, metric: str) -> NDArray[np.float64]:
    """(C, 2) ends of the interval; the mean twice where there is none."""
    mean = cells[f"{metric}_mean"].to_numpy()
    ends = cells[[f"{metric}_low", f"{metric}_high"]].to_numpy()
    return np.clip(np.where(np.isnan(ends), mean[:, None], ends), 0.0, 1.0)


def draw_panel(axes: Axes, marks: Marks, metric: str) -> None:
    """Means, intervals and single seeds of a metric, hollow where a planned seed is missing."""
    cells, main = marks.cells, metric == ROBUST
    ends, seeds = _interval(cells, metric), marks.seeds[metric]
    dots: dict[str, Any] = {"markersize": 4.2 if main else 3.0, "alpha": 0.45, "markeredgewidth": 0}
    for i, mean in enumerate(cells[f"{metric}_mean"]):
        x, colour, complete = marks.x[i], marks.colours[i], bool(cells["complete"][i])
        axes.vlines(x, *ends[i], color=colour, linewidth=1.1, alpha=0.6, zorder=2)
        axes.plot(np.full(seeds.shape[1], x), seeds[i], "o", color=colour, zorder=3, **dots)
        style: dict[str, Any] = {
            "markersize": 7.5 if main else 5.0,
            "markerfacecolor": colour if complete else "white",
            "markeredgecolor": "white" if complete else colour,
            "markeredgewidth": 0.8 if complete else 1.3,
            "alpha": 1.0 if pd.isna(cells["unlearned"][i]) else UNLEARNED,
        }
        axes.plot(x, mean, marks.markers[i], zorder=5, **style)
    _auroc_axis(axes, np.concatenate([ends.ravel(), seeds.ravel()]), main)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)


def _auroc_axis(axes: Axes, values: NDArray[np.float64], main: bool) -> None:
    """Limits around everything that is drawn, ticks within [0, 1], chance in the main panel."""
    seen = values[~np.isnan(values)]
    seen = np.append(seen, CHANCE) if main or not len(seen) else seen
    span = float(np.ptp(seen))
    pad = 0.06 * span + max(0.0, LEAST_SPAN - span) / 2
    low, high = float(seen.min()) - pad, float(seen.max()) + pad
    locator = MaxNLocator(8 if main else 4, steps=[1, 2, 5, 10])
    axes.set_yticks([tick for tick in locator.tick_values(low, high) if 0.0 <= tick <= 1.0])
    axes.set_ylim(low, high)
    if low < CHANCE < high:
        axes.axhline(CHANCE, color=FAINT, linewidth=1.4, zorder=1)


def _steps(axes: Axes, marks: Marks) -> NDArray[np.float64]:
    """(P, 2) corners of the frontier's line: the best that each dollar reaches."""
    front = np.flatnonzero(marks.cells["on_frontier"])
    front = front[np.argsort(marks.x[front])]
    x, y = marks.x[front], marks.cells["robust_auroc_mean"].to_numpy()[front]
    if len(front) == 0:
        return np.empty((0, 2))
    ends = np.append(x[1:], axes.get_xlim()[1])
    return np.column_stack([np.column_stack([x, ends]).ravel(), np.repeat(y, 2)])


def draw_frontier(axes: Axes, marks: Marks) -> None:
    """Ring the frontier's markers and join them by steps."""
    corners = _steps(axes, marks)
    axes.plot(corners[:, 0], corners[:, 1], color=INK, linewidth=1.2, zorder=4)
    ring: dict[str, Any] = {"markersize": 13, "markerfacecolor": "none", "markeredgecolor": INK}
    axes.plot(corners[::2, 0], corners[::2, 1], "o", zorder=6, **ring)


def draw_band(axes: Axes, attained: pd.DataFrame) -> None:
    """Shade what each sum reaches in 95 % of the draws, in steps, and make room for it.

    Args:
        axes: The panel of the robust AUROC, with everything else drawn.
        attained: Columns of `REPORT_ATTAINMENT`; may be empty.
    """
    steps = attained.drop_duplicates("dollars")
    if steps.empty:
        return
    low, high = (steps[f"attained_{end}"].to_numpy(dtype=np.float64) for end in ("low", "high"))
    x = np.append(steps["dollars"].to_numpy(dtype=np.float64), axes.get_xlim()[1])
    ends = np.append(low, low[-1]), np.append(high, high[-1])
    bottom, top = axes.get_ylim()
    axes.fill_between(x, *ends, step="post", color=FAINT, alpha=BAND, linewidth=0, zorder=0.5)
    axes.set_ylim(min(bottom, low.min() - LEAST_DISTANCE), max(top, high.max() + LEAST_DISTANCE))


def write_budgets(axes: Axes, marks: Marks) -> None:
    """Print each budget once per bundle: neighbours that share specificity and budget."""
    drawn = np.flatnonzero(marks.cells["robust_auroc_mean"].notna())
    if len(drawn) == 0:
        return
    seen = np.hstack([_interval(marks.cells, ROBUST), marks.seeds[ROBUST]])[drawn]
    means = marks.cells["robust_auroc_mean"].to_numpy()[drawn]

    def pixels(heights: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(axes.transData.transform(np.column_stack([marks.x[drawn], heights])))

    at, low, high = pixels(means), pixels(np.nanmin(seen, axis=1)), pixels(np.nanmax(seen, axis=1))
    labels = [
        Label(
            text=images(cell["cell"].budget),
            bundle=(cell["specificity"], cell["budget"]),
            colour=marks.colours[drawn[i]],
            important=bool(cell["on_frontier"]),
            x=at[i, 0],
            y=at[i, 1],
            low=low[i, 1],
            high=high[i, 1],
        )
        for i, cell in enumerate(marks.cells.iloc[drawn].to_dict("records"))
    ]
    write_labels(axes, labels, axes.transData.transform(_steps(axes, marks)))
