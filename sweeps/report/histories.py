"""Metrics that training evaluates, of all epochs of many trials, as one matrix.

Shape legend: T trials, R evaluated epochs of all trials together, C metrics.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from spurious.scoring.registry import METRICS
from spurious.scoring.selection import SelectionRule

if TYPE_CHECKING:
    import pandas as pd

Number = TypeVar("Number", np.float64, np.int64)
Floats = NDArray[np.float64]
Places = NDArray[np.int64]


def as_places(column: pd.Series[Any]) -> Places:
    """Return a column of whole numbers (N,) as int64."""
    return np.asarray(column, dtype=np.int64)


@dataclass(frozen=True)
class Histories:
    """Every trial's epochs in rising order, one trial after another.

    Attributes:
        trials: T trial ids.
        starts: (T + 1,) where each trial's rows begin, of which it has one at least; the last is R.
        epochs: (R,) numbers of the evaluated epochs.
        names: C names, `SPLIT.METRIC` or `SPLIT.robust_auroc.ATTRIBUTE`.
        values: (R, C); NaN is undefined or absent.
        present: (R, C) whether a value, NaN perhaps, was stored.
    """

    trials: Sequence[str]
    starts: Places
    epochs: Places
    names: Sequence[str]
    values: Floats
    present: NDArray[np.bool_]

    @cached_property
    def places(self) -> dict[str, int]:
        """Trial id to place."""
        return {name: place for place, name in enumerate(self.trials)}

    @property
    def trial_of_row(self) -> Places:
        """(R,) places of trials."""
        return np.repeat(np.arange(len(self.trials)), np.diff(self.starts))

    def column(self, name: str) -> Floats:
        """Return a metric's values (R,); NaN where no trial has it."""
        if name not in self.names:
            return np.full(len(self.epochs), math.nan)
        return self.values[:, self.names.index(name)]

    def has(self, name: str) -> NDArray[np.bool_]:
        """Return where a metric was stored (R,)."""
        if name not in self.names:
            return np.zeros(len(self.epochs), dtype=bool)
        return self.present[:, self.names.index(name)]

    def choose(self, rule: SelectionRule, values: Floats | None = None) -> Places:
        """Return the row that a rule chooses in each trial (T,), -1 where it is undefined.

        As `spurious.scoring.selection.select_epoch` does: strictly better wins, so that the
        earliest of equal epochs is taken.

        Args:
            rule: The rule.
            values: (R,) of its metric, where that is none of `names`.
        """
        if rule.metric is None:
            return self.starts[1:] - 1
        if values is None:
            values = self.column(f"{rule.split}.{rule.metric}")
        values = METRICS[rule.metric].sign * values
        known = ~np.isnan(values)
        best = self.over_trials(np.maximum, np.where(known, values, -np.inf))
        hit = known & (values == best[self.trial_of_row])
        rows = np.where(hit, np.arange(len(values)), len(values))
        first = self.over_trials(np.minimum, rows)
        return np.where(first < len(values), first, -1)

    def find(self, trials: Places, epochs: Places) -> Places:
        """Return the rows of epochs of trials, each (N,); -1 where that was not evaluated."""
        width = int(max(self.epochs.max(initial=0), epochs.max(initial=0))) + 1
        keys, sought = self.trial_of_row * width + self.epochs, trials * width + epochs
        if not len(keys):
            return np.full(len(sought), -1)
        at = np.minimum(np.searchsorted(keys, sought), len(keys) - 1)
        return np.where(keys[at] == sought, at, -1)

    def over_trials(self, of: np.ufunc, values: NDArray[Number]) -> NDArray[Number]:
        """Reduce rows (R,) to trials (T,) by `np.maximum` and the like."""
        if not len(self.trials):
            return values[:0]
        reduced: NDArray[Number] = of.reduceat(values, self.starts[:-1])
        return reduced

    def spread(self, name: str) -> tuple[NDArray[np.bool_], Places]:
        """Return whether all defined values of a metric are equal, and how many there are (T,)."""
        values = self.column(name)
        known = ~np.isnan(values)
        low = self.over_trials(np.minimum, np.where(known, values, np.inf))
        high = self.over_trials(np.maximum, np.where(known, values, -np.inf))
        defined = self.over_trials(np.add, known.astype(np.int64))
        return (defined == 0) | (low == high), defined

    def is_constant(self, name: str) -> NDArray[np.bool_]:
        """Return whether a metric is the same at all of two or more epochs (T,); NaN equals NaN."""
        same, defined = self.spread(name)
        stored = self.count(name)
        constant: NDArray[np.bool_] = same & (stored > 1) & ((defined == 0) | (defined == stored))
        return constant

    def is_known(self, name: str) -> NDArray[np.bool_]:
        """Return whether a metric is defined at any epoch (T,)."""
        return self.spread(name)[1] > 0

    def count(self, name: str) -> Places:
        """Return at how many epochs a metric was stored (T,)."""
        return self.over_trials(np.add, self.has(name).astype(np.int64))


def join(parts: Sequence[Histories]) -> Histories:
    """Return the histories of all parts, trial after trial."""
    names = sorted({name for part in parts for name in part.names})
    rows = sum(len(part.epochs) for part in parts)
    values = np.full((rows, len(names)), math.nan)
    present = np.zeros((rows, len(names)), dtype=bool)
    begin = 0
    for part in parts:
        at = [names.index(name) for name in part.names]
        end = begin + len(part.epochs)
        values[begin:end, at], present[begin:end, at] = part.values, part.present
        begin = end
    lengths = np.concatenate([np.diff(part.starts) for part in parts] or [np.zeros(0, np.int64)])
    return Histories(
        [trial for part in parts for trial in part.trials],
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.concatenate([part.epochs for part in parts] or [np.zeros(0, np.int64)]),
        names,
        values,
        present,
    )
