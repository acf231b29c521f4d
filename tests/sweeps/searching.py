"""Searches small enough for a test: their specs, results that need no training, and a driver."""

from __future__ import annotations

import math
import random
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from tiny_sweeps import TEXT, stage_here

from cluster.stores.base import Store
from spurious.data.randomness import derive
from spurious.errors import NumericalError
from sweeps.plan.cell import Cell
from sweeps.plan.facts import generator_facts, plan_on
from sweeps.plan.plan import DatasetFacts, Plan, Trial
from sweeps.results.tables import checkpointed_ids
from sweeps.search.cell_run import CellRun
from sweeps.search.observation import Observation
from sweeps.search.resolve import resolve_searches
from sweeps.search.stored import StoredObservations
from sweeps.spec.model import GeneratorDataset, Spec, parse_spec
from sweeps.trial.run import run_trial
from sweeps.trial.tasks import task_for

EPOCHS = 27
LEARNING_RATE = "{learning_rate: {log: [1.0e-5, 1.0e-1]}}"


@cache
def search_spec(section: str, *, epochs: int = EPOCHS, name: str = "tiny", **changes: str) -> Spec:
    """Return the tiny sweep with a section `search`, and with texts replaced."""
    text = TEXT.replace("name: tiny", f"name: {name}").replace("epochs: 3", f"epochs: {epochs}")
    for before, after in changes.items():
        assert f"{before}:" in text
        text = "\n".join(
            line if f"{before}:" not in line else line.replace(*after.split(" -> "))
            for line in text.splitlines()
        )
    return parse_spec(f"{text}\nsearch: {section}\n")


def first_cell(spec: Spec) -> Cell:
    """Return the first cell of a spec's axes."""
    return Cell(spec.axes.specificity[0], spec.budgets()[0], spec.axes.method[0])


def facts_of_spec(spec: Spec) -> DatasetFacts:
    """Return the facts of its generator."""
    assert isinstance(spec.dataset, GeneratorDataset)
    return _facts(spec.dataset)


@cache
def _facts(dataset: GeneratorDataset) -> DatasetFacts:
    return generator_facts(dataset)


def curve(trial: Trial) -> dict[int, dict[str, float]]:
    """Return a validation AUROC by epoch: best at a learning rate of 5e-4, with noise by epoch."""
    rate = trial.config.train.learning_rate
    top = math.exp(-((math.log10(rate) + 3.3) ** 2))

    def value(epoch: int) -> float:
        noise = random.Random(derive(trial.id, epoch)).uniform(-0.01, 0.01)
        return 0.5 + 0.5 * top * (1 - math.exp(-epoch / 8)) + noise

    return {e: {"val.auroc": value(e)} for e in range(1, trial.config.train.epochs + 1)}


@dataclass
class Simulated:
    """A store without files: what trials have done, and how many epochs that took.

    A rate above `diverges` has no numbers after epoch 5.
    """

    diverges: float = math.inf
    seen: dict[str, Observation] = field(default_factory=dict)
    epochs: int = 0

    def __call__(self, ids: Collection[str]) -> Mapping[str, Observation]:
        """See `sweeps.search.observation.Observe`."""
        return {trial_id: self.seen.get(trial_id, Observation()) for trial_id in ids}

    def train(self, trial: Trial, until: int | None) -> None:
        """Train to an epoch; None is the end."""
        history = curve(trial)
        before = self.seen.get(trial.id, Observation())
        last = until or len(history)
        if trial.config.train.learning_rate > self.diverges and last >= 5:
            self.seen[trial.id] = Observation(before.history, before.reached, None, 5)
            return
        self.epochs += last - before.reached
        if until is None:
            kept = max(history, key=lambda epoch: history[epoch]["val.auroc"])
            self.seen[trial.id] = Observation(history, last, kept)
        else:
            shown = {epoch: values for epoch, values in history.items() if epoch <= until}
            self.seen[trial.id] = Observation(shown, until)


def drive(
    spec: Spec, store: Simulated, *, order: random.Random, killed_after: float = math.inf
) -> CellRun:
    """Run a search in an order of its own, to its end or to a kill after some trials."""
    run = CellRun(spec, first_cell(spec), facts_of_spec(spec))
    while requests := run.advance(store):
        order.shuffle(requests)
        for request in requests:
            if killed_after < 1:
                return run
            killed_after -= 1
            store.train(request.trial, request.until)
    return run


REAL = (
    "{trials: 5, batch: 3, stop: asha, metric: val.loss, "
    "space: {learning_rate: {log: [1.0e-4, 1.0]}, spl: {weight: [0.1, 1]}}}"
)
"""A search whose trials train for real: some stop early, and some may diverge."""
REAL_TEXT = TEXT.replace("label, mask", "mask").replace("[erm]", "[erm, spl]")
REAL_EPOCHS = 9


def real_spec(section: str = REAL, name: str = "tiny") -> Spec:
    """Return a sweep of two cells with a search that takes seconds."""
    return parse_spec(real_text(section, name))


def real_text(section: str = REAL, name: str = "tiny") -> str:
    """Return its YAML."""
    text = REAL_TEXT.replace("epochs: 3", f"epochs: {REAL_EPOCHS}").replace("tiny", name, 1)
    return f"{text}\nsearch: {section}\n"


def run_part(store: Store, spec: Spec, cache: Path, trial: Trial, until: int | None) -> str:
    """Run one trial in this process to an epoch; return how it ended."""
    saved = trial.id in checkpointed_ids(store)
    task = replace(task_for(trial, spec, store.url, cache, saved), until_epoch=until)
    try:
        return run_trial(task, uuid.uuid4().hex[:12], lambda *_: None).state
    except NumericalError:
        return "failed"


def run_search_here(store: Store, spec: Spec, cache: Path, most: float = math.inf) -> Plan:
    """Run a sweep with a search in this process, to its end or until some trials have run."""
    stage_here(store, spec)
    while (plan := plan_here(store, spec)).is_searching:
        assert plan.facts is not None
        for search in plan.searches:
            run = CellRun(spec, search.cell, plan.facts)
            for request in run.advance(StoredObservations(store)):
                if most < 1:
                    return plan
                most -= 1
                run_part(store, spec, cache, request.trial, request.until)
    for trial in plan.missing:
        run_part(store, spec, cache, trial, None)
    return plan_here(store, spec)


def plan_here(store: Store, spec: Spec) -> Plan:
    """Plan a sweep with a search against a store."""
    return resolve_searches(plan_on(spec, store), spec, store)
