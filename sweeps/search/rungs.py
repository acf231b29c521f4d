"""Early stopping inside a cell: rungs at fixed epochs, decided in the order of suggestions.

A batch comes to a rung together, and who goes on depends on it and on the batches before it alone:
synchronous successive halving (Jamieson and Talwalkar 2016; Li et al. 2020), and the median rule of
Golovin et al. 2017.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median

from spurious.config.options import FitConfig
from spurious.scoring.registry import METRICS
from spurious.scoring.selection import parse_rule, select_epoch
from sweeps.spec.search import FACTOR, Stop, rungs

History = Mapping[int, Mapping[str, float]]
"""Epoch to `val.METRIC` to value, of the epochs that were evaluated."""


def rung_epochs(stop: Stop, config: FitConfig) -> tuple[int, ...]:
    """Return the epochs at which trials of a cell are compared, ascending; none is the last.

    Every rung is an evaluated epoch. A method that does not choose among epochs has none.
    """
    train = config.train
    if stop == "none" or "train.keep" not in config.method.choices(train.keep):
        return ()
    return rungs(train.epochs, train.evaluate_every)


def value_at(history: History, keep: str, metric: str, until: int | None = None) -> float:
    """Return a metric at the epoch that a trial's rule would have kept by then; NaN without one.

    Args:
        history: Validation metrics by epoch.
        keep: The trial's rule of the kept checkpoint.
        metric: As `val.auroc`.
        until: The last epoch that counts; None is all.
    """
    rows = [
        {"epoch": float(epoch), **history[epoch]}
        for epoch in sorted(history)
        if until is None or epoch <= until
    ]
    kept = select_epoch(parse_rule(keep), rows)
    return math.nan if kept is None else history[kept].get(metric, math.nan)


def find_survivors(
    stop: Stop, values: Sequence[float], earlier: Sequence[float], metric: str
) -> list[int]:
    """Return which trials of a batch go on from a rung, ascending.

    `asha` lets those go on that are among the best third of all that came to this rung so far, at
    least one in all; `median` those that are not worse than the median of all.

    Args:
        stop: The rule.
        values: Of the batch at this rung, NaN where there is none; such a trial never goes on.
        earlier: Those of the batches before it at this rung.
        metric: As `val.auroc`; some are better where lower.
    """
    sign = METRICS[metric.rpartition(".")[2]].sign
    known = [sign * value for value in (*earlier, *values) if not math.isnan(value)]
    if not known:
        return []
    if stop == "median":
        middle = median(known)
        return [place for place, value in enumerate(values) if sign * value >= middle]
    # of equal values the earlier one is better: a stable sort keeps the order of suggestions
    order = sorted(range(len(known)), key=lambda place: -known[place])
    best = set(order[: max(1, len(known) // FACTOR)])
    places = [place for place, value in enumerate(values) if not math.isnan(value)]
    first = len(known) - len(places)
    return [place for rank, place in enumerate(places) if first + rank in best]
