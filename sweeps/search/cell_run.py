"""The search of one cell as far as results go: what was tried, what is missing, what is chosen.

A pure function of results: whoever asks, and whenever, gets the same suggestions and decisions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

from sweeps.plan.cell import Cell
from sweeps.plan.identity import canonical
from sweeps.plan.plan import DatasetFacts, Trial, make_trial
from sweeps.plan.prices import cell_price
from sweeps.plan.searched import CellSearch, Tried, dimensions_of, with_values
from sweeps.search.choice import choose
from sweeps.search.observation import Observation, Observe
from sweeps.search.rungs import find_survivors, rung_epochs
from sweeps.search.study import suggest
from sweeps.spec.model import Spec


@dataclass(frozen=True)
class Request:
    """A trial that a search waits for, up to an epoch; None is its end."""

    trial: Trial
    until: int | None


@dataclass
class _Batch:
    """A batch in work: its configurations, and what came to each rung."""

    tried: list[Tried]
    at_rungs: list[list[float]] = field(default_factory=list)


class CellRun:
    """Follows one cell's search.

    Args:
        spec: The sweep, with a search.
        cell: A cell of its axes.
        facts: The dataset.
    """

    def __init__(self, spec: Spec, cell: Cell, facts: DatasetFacts) -> None:
        assert spec.search is not None
        self.spec, self.search, self.cell, self.facts = spec, spec.search, cell, facts
        self.dimensions = dimensions_of(self.search, cell)
        self.tries = self.search.count_tries(self.dimensions)
        self.tried: list[Tried] = []
        self._name = canonical([facts.digest, *cell.key])
        self._batch: list[Tried] = []
        self._at_rungs: list[list[float]] = []

    def advance(self, observe: Observe) -> list[Request]:
        """Go as far as results allow; return what is missing, nothing at the end.

        Args:
            observe: Returns what the store has of trials.
        """
        while len(self.tried) < self.tries:
            self._batch = self._batch or self._suggest()
            batch = _Batch(list(self._batch))
            missing = self._settle(batch, observe)
            self._batch = batch.tried
            if missing:
                return missing
            for level, values in enumerate(batch.at_rungs):
                if level == len(self._at_rungs):
                    self._at_rungs.append([])
                self._at_rungs[level] += values
            self.tried += batch.tried
            self._batch = []
        return []

    def state(self) -> CellSearch:
        """Return the search as far as it has come."""
        is_over = len(self.tried) >= self.tries
        tried = (*self.tried, *self._batch)
        best, chosen = choose(self.search, tried, self.spec.select.margin)
        return CellSearch(
            self.cell, self.dimensions, tried, best, chosen if is_over else None, is_over
        )

    def _suggest(self) -> list[Tried]:
        number = len(self.tried)
        suggestions = suggest(
            self.search, self.dimensions, self._name, number // self.search.batch, self.tried
        )
        return [
            waiting(self.spec, self.cell, number + place, values, self.facts)
            for place, values in enumerate(suggestions)
        ]

    def _settle(self, batch: _Batch, observe: Observe) -> list[Request]:
        """Bring a batch as far as it can come; return what is missing.

        A configuration that fails gives its place to the next best one, as if it had never come to
        a rung; otherwise a search whose best ones diverge late would end with nothing.
        """
        ids = [trial.id for each in batch.tried for trial in each.trials]
        seen = observe(list(dict.fromkeys(ids)))
        failed: set[int] = set()
        while True:
            missing, new = self._climb(batch, seen, failed)
            if missing or not new:
                return missing
            failed |= new

    def _climb(
        self, batch: _Batch, seen: Mapping[str, Observation], failed: set[int]
    ) -> tuple[list[Request], set[int]]:
        """Compare a batch rung by rung, without the failed ones; return what is missing or failed.

        A batch that needs neither has come to its end.
        """
        config = batch.tried[0].trials[0].config
        alive = [place for place in range(len(batch.tried)) if place not in failed]
        batch.at_rungs = []
        batch.tried = [
            replace(each, state="failed" if place in failed else "waiting", value=None, epoch=None)
            for place, each in enumerate(batch.tried)
        ]
        for level, epoch in enumerate((*rung_epochs(self.search.stop, config), None)):
            looks = [self._look(batch.tried[place], seen, epoch) for place in alive]
            missing = [request for _, of in looks for request in of]
            values = [value for value, _ in looks]
            new = {place for place, value in zip(alive, values, strict=True) if math.isnan(value)}
            if missing or new:
                return missing, new
            for place, value in zip(alive, values, strict=True):
                batch.tried[place] = _ended(batch.tried[place], value, epoch)
            if epoch is None:
                break
            batch.at_rungs.append(values)
            earlier = self._at_rungs[level] if level < len(self._at_rungs) else []
            on = find_survivors(self.search.stop, values, earlier, self.search.metric[0])
            alive = [alive[place] for place in on]
            for place in alive:
                waits = replace(batch.tried[place], state="waiting", value=None, epoch=None)
                batch.tried[place] = waits
        return [], set()

    def _look(
        self, tried: Tried, seen: Mapping[str, Observation], until: int | None
    ) -> tuple[float, list[Request]]:
        """Return a configuration's value at an epoch, 0 where trials are missing, and those.

        NaN where a seed has none: the others need not end then.
        """
        values, missing = [], []
        for trial in tried.trials:
            value = seen[trial.id].value(trial.config.train.keep, self.search.metric[0], until)
            if value is None:
                missing.append(Request(trial, until))
            elif math.isnan(value):
                return math.nan, []
            else:
                values.append(value)
        return (0.0, missing) if missing else (fmean(values), [])


def waiting(
    spec: Spec, cell: Cell, number: int, values: dict[str, Any], facts: DatasetFacts
) -> Tried:
    """Return a configuration with its trials, before any of them has run."""
    changed, resolved = with_values(spec, cell, values)
    trials = tuple(
        replace(make_trial(changed, resolved, seed, facts), cell=cell, suggestion=number)
        for seed in spec.search_seeds
    )
    price = None
    if spec.search is not None and spec.search.by_dollars:
        price = cell_price(changed, resolved, facts)
    return Tried(
        number, values, trials, "waiting", dollars=None if price is None else price.dollars
    )


def chosen_trials(
    spec: Spec, search: CellSearch, facts: DatasetFacts
) -> tuple[Cell, tuple[Trial, ...]]:
    """Return a cell with its chosen options, and its trials on every seed."""
    changed, cell = with_values(spec, search.cell, search.values)
    return cell, tuple(make_trial(changed, cell, seed, facts) for seed in spec.axes.seed)


def _ended(tried: Tried, value: float, epoch: int | None) -> Tried:
    """Return a configuration after a rung, as if it stopped there, or after its end."""
    if epoch is None:
        return replace(tried, state="finished", value=value)
    return replace(tried, state="stopped", value=value, epoch=epoch)
