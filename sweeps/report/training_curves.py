"""Training of the shown purchases by epoch, as SVG: the metric that chose the epoch, and the loss.

One picture for each purchase, a line for each seed, the chosen epoch marked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd

from cluster.common.wording import count_of
from spurious.scoring.registry import METRICS
from spurious.scoring.selection import parse_rule
from sweeps.report.chart import COLOURS
from sweeps.report.histories import Histories
from sweeps.report.shown import Cell, Shown
from sweeps.report.wording import describe_cell, number, sentence

MOST_SEEDS = 10
MOST_POINTS = 120
"""Points of a line; of more epochs, every second, third ... is drawn, and the chosen one."""
WIDTH, HEIGHT = 440, 160
_TOP, _BOTTOM = 24.0, 132.0
_PLOTS = ((40.0, 212.0), (262.0, 434.0))
_LOG_ABOVE = 20.0
"""Ratio of highest to lowest loss above which its axis is logarithmic."""
_DASHES = ("", "6 3", "2 3", "9 3 2 3")
LEAST_SPAN = 0.05
"""Of an axis of scores: what differs by less looks equal, as it is for any reader."""
LOSS = "train.loss"
Place = Callable[[int, float], tuple[float, float]]


@dataclass(frozen=True)
class Line:
    """One seed's training.

    Attributes:
        seed: The seed.
        chosen: The epoch that counts; None where the rule is undefined.
        values: Name, as `val.auroc`, to epoch to value, NaN and infinite ones among them; without
            epochs at which it was not evaluated.
        last: Last epoch.
    """

    seed: int
    chosen: int | None
    values: Mapping[str, Mapping[int, float]]
    last: int


def curves_context(
    histories: Histories, priced: pd.DataFrame, shown: Shown
) -> dict[str, Any] | None:
    """Return the section on training; None where no shown trial has two epochs.

    Args:
        histories: Metrics of all epochs.
        priced: The result of `price_trials`.
        shown: The purchases.
    """
    by_key = dict(iter(priced.groupby(["specificity", "budget", "method"], sort=False)))
    drawn = []
    for cell, key in zip(shown.cells, shown.keys, strict=True):
        if key in by_key:
            metric = _metric_of(by_key[key])
            lines = _lines(histories, by_key[key].sort_values("seed"), metric)
            if max(line.last for line in lines) > 1:
                drawn.append((cell, lines, metric))
    if not drawn:
        return None
    every = {line.seed for _, lines, _ in drawn for line in lines[:MOST_SEEDS]}
    styles = {seed: i for i, seed in enumerate(sorted(every))}
    return {
        "note": shown.note,
        "panels": [
            _panel(f"curve{i}", cell, lines, metric, styles)
            for i, (cell, lines, metric) in enumerate(drawn)
        ],
        "legend": _legend(styles) if len(styles) > 1 else "",
    }


def _metric_of(trials: pd.DataFrame) -> str:
    """Return what chose the epochs, where it is known at each; else the AUROC on validation."""
    rule = parse_rule(str(trials["rule"].iloc[0]))
    if rule.metric is None or not METRICS[rule.metric].per_epoch:
        return "val.auroc"
    return f"{rule.split}.{rule.metric}"


def _lines(histories: Histories, trials: pd.DataFrame, metric: str) -> list[Line]:
    columns = {name: (histories.column(name), histories.has(name)) for name in (metric, LOSS)}
    lines = []
    for trial in trials.to_dict("records"):
        place = histories.places[trial["trial_id"]]
        rows = slice(int(histories.starts[place]), int(histories.starts[place + 1]))
        numbers = histories.epochs[rows].tolist()
        values = {}
        for name, (column, stored) in columns.items():
            triples = zip(numbers, column[rows].tolist(), stored[rows], strict=True)
            values[name] = {epoch: value for epoch, value, is_stored in triples if is_stored}
        chosen = None if pd.isna(trial["epoch"]) else int(trial["epoch"])
        lines.append(Line(int(trial["seed"]), chosen, values, int(trial["epochs"])))
    return lines


def _panel(
    name: str, cell: Cell, lines: Sequence[Line], metric: str, styles: Mapping[int, int]
) -> str:
    """Return one purchase's picture."""
    title = sentence(describe_cell(cell["cell"]))
    last, drawn = max(line.last for line in lines), lines[:MOST_SEEDS]
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="{name}-t {name}-d">',
        f'<title id="{name}-t">{escape(title)}</title>',
        f'<desc id="{name}-d">{escape(_describe(drawn, metric, len(lines)))}</desc>',
    ]
    for ends, each in zip(_PLOTS, (metric, LOSS), strict=True):
        parts += _plot(ends, drawn, each, last, styles)
    return "\n".join([*parts, "</svg>", f"<figcaption>{escape(title)}</figcaption>"])


def _describe(lines: Sequence[Line], metric: str, total: int) -> str:
    each = []
    for line in lines:
        if line.chosen is None:
            each.append(f"seed {line.seed}: no epoch chosen")
            continue
        value = line.values[metric].get(line.chosen, math.nan)
        losses = [loss for loss in line.values[LOSS].values() if math.isfinite(loss)]
        fell = f", train loss {losses[0]:.3g} first and {losses[-1]:.3g} last" if losses else ""
        if without := len(line.values[LOSS]) - len(losses):
            fell += f", not finite at {count_of(without, 'epoch')}"
        text = f"seed {line.seed}: epoch {line.chosen} of {line.last} chosen, {metric}"
        each.append(f"{text} {number(value)} there{fell}")
    left = f"; {count_of(total - len(lines), 'more seed')} not drawn" if total > len(lines) else ""
    return f"{'; '.join(each)}{left}."


def _plot(
    ends: tuple[float, float],
    lines: Sequence[Line],
    metric: str,
    last: int,
    styles: Mapping[int, int],
) -> list[str]:
    """Return one of the two plots: its name, ticks, a line a seed."""
    every = [value for line in lines for value in line.values[metric].values()]
    values = [value for value in every if math.isfinite(value)]
    if not values:
        middle = sum(ends) / 2
        return [f'<text x="{middle:g}" y="{_TOP + 50:g}">{escape(metric)}: never defined</text>']
    is_log = metric == LOSS and min(values) > 0 and max(values) > _LOG_ABOVE * min(values)
    bend = math.log10 if is_log else float
    low, high = _ends(bend(min(values)), bend(max(values)), metric)

    def place(epoch: int, value: float) -> tuple[float, float]:
        x = ends[0] + (epoch - 1) / max(last - 1, 1) * (ends[1] - ends[0])
        return x, _BOTTOM - (bend(value) - low) / (high - low) * (_BOTTOM - _TOP)

    words = f"{metric}{', logarithmic' if is_log else ''}"
    parts = [f'<text class="name" x="{ends[0]:g}" y="14">{escape(words)}</text>']
    most = math.inf if metric.endswith(".loss") else 1.0
    for tick in _ticks(low, high, is_log):
        if tick > most:  # room above a line at 1, where nothing can be
            continue
        y = place(1, tick)[1]
        parts.append(f'<line x1="{ends[0]:g}" x2="{ends[1]:g}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{ends[0] - 4:g}" y="{y + 3.5:.1f}">{tick:.3g}</text>')
    for epoch in sorted({1, (last + 1) // 2, last}):
        x = place(epoch, values[0])[0]
        parts.append(f'<text x="{x:.1f}" y="{_BOTTOM + 13:g}">{epoch}</text>')
    parts.append(f'<text x="{sum(ends) / 2:g}" y="{HEIGHT - 3}">epoch</text>')
    for line in lines:
        parts += _drawn(line, line.values[metric], styles[line.seed], place)
    return parts


def _ends(low: float, high: float, metric: str) -> tuple[float, float]:
    """Return the ends of an axis: with room around the values, and far enough apart to be told."""
    least = 0.1 if metric.endswith(".loss") else LEAST_SPAN
    lacking = max(least - (high - low), 0.0) / 2
    pad = 0.06 * (high - low) + lacking
    return low - pad, high + pad


def _drawn(line: Line, values: Mapping[int, float], style: int, place: Place) -> list[str]:
    """Return a seed's line, broken where a value is not finite, and the mark of its epoch."""
    step = max(1, math.ceil(len(values) / MOST_POINTS))
    path: list[str] = []
    is_joined = False
    for nth, (epoch, value) in enumerate(values.items()):
        if not math.isfinite(value):
            is_joined = False
        elif nth % step == 0 or epoch in (line.chosen, line.last):
            x, y = place(epoch, value)
            path.append(f"{'L' if is_joined else 'M'}{x:.1f} {y:.1f}")
            is_joined = True
    parts = [f'<path {_style(style)} d="{"".join(path)}"/>']
    if line.chosen is not None and math.isfinite(at := values.get(line.chosen, math.nan)):
        x, y = place(line.chosen, at)
        parts.append(f'<circle class="c{style % COLOURS}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>')
    return parts


def _style(style: int) -> str:
    """Return a line's colour and dashes, so that neither alone tells seeds apart."""
    dash = _DASHES[style % len(_DASHES)]
    return f'class="c{style % COLOURS}"' + (f' stroke-dasharray="{dash}"' if dash else "")


def _ticks(low: float, high: float, is_log: bool) -> list[float]:
    """Return two to five round numbers between the ends; of a logarithm, powers and their parts."""
    if is_log:
        decades = range(math.floor(low), math.ceil(high) + 1)
        powers = [10.0**k for k in decades if low <= k <= high]
        if len(powers) > 5:
            powers = powers[:: math.ceil(len(powers) / 5)]
        if len(powers) > 1:
            return powers
        finer = [f * 10.0**k for k in decades for f in (1, 3)]
        return [value for value in finer if low <= math.log10(value) <= high]
    rough = (high - low) / 3
    ten = 10.0 ** math.floor(math.log10(rough))
    step = ten * next(factor for factor in (1, 2, 5, 10) if factor * ten >= rough)
    return [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _legend(styles: Mapping[int, int]) -> str:
    items = [
        f'<li><svg viewBox="0 0 34 10" aria-hidden="true"><path {_style(style)} d="M1 5L33 5"/>'
        f"</svg>seed {seed}</li>"
        for seed, style in styles.items()
    ]
    return f'<ul class="legend lines">{"".join(items)}</ul>'
