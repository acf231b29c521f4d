"""What every method promises, at every supervision it takes: it trains, resumes and is priced."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from contract_values import METHOD_VALUES
from small_data import no_weights, values
from tiny_sweeps import assert_same, stage_here, tables

from cluster.stores.base import Store
from cluster.stores.folder import FolderStore
from spurious.config import methods
from spurious.data.dataset import Dataset
from spurious.fit import Machine, _problem
from spurious.training.loop import Fit, Hooks
from sweeps.commands.context import SpecSource
from sweeps.commands.report import report
from sweeps.plan.facts import plan_on
from sweeps.plan.plan import Trial
from sweeps.results import tables as results
from sweeps.spec.model import Spec, load_spec
from sweeps.trial.result_rows import Task
from sweeps.trial.run import fit_for_real, run_trial
from sweeps.trial.tasks import task_for

EPOCHS, BUDGET, VAL = 3, 30, 40
TEXT = """
name: contract
dataset: {name: gaussian-squares, image_size: 16, abnormality_size: 4, spurious_size: 5,
          prevalence: 0.5, spurious_given_positive: 0.7, spurious_given_negative: 0.3,
          abnormality_mean: 4.0, n_train: 40, n_val: %d, n_test: 20}
axes: {specificity: [label, box, mask, {r: 4}], budget: [%d], method: %s, seed: [0]}
model: {classifier: %s,
        segmenter: {name: small-unet, channels: 4, levels: 1}}
train: {epochs: %d, batch_size: 10, learning_rate: 0.01, augment: flip}
checkpoint: {every_epochs: 1}
"""
SMALL = "{name: small-cnn, channels: 4, levels: 1}"
DRAWS = "{name: four-block, channels: 4, decoder: unet}"
CASES = [(name, kind) for name, options in methods.METHODS.items() for kind in options.takes]


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


def compared(fitted: Fit, dataset: Dataset, task: Task) -> Trained:
    """The fit beside the model that it began with."""
    problem = _problem(dataset, task.config, Machine(), no_weights)
    model = problem.build()
    start = {key: value.clone() for key, value in model.named_parameters()}
    before = problem.evaluator(model, 0).values()["val.loss"]
    model.load_state_dict(fitted.kept_state)
    return Trained(fitted, start, (before, problem.evaluator(model, 0).values()["val.loss"]))


def run_sweep(folder: Path, classifier: str, names: list[str]) -> Sweep:
    """All trials of some methods, and one report."""
    file = folder / "contract.yaml"
    file.write_text(TEXT % (VAL, BUDGET, method_list(names), classifier, EPOCHS))
    spec = load_spec(file, {})
    store = FolderStore(folder / "store")
    stage_here(store, spec)
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


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Sweep]]:
    """By method, the sweep that it is in; settings of torch are put back."""
    threads = torch.get_num_threads()
    drawing = [
        name
        for name, options in methods.METHODS.items()
        if "decoder" in options(**METHOD_VALUES[name].options).reads
    ]
    groups = {SMALL: [name for name in methods.METHODS if name not in drawing], DRAWS: drawing}
    found: dict[str, Sweep] = {}
    for classifier, names in groups.items():
        swept = run_sweep(tmp_path_factory.mktemp("methods"), classifier, names)
        found |= dict.fromkeys(names, swept)
    yield found
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


class TestMethod:
    """One method; at every supervision it takes, or at the first one."""

    @pytest.mark.parametrize(("name", "kind"), CASES)
    def test_trains(self, sweeps: Mapping[str, Sweep], name: str, kind: str) -> None:
        """Its weights have moved, its loss has fallen, and its score is defined."""
        trained = sweeps[name].of(name, kind)
        assert np.isfinite(values(trained.fit, "test", "auroc")).all()
        kept = trained.fit.kept_state
        assert [key for key, value in trained.start.items() if torch.equal(kept[key], value)] == []
        if METHOD_VALUES[name].learns_from == "val":
            assert trained.val_loss[1] < trained.val_loss[0]
            return
        losses = values(trained.fit, "train", "loss")
        assert len(losses) == EPOCHS
        assert losses[-1] < losses[0]

    @pytest.mark.parametrize("name", methods.METHODS)
    def test_resumes(self, sweeps: Mapping[str, Sweep], name: str, tmp_path: Path) -> None:
        """Killed after epoch 1 of each of its stages, it continues there, bit for bit."""
        sweep = sweeps[name]
        trial = sweep.trials[name, methods.METHODS[name].takes[0]]
        store = FolderStore(tmp_path / "store")
        shutil.copytree(sweep.staged, tmp_path / "store")
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

    @pytest.mark.parametrize(("name", "kind"), CASES)
    def test_is_priced_and_reported(
        self, sweeps: Mapping[str, Sweep], name: str, kind: str
    ) -> None:
        """The report has its row, whose dollars are those of its annotations by hand."""
        sweep = sweeps[name]
        cell = sweep.trials[name, kind].cell
        of = (str(cell.specificity), str(cell.budget), str(cell.method))
        [row] = [
            row for row in sweep.cells if (row["specificity"], row["budget"], row["method"]) == of
        ]
        assert row["seeds_done"] == 1
        per_abnormality = {"label": 1, "box": 2, "mask": 45, "r": 2}[kind]
        clicks = BUDGET // 2 * (per_abnormality + 1)  # one on each positive image, else a label
        options = cell.method.options
        if options.trains_on_validation:
            clicks += VAL // 2 * (per_abnormality + 1)
        clicks += {None: 0, "train": BUDGET, "val": VAL}[options.spurious_labels]
        clicks += METHOD_VALUES[name].further_clicks.get(kind, 0)
        assert row["dollars_mean"] == pytest.approx(clicks * 100 / 3600)
