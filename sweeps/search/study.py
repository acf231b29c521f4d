"""Suggestions of one cell's search, by Optuna: a function of what earlier batches gave, alone.

Nothing is stored: a study is made for each batch, from the results of all batches before it in the
order of their numbers, with a sampler that is seeded by (cell, batch). So a search that was killed
anywhere, and one that is asked for more trials later, makes the same suggestions.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from spurious.data.randomness import derive
from spurious.scoring.registry import METRICS
from sweeps.plan.searched import Tried
from sweeps.spec.search import Dimension, Search

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

Direction = Literal["maximize", "minimize"]
_DIGITS = 4
"""Significant digits of a suggested number: last bits of libraries and CPUs decide no trial."""


def suggest(
    search: Search,
    dimensions: Sequence[Dimension],
    cell: str,
    batch: int,
    tried: Sequence[Tried],
) -> list[dict[str, Any]]:
    """Return a batch's suggestions: `search.batch` of them, or as many as are left to try.

    Where a cell tries all combinations, they come in the order of the lists, whatever the sampler.

    Args:
        search: The search.
        dimensions: Those of the cell, at least one.
        cell: Names the cell, its dataset included.
        batch: The batch's number, from 0.
        tried: Every configuration of the batches before it, each with a result.
    """
    first = batch * search.batch
    count = min(search.batch, search.count_tries(dimensions) - first)
    if search.sampler == "grid" or search.is_whole(dimensions):
        every = itertools.product(*(each.choices() or () for each in dimensions))
        names = [each.name for each in dimensions]
        return [
            dict(zip(names, values, strict=True))
            for values in itertools.islice(every, first, first + count)
        ]
    return _ask(search, dimensions, derive("search", cell, batch) % 2**32, tried, count)


def _ask(
    search: Search, dimensions: Sequence[Dimension], seed: int, tried: Sequence[Tried], count: int
) -> list[dict[str, Any]]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    known = {each.name: _distribution(each) for each in dimensions}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(
            sampler=_sampler(search, seed), directions=directions_of(search)
        )
        for each in _ranked(search, tried) if search.sampler == "gp" else tried:
            study.add_trial(_as_trial(search, known, each))
        with _one_thread(search.sampler):
            suggested = [study.ask(known).params for _ in range(count)]
    return [
        {each.name: _rounded(each, params[each.name]) for each in dimensions}
        for params in suggested
    ]


@contextmanager
def _one_thread(sampler: str) -> Iterator[None]:
    """Keep a Gaussian process to one thread of torch, which is as fast on an idle machine.

    Beside trials that have all cores, several threads wait for each other.
    """
    if sampler != "gp":
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def directions_of(search: Search) -> list[Direction]:
    """Return whether each metric is to be maximised or minimised."""
    _, name = search.split_metric
    first: Direction = "maximize" if METRICS[name].sign > 0 else "minimize"
    return [first, "minimize"] if search.by_dollars else [first]


def _sampler(search: Search, seed: int) -> BaseSampler:
    """Return the sampler; its first batch is random, all later ones learn."""
    from optuna import samplers

    if search.sampler == "random":
        return samplers.RandomSampler(seed=seed)
    if search.sampler == "gp":  # imports torch
        return samplers.GPSampler(seed=seed, n_startup_trials=search.batch)
    return samplers.TPESampler(seed=seed, n_startup_trials=search.batch)


def _distribution(dimension: Dimension) -> BaseDistribution:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if dimension.scale is None:
        return CategoricalDistribution(dimension.values)
    low, high = dimension.values
    kind = IntDistribution if dimension.is_integer else FloatDistribution
    return kind(low, high, log=dimension.scale == "log")


def _as_trial(search: Search, known: Mapping[str, BaseDistribution], tried: Tried) -> FrozenTrial:
    """Return what the study hears of a configuration.

    One that failed has no value. It is told as a trial that was stopped before its first: a
    failed one would be passed over, and its neighbours suggested again.
    """
    from optuna.trial import TrialState, create_trial

    values = None
    steps: dict[int, float] = {}
    if tried.state == "finished" and tried.value is not None:
        values = [tried.value, *([] if tried.dollars is None else [tried.dollars])]
    elif tried.state == "stopped" and tried.value is not None and tried.epoch is not None:
        steps = {tried.epoch: tried.value}
    return create_trial(
        state=TrialState.PRUNED if values is None else TrialState.COMPLETE,
        values=values,
        params=dict(tried.values),
        distributions=dict(known),
        intermediate_values=steps,
    )


def _ranked(search: Search, tried: Sequence[Tried]) -> list[Tried]:
    """Return configurations as a Gaussian process hears of them, which knows whole ones alone.

    Where all ended it hears their values. Else it hears the shares of configurations that each one
    beats: one with a value beats the stopped ones, of which the later ones beat the earlier, and
    failed ones beat nothing, which is the order that TPE has. Passed over they would leave it
    nothing to learn from, and a value early in training says little beside one at the end.
    """
    if all(each.state == "finished" for each in tried):
        return list(tried)
    sign = METRICS[search.split_metric[1]].sign

    def standing(each: Tried) -> tuple[float, float]:
        if each.value is None:
            return -math.inf, 0.0
        return (math.inf if each.epoch is None else each.epoch), sign * each.value

    of = [standing(each) for each in tried]
    shares = [sum(other < mine for other in of) / len(of) for mine in of]
    return [
        replace(each, state="finished", value=sign * share)
        for each, share in zip(tried, shares, strict=True)
    ]


def _rounded(dimension: Dimension, value: Any) -> Any:
    if dimension.scale is None or dimension.is_integer:
        return value
    low, high = dimension.values
    return min(max(float(f"{value:.{_DIGITS}g}"), low), high)
