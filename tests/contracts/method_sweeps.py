"""Sweeps over methods that are run once, trial by trial, for the contracts of methods."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from contract_values import METHOD_VALUES
from small_data import no_weights
from tiny_sweeps import assert_same, tables

from cluster.stores.base import Store
from cluster.stores.folder import FolderStore
from spurious.config import methods
from spurious.config.machine import Machine
from spurious.data.dataset import Dataset
from spurious.fit import _problem
from spurious.training.loop import Fit, Hooks
from sweeps.commands.context import SpecSource
from sweeps.commands.report import report
from sweeps.plan.facts import plan_on
from sweeps.plan.plan import Trial
from sweeps.results import tables as results
from sweeps.spec.model import Spec, load_spec
from sweeps.trial.run import fit_for_real, run_trial
from sweeps.trial.tasks import Task, task_for

SMALL = "{name: small-cnn, channels: 4, levels: 1}"
DRAWS = "{name: four-block, channels: 4, decoder: unet}"


class Killed(Exception):
    """Ends an attempt in the middle, as a lost worker does."""


@dataclass(frozen=True)
class Trained:
    """A fit, the weights it began with, and the validation loss before and after it."""

    fit: Fit
    start: Mapping[str, torch.Tensor]
    val_loss: tuple[float, float]


@dataclass(frozen=True)
class Sweep:
    """Every method on every supervision it takes, run once without disturbance.

    Attributes:
        trials: By method and kind of supervision.
        fits: Trial id to the outcome of training.
        errors: Trial id to what its run raised.
        cells: The report's rows.
    """

    spec: Spec
    store: FolderStore
    staged: Path
    cache: Path
    trials: dict[tuple[str, str], Trial]
    fits: dict[str, Trained]
    errors: dict[str, Exception]
    cells: list[dict[str, Any]]

    def of(self, name: str, kind: str) -> Trained:
        """What a method's trial trained; raises what the trial raised."""
        trial = self.trials[name, kind]
        if trial.id in self.errors:
            raise self.errors[trial.id]
        return self.fits[trial.id]


def method_list(names: list[str]) -> str:
    """Methods of the registry with their test values, as YAML."""
    chosen = [
        {"name": name, **METHOD_VALUES[name].options} if name in METHOD_VALUES else name
        for name in names
    ]
    return json.dumps(chosen)


def group_by_model(names: list[str]) -> dict[str, list[str]]:
    """Methods by the smallest classifier that shows what they read."""
    drawing = [
        name
        for name in names
        if "decoder" in methods.METHODS[name](**METHOD_VALUES[name].options).reads
    ]
    return {SMALL: [name for name in names if name not in drawing], DRAWS: drawing}


def compared(fitted: Fit, dataset: Dataset, task: Task) -> Trained:
    """The fit beside the model that it began with."""
    problem = _problem(dataset, task.config, Machine(), no_weights)
    model = problem.build()
    start = {key: value.clone() for key, value in model.named_parameters()}
    before = problem.evaluator(model, 0).values()["val.loss"]
    model.load_state_dict(fitted.kept_state)
    return Trained(fitted, start, (before, problem.evaluator(model, 0).values()["val.loss"]))


def run_sweep(folder: Path, text: str, stage: Callable[[Store, Spec], None]) -> Sweep:
    """All trials of a specification on the dataset that `stage` stages, and one report."""
    file = folder / "contract.yaml"
    file.write_text(text)
    spec = load_spec(file, {})
    store = FolderStore(folder / "store")
    stage(store, spec)
    staged = folder / "staged"
    shutil.copytree(folder / "store", staged)
    fits: dict[str, Trained] = {}
    errors: dict[str, Exception] = {}

    def remembered(dataset: Dataset, task: Task, hooks: Hooks, store: Store) -> Fit:
        fitted = fit_for_real(dataset, task, hooks, store)
        fits[task.trial_id] = compared(fitted, dataset, task)
        return fitted

    plan = plan_on(spec, store)
    for trial in plan.trials:
        task = task_for(trial, spec, store.url, folder / "cache")
        try:
            run_trial(task, "undisturbed", lambda *_: None, remembered)
        except Exception as error:  # noqa: BLE001 (it must not hide what the other methods do)
            errors[trial.id] = error
    report(SpecSource(str(file)), store.url, folder / "report")
    cells = pq.read_table(folder / "report" / "cells.parquet").to_pylist()
    trials = {(t.cell.method.name, t.cell.specificity.kind): t for t in plan.trials}
    return Sweep(spec, store, staged, folder / "cache", trials, fits, errors, cells)


def assert_resumes(sweep: Sweep, trial: Trial, folder: Path) -> None:
    """Killed after epoch 1 of each of its stages, a trial continues there, bit for bit."""
    store = FolderStore(folder / "store")
    shutil.copytree(sweep.staged, folder / "store")
    task = task_for(trial, sweep.spec, store.url, sweep.cache)
    epochs: list[list[int]] = []  # that each attempt reported

    def kill_in_each_stage(epoch: int, total: int, values: Any) -> None:
        epochs[-1].append(epoch)
        if epoch == 2 and sum(of.count(2) for of in epochs) in (1, 3):
            raise Killed  # the first stage's; the third one is the next stage's, if any

    for attempt in range(3):
        task = replace(task, has_checkpoint=bool(results.checkpointed_ids(store)))
        epochs.append([])
        with suppress(Killed):
            run_trial(task, f"attempt{attempt}", kill_in_each_stage)
            break
    assert len(epochs) > 1
    assert [of[0] for of in epochs[1:]] == [2] * (len(epochs) - 1)
    assert results.checkpointed_ids(store) == set()
    plan = plan_on(sweep.spec, store)
    assert plan.done == {trial.id}
    alone = replace(plan_on(sweep.spec, sweep.store), done=plan.done)
    assert_same(tables(store, plan), tables(sweep.store, alone))
