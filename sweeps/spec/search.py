"""The section `search` of the sweep YAML: what is tried inside each cell, and how one is chosen."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le

from spurious.scoring.selection import PER_EPOCH

Sampler = Literal["tpe", "random", "grid", "gp"]
Stop = Literal["none", "asha", "median"]
Trials = Annotated[int, Ge(1), Le(10_000)]
Batch = Annotated[int, Ge(1), Le(1000)]
DOLLARS = "dollars"
OBJECTIVES = tuple(f"val.{metric}" for metric in PER_EPOCH)
MODELS = ("classifier", "segmenter")
_MOST_CHECKED = 4096
FACTOR = 3
"""A rung's epochs are this many times those of the rung before, and the best one in it goes on."""
_RUNGS = 2


@dataclass(frozen=True)
class Dimension:
    """One searched option: an interval, or a list of values.

    Attributes:
        name: `learning_rate`, `spl.weight` or `segmenter.channels`.
        values: The values of a list; of an interval its two ends.
        scale: `log` or `linear` of an interval; None for a list.
    """

    name: str
    values: tuple[Any, ...]
    scale: Literal["log", "linear"] | None = None

    def __str__(self) -> str:
        if self.scale is None:
            return f"{self.name} of {', '.join(_text(value) for value in self.values)}"
        low, high = self.values
        words = ", by its logarithm" if self.scale == "log" else ""
        return f"{self.name} from {_text(low)} to {_text(high)}{words}"

    @property
    def is_integer(self) -> bool:
        """Return whether an interval is one of integers."""
        return self.scale is not None and type(self.values[0]) is int

    def choices(self) -> Sequence[Any] | None:
        """Return every value there is: those of a list, and integers; None of other intervals."""
        if self.scale is None:
            return self.values
        low, high = self.values
        return range(low, high + 1) if self.is_integer else None


@dataclass(frozen=True, kw_only=True)
class Search:
    """Hyper-parameters that are searched inside each cell, by validation metrics alone.

    Attributes:
        sampler: What suggests configurations: `tpe`, `random`, `grid` (all combinations of lists)
            or `gp` (a Gaussian process; the driver then needs torch).
        trials: Configurations that are tried in each cell, at most all combinations of its values;
            `grid` may leave it out. A larger number continues the search.
        batch: Configurations of a cell that are suggested, and run, at once; a batch knows the
            results of all batches before it.
        metric: `val.METRIC` at each trial's kept epoch, or a list of one and `dollars`.
        space: Option to `{log: [low, high]}`, `{range: [low, high]}` or a list of values. Options
            of training by name, those of a method or model below its name:
            `{learning_rate: {log: [1.0e-5, 1.0e-2]}, spl: {weight: [0.1, 1]}}`.
        seeds: Seeds that each configuration is tried on, its value is their mean; by default the
            first of `axes.seed`.
        stop: Ends poor trials early, by their cell's own: `asha` at a ninth and at a third of the
            epochs all but the best third, `median` there the worse half, `none` no trial.
    """

    space: tuple[Dimension, ...]
    trials: Trials
    sampler: Sampler = "tpe"
    batch: Batch = 4
    metric: tuple[str, ...] = ("val.auroc",)
    seeds: tuple[int, ...] = ()
    stop: Stop = "none"

    @property
    def split_metric(self) -> tuple[str, str]:
        """Return split and name of the metric of validation."""
        split, _, name = self.metric[0].partition(".")
        return split, name

    @property
    def by_dollars(self) -> bool:
        """Return whether dollars are an objective, too."""
        return DOLLARS in self.metric

    def count_tries(self, dimensions: Sequence[Dimension]) -> int:
        """Return how many configurations a cell tries: `trials`, or all where it has no more.

        Args:
            dimensions: Those of the cell; without any it tries none.
        """
        if not dimensions:
            return 0
        combinations = count_combinations(dimensions)
        return self.trials if combinations is None else min(self.trials, combinations)

    def is_whole(self, dimensions: Sequence[Dimension]) -> bool:
        """Return whether a cell tries every combination there is, so that nothing is to learn."""
        combinations = count_combinations(dimensions)
        return combinations is not None and combinations <= self.trials

    def dimensions_of(self, method: str, model: str) -> tuple[Dimension, ...]:
        """Return the dimensions that a cell has.

        Args:
            method: Name of its method.
            model: Which of `MODELS` it trains.
        """
        owners = ("", method, model)
        return tuple(each for each in self.space if owner_of(each.name) in owners)


def count_combinations(dimensions: Iterable[Dimension]) -> int | None:
    """Count the combinations of all values; None where an interval has no end of them."""
    sizes = [None if (of := each.choices()) is None else len(of) for each in dimensions]
    known = [size for size in sizes if size is not None]
    return math.prod(known) if len(known) == len(sizes) else None


def rungs(epochs: int, evaluate_every: int) -> tuple[int, ...]:
    """Return the evaluated epochs at which trials may be compared, ascending; none is the last."""
    shares = [FACTOR**power for power in range(_RUNGS, 0, -1)]
    every = evaluate_every
    compared = [max(1, math.ceil(epochs / share / every)) * every for share in shares]
    return tuple(sorted({epoch for epoch in compared if epoch < epochs}))


def owner_of(name: str) -> str:
    """Return the method or model whose option this is; empty for training."""
    owner, dot, _ = name.partition(".")
    return owner if dot else ""


def corners(dimensions: Iterable[Dimension]) -> Iterator[dict[str, Any]]:
    """Yield combinations of list values and ends of intervals, some thousands at most."""
    dimensions = list(dimensions)
    names = [each.name for each in dimensions]
    every = itertools.product(*(each.values for each in dimensions))
    for values in itertools.islice(every, _MOST_CHECKED):
        yield dict(zip(names, values, strict=True))


def _text(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def describe_values(values: Mapping[str, Any]) -> str:
    """Return searched options with their values, as in `learning_rate 0.001, spl.weight 0.1`."""
    return ", ".join(f"{name} {_text(value)}" for name, value in values.items())
