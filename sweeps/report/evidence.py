"""What a report's cells rest on: their seeds' readings, and what these say together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeps.report.advice import SCALE
from sweeps.report.inference.components import Reading
from sweeps.report.inference.intervals import Interval, cell_interval, difference_interval
from sweeps.report.inference.joint import Joint, draw, joint_distribution
from sweeps.report.readings import READ_METRICS, Readings

Key = tuple[str, str, str]
Floats = NDArray[np.float64]
MOST_CELLS = 1000
"""Cells above which no joint distribution is made: its matrix is quadratic in them."""
_COLUMNS = [
    *("specificity", "budget", "method", "seed", "trial_id", "epoch"),
    *(f"test_{metric}" for metric in READ_METRICS),
]
_OTHER_IMAGES = "seeds were scored on different images"


class Evidence:
    """The seeds of every cell, each with its AUROCs and readings at the epoch that counts."""

    def __init__(self, priced: pd.DataFrame, readings: Readings) -> None:
        """Gather them.

        Args:
            priced: The result of `price_trials`.
            readings: Of stored predictions; may lack trials.
        """
        self._seeds: dict[Key, dict[int, Mapping[Any, Any]]] = {}
        self._readings = readings
        self._draws: dict[tuple[tuple[Key, ...], str], Floats | None] = {}
        for trial in priced[_COLUMNS].sort_values("seed").to_dict("records"):
            key = (trial["specificity"], trial["budget"], trial["method"])
            self._seeds.setdefault(key, {})[int(trial["seed"])] = trial

    def values(self, key: Key, metric: str) -> dict[int, float]:
        """Return the defined values of a cell's seeds on test, in the order of the seeds."""
        trials = self._seeds.get(key, {})
        values = {seed: float(trial[f"test_{metric}"]) for seed, trial in trials.items()}
        return {seed: value for seed, value in values.items() if not math.isnan(value)}

    def interval(self, key: Key, metric: str) -> Interval:
        """Return a cell's interval for new seeds and patients, or why there is none."""
        values = self.values(key, metric)
        readings = [self.reading(key, seed, metric) for seed in values]
        components, cases = stack([readings])
        result = cell_interval(list(values.values()), components, cases)
        return _explain(result, readings)

    def difference(self, first: Key, second: Key, metric: str) -> Interval:
        """Return second minus first, paired by the seeds that both have."""
        return paired_difference((self, first), (self, second), metric)

    def images(self, key: Key, metric: str) -> int | None:
        """Return how many test images a cell's values rest on; None where nobody knows."""
        readings = [self.reading(key, seed, metric) for seed in self.values(key, metric)]
        return next((reading.count for reading in readings if reading is not None), None)

    def joint(self, keys: Sequence[Key], metric: str) -> Joint | None:
        """Return the joint distribution of cells; None where predictions are missing or too many.

        Cells without two seeds with predictions are undefined in it.
        """
        if not keys or len(keys) > MOST_CELLS:
            return None
        values = [self.values(key, metric) for key in keys]
        seeds = sorted({seed for of in values for seed in of})
        table = np.full((len(keys), len(seeds)), np.nan)
        readings: dict[tuple[int, int], Reading] = {}
        for c, key in enumerate(keys):
            for s, seed in enumerate(seeds):
                reading = self.reading(key, seed, metric) if seed in values[c] else None
                if reading is not None:
                    readings[c, s] = reading
                    table[c, s] = values[c][seed]
        known = list(readings.values())
        if not known or len({reading.images for reading in known}) > 1:
            return None
        components = np.zeros((*table.shape, len(known[0].components)))
        for place, reading in readings.items():
            components[place] = reading.components
        return joint_distribution(table, components, known[0].cases)

    def draws(self, keys: Sequence[Key], metric: str) -> Floats | None:
        """Return (N, C) draws of cells, made once; None where `joint` is.

        They are whole numbers of 1 / `SCALE`, so that the page can carry the very same ones.
        """
        which = tuple(keys), metric
        if which not in self._draws:
            joint = self.joint(keys, metric)
            drawn = None if joint is None else np.rint(draw(joint) * SCALE) / SCALE
            self._draws[which] = drawn
        return self._draws[which]

    def reading(self, key: Key, seed: int, metric: str) -> Reading | None:
        """Return what a cell's seed made of the test images; None where nothing is stored."""
        trial = self._seeds[key][seed]
        if pd.isna(trial["epoch"]):
            return None
        return self._readings.get((trial["trial_id"], int(trial["epoch"])), {}).get(metric)


def paired_difference(
    first: tuple[Evidence, Key], second: tuple[Evidence, Key], metric: str
) -> Interval:
    """Return a cell's metric minus another's, second minus first, paired by common seeds.

    Args:
        first, second: Cells, each with what it rests on; of two sweeps perhaps, on the same images.
        metric: One of `READ_METRICS`.
    """
    of_first, of_second = (evidence.values(key, metric) for evidence, key in (first, second))
    common = [seed for seed in of_first if seed in of_second]
    sides = [
        [evidence.reading(key, seed, metric) for seed in common]
        for evidence, key in (first, second)
    ]
    both, cases = stack(sides)
    n = len(common)
    lower, upper = (None, None) if both is None else (both[:n], both[n:])
    one, other = ([of[seed] for seed in common] for of in (of_first, of_second))
    result = difference_interval(one, other, lower, upper, cases)
    return _explain(result, [*sides[0], *sides[1]])


def stack(
    sides: Sequence[Sequence[Reading | None]],
) -> tuple[NDArray[np.float64] | None, int]:
    """Return (S, L) components of all readings, and their cases; None where they do not compare."""
    readings = [reading for side in sides for reading in side]
    known = [reading for reading in readings if reading is not None]
    same = len({reading.images for reading in known}) == 1
    if len(known) < len(readings) or not same:
        return None, min((reading.cases for reading in known), default=0)
    return np.stack([reading.components for reading in known]).astype(np.float64), known[0].cases


def _explain(result: Interval, readings: Sequence[Reading | None]) -> Interval:
    """Say so where predictions are stored and yet do not compare."""
    images = {None if reading is None else reading.images for reading in readings}
    if result.reason.startswith("no stored") and None not in images and len(images) > 1:
        return replace(result, reason=_OTHER_IMAGES)
    return result
