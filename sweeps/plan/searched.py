"""What a plan knows of searches: configurations that were tried in each cell, and the chosen one.

Pure data, which reports read too; `sweeps.search` makes it from results.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from cluster.common.wording import all_of, count_of, has_or_have, noun_of
from spurious.config.options import Train
from sweeps.plan.cell import Cell
from sweeps.spec.model import MethodChoice, Spec
from sweeps.spec.search import MODELS, Dimension, Search, describe_values, owner_of
from sweeps.spec.values import Training

if TYPE_CHECKING:
    from sweeps.plan.plan import Trial

State = Literal["finished", "stopped", "failed", "waiting"]
"""Of a configuration: with a value, stopped early, without a value, or without a result yet."""


@dataclass(frozen=True)
class Tried:
    """One configuration of a search.

    Attributes:
        number: Its place in the cell's search, from 0.
        values: Searched option to value, in the order of the space.
        trials: One per seed of the search.
        state: How it ended.
        value: The metric on validation, mean over seeds; of a stopped one that at its last epoch;
            None without one.
        dollars: Annotation dollars, where they are an objective.
        epoch: The epoch after which it was stopped.
    """

    number: int
    values: Mapping[str, Any]
    trials: tuple[Trial, ...]
    state: State
    value: float | None = None
    dollars: float | None = None
    epoch: int | None = None


@dataclass(frozen=True)
class CellSearch:
    """The search of one cell.

    Attributes:
        cell: As the axes have it.
        dimensions: What is searched in it; none where its method has nothing of the space.
        tried: Configurations so far, in order.
        best: Numbers of those that no other beats in every metric: one, or a Pareto set.
        chosen: Number of the chosen one; None before the search has ended, or where all failed.
        is_over: Whether nothing is left to try.
    """

    cell: Cell
    dimensions: tuple[Dimension, ...]
    tried: tuple[Tried, ...] = ()
    best: tuple[int, ...] = ()
    chosen: int | None = None
    is_over: bool = False

    def count(self) -> Mapping[str, int]:
        """Count configurations by state."""
        return Counter(each.state for each in self.tried)

    @property
    def values(self) -> Mapping[str, Any]:
        """Return the chosen values; empty before there are any."""
        return {} if self.chosen is None else self.tried[self.chosen].values

    @property
    def waiting(self) -> tuple[Trial, ...]:
        """Return the trials that the search waits for, as far as they are known."""
        return tuple(
            trial for each in self.tried if each.state == "waiting" for trial in each.trials
        )


def dimensions_of(search: Search, cell: Cell) -> tuple[Dimension, ...]:
    """Return what is searched in a cell."""
    return search.dimensions_of(cell.method.name, MODELS[cell.segments])


def with_values(spec: Spec, cell: Cell, values: Mapping[str, Any]) -> tuple[Spec, Cell]:
    """Return spec and cell as if their text had these values of searched options.

    Training options count more than `per_specificity` and `per_method`.
    """
    by_owner: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        by_owner.setdefault(owner_of(name), {})[name.rpartition(".")[2]] = value
    options = replace(cell.method.options, **by_owner.get(cell.method.name, {}))
    models = spec.model
    for name in MODELS:
        if changes := by_owner.get(name):
            model, before = getattr(models, name)
            changed_model: dict[str, Any] = {name: (model, replace(before, **changes))}
            models = replace(models, **changed_model)
    train = _with_training(spec.train, by_owner.get("", {}))
    changed = replace(cell, method=MethodChoice(cell.method.name, options))
    return replace(spec, model=models, train=train), changed


def chosen_cell(search: CellSearch) -> Cell:
    """Return a cell with the chosen options of its method; as in the axes before there are any."""
    name = search.cell.method.name
    options_of_method = {
        option.rpartition(".")[2]: value
        for option, value in search.values.items()
        if owner_of(option) == name
    }
    options = replace(search.cell.method.options, **options_of_method)
    return replace(search.cell, method=MethodChoice(name, options))


def _with_training(training: Training, values: Mapping[str, Any]) -> Training:
    if not values:
        return training
    base: Train = replace(training.base, **values)
    kept = {
        name: tuple(
            (of, tuple((key, value) for key, value in changes if key not in values))
            for of, changes in getattr(training, name)
        )
        for name in ("per_specificity", "per_method")
    }
    return Training(base=base, **kept)


def searches_dict(spec: Spec, searches: Sequence[CellSearch]) -> dict[str, Any] | None:
    """Return what was searched as plain JSON values; None of a spec without a search."""
    if spec.search is None:
        return None
    return {"settings": settings_of(spec), "cells": [_cell_dict(each) for each in searches]}


def settings_of(spec: Spec) -> dict[str, Any]:
    """Return all of a spec's search, beside the configuration of trials, as plain JSON values."""
    search = spec.search
    assert search is not None
    return {
        "sampler": search.sampler,
        "trials": search.trials,
        "batch": search.batch,
        "metric": list(search.metric),
        "space": [[each.name, each.scale, list(each.values)] for each in search.space],
        "seeds": list(spec.search_seeds),
        "stop": search.stop,
        "margin": spec.select.margin,
    }


def _cell_dict(search: CellSearch) -> dict[str, Any]:
    names = ("specificity", "budget", "method")
    return {
        **dict(zip(names, search.cell.key, strict=True)),
        "is_over": search.is_over,
        "best": list(search.best),
        "chosen": search.chosen,
        "tried": [
            {
                "number": each.number,
                "values": dict(each.values),
                "ids": [trial.id for trial in each.trials],
                "state": each.state,
                "value": each.value,
                "dollars": each.dollars,
                "epoch": each.epoch,
            }
            for each in search.tried
        ],
    }


def tried_row(search: CellSearch, tried: Tried) -> dict[str, Any]:
    """Return a configuration as a row of a table; what is undefined is NaN, or None."""
    names = ("specificity", "budget", "method")
    return {
        **dict(zip(names, search.cell.key, strict=True)),
        "number": tried.number,
        "options": json.dumps(dict(tried.values)),
        "trial_ids": " ".join(trial.id for trial in tried.trials),
        "state": tried.state,
        "value": math.nan if tried.value is None else tried.value,
        "dollars": math.nan if tried.dollars is None else tried.dollars,
        "stopped_at": tried.epoch,
        "best": tried.number in search.best,
        "chosen": tried.number == search.chosen,
    }


def find_repeats(tried: Sequence[Tried]) -> dict[int, int]:
    """Find configurations with the values of an earlier one: their number to that one's."""
    first: dict[str, int] = {}
    same = {}
    for each in tried:
        number = first.setdefault(json.dumps(dict(each.values)), each.number)
        if number != each.number:
            same[each.number] = number
    return same


def describe_search(spec: Spec) -> str:
    """Return in a sentence what each cell searches, and by what."""
    search = spec.search
    assert search is not None
    seeds = ", ".join(map(str, spec.search_seeds))
    stop = {"none": "", "asha": ", stopped early by asha", "median": ", stopped early by median"}
    return (
        f"{count_of(search.trials, 'configuration')} a cell by {search.sampler}, in batches of "
        f"{search.batch} on {noun_of(len(spec.search_seeds), 'seed')} {seeds}, for the best "
        f"{' and the fewest '.join(search.metric)}{stop[search.stop]}; "
        f"{'; '.join(map(str, search.space))}"
    )


def describe_searches(
    spec: Spec, cells: Sequence[Cell], searches: Sequence[CellSearch]
) -> list[str]:
    """Return lines on a plan's searches: what is searched, how far, and what was chosen."""
    if spec.search is None:
        return []
    cells = [each.cell for each in searches] or cells  # as in the axes, without what was chosen
    tries = sum(spec.search.count_tries(dimensions_of(spec.search, cell)) for cell in cells)
    trials = tries * len(spec.search_seeds)
    lines = [f"search: {describe_search(spec)}", *_describe_small(spec.search, cells)]
    if not searches:
        return [*lines, f"search: {count_of(trials, 'trial')} in all cells, at most"]
    lines.append(f"search: {describe_counts(count_searches(spec, searches))}")
    return lines + [f"search: {describe_result(each)}" for each in searches if each.is_over]


def _describe_small(search: Search, cells: Sequence[Cell]) -> list[str]:
    """Return a line where cells have fewer combinations than they may try, and which they are."""
    small: dict[str, None] = {}
    for cell in cells:
        dimensions = dimensions_of(search, cell)
        if dimensions and (tries := search.count_tries(dimensions)) < search.trials:
            small[f"{cell.method} ({count_of(tries, 'combination')})"] = None
    if not small:
        return []
    listed = ", ".join(small)
    return [
        f"search: the space has fewer than {count_of(search.trials, 'configuration')} for "
        f"{listed}: each is tried once"
    ]


def count_searches(spec: Spec, searches: Sequence[CellSearch]) -> dict[str, int]:
    """Count cells and configurations of searches, over all."""
    states: Counter[str] = Counter()
    for each in searches:
        states.update(each.count())
    ended = {state: states[state] for state in ("finished", "stopped", "failed")}
    spaces = [each.dimensions for each in searches]
    planned = 0 if spec.search is None else sum(map(spec.search.count_tries, spaces))
    over = sum(each.is_over for each in searches)
    to_try = planned - sum(ended.values())
    repeated = sum(len(find_repeats(each.tried)) for each in searches)
    counts = {"cells": len(searches), "cells_over": over, "to_try": to_try, **ended}
    return counts | {"repeated": repeated}


def describe_counts(counts: Mapping[str, int]) -> str:
    """Return the counts of `count_searches` in a line."""
    ended = [f"{counts[state]} {state}" for state in ("finished", "stopped", "failed")]
    text = (
        f"{counts['cells_over']} of {count_of(counts['cells'], 'cell')} done; configurations: "
        f"{', '.join(ended)}, {counts['to_try']} to try"
    )
    if repeated := counts["repeated"]:
        text += f"; {repeated:,} {has_or_have(repeated)} the values of an earlier one"
    return text


def describe_result(search: CellSearch) -> str:
    """Return what a search that is over has chosen, or why nothing."""
    return f"{search.cell}: {_outcome(search)}"


def _outcome(search: CellSearch) -> str:
    if not search.dimensions:
        return "nothing of the space is its own; it runs as it is"
    if search.chosen is None:
        return f"nothing chosen: {all_of(len(search.tried), 'configuration')} failed"
    value = search.tried[search.chosen].value
    return f"{describe_values(search.values)} chosen, {value:.4f}"
