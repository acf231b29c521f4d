"""`sweeps plan --calibrate`: times of a few steps, kept with the sweep's name, and no result."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_sweeps import Place, made_place, read_json, run_missing, stage_here, tiny

from cluster.stores.folder import FolderStore
from spurious.config.options import FitConfig
from spurious.data.dataset import Dataset
from spurious.fit import fit
from spurious.training.loop import Fit
from sweeps.commands.calibrate import find_uncompared
from sweeps.plan.facts import generator_facts, plan_on
from sweeps.plan.history import (
    History,
    calibration_key,
    read_calibration,
    read_history,
    write_calibration,
)
from sweeps.plan.plan import Plan, make_plan
from sweeps.plan.timed import TimedTrial, calibrated_config, trial_kind
from sweeps.results.tables import committed_ids
from sweeps.spec.model import GeneratorDataset, Spec
from sweeps.trial import calibration
from sweeps.trial.calibration import calibrate, describe
from sweeps.trial.tasks import task_for

METHODS: list[Any] = ["erm", "jtt", "actdiff", {"name": "ssl", "views": "flip"}]


TRAINED, SCORED, START = 0.01, 0.002, 7.0
"""Seconds of an image that trains, of one that is scored, and of the start of a fit."""
PASSES = {"erm": 1.0, "actdiff": 2.2}
"""What training on an image costs each method that is timed."""


def calibrated(spec: Spec, plan: Plan, store: FolderStore, cache: Path) -> list[TimedTrial]:
    """Every kind of trial that nothing compares with, timed in this process."""
    trials = find_uncompared(plan, spec, History())
    tasks = [task_for(trial, spec, store.url, cache) for trial in trials]
    return [
        calibrate(task, trial_kind(trial, plan.facts), 60.0)
        for trial, task in zip(trials, tasks, strict=True)
    ]


@pytest.fixture
def counted_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fits train for real, on a clock that counts their images."""
    now = [0.0]

    def counted(dataset: Dataset, config: FitConfig, *rest: Any) -> Fit:
        fitted = fit(dataset, config, *rest)
        scored = sum(len(dataset.rows(split)) for split in ("val", "test")) * config.train.epochs
        fitted.seconds_training = TRAINED * PASSES[config.method_name] * fitted.images_trained
        now[0] += START + fitted.seconds_training + SCORED * scored
        return fitted

    monkeypatch.setattr(calibration, "fit", counted)
    monkeypatch.setattr(calibration, "time", SimpleNamespace(perf_counter=lambda: now[0]))


@pytest.mark.usefixtures("counted_time")
def test_a_calibration_finds_what_images_take(folder_store: FolderStore, tmp_path: Path) -> None:
    """Exactly, without the start of a fit; first models included, and nothing is committed."""
    spec = tiny(
        axes__method=METHODS, axes__seed=[0], train__epochs=60, axes__specificity=["label", "mask"]
    )
    stage_here(folder_store, spec)
    plan = plan_on(spec, folder_store)
    kinds = {trial.label for trial in find_uncompared(plan, spec, History())}
    assert kinds == {"label-20-erm-s0", "mask-20-erm-s0", "mask-20-actdiff-s0"}
    timed = calibrated(spec, plan, folder_store, tmp_path / "cache")
    assert committed_ids(folder_store) == set()
    for of in timed:
        assert of.seconds_training == pytest.approx(TRAINED * of.own_trained)
        scored = of.seconds - of.seconds_training
        assert scored == pytest.approx(SCORED * of.work.evaluated)
    assert describe(timed[0]) == "10.0 ms an image trained, 2.0 ms an image scored on cpu"
    estimates = History(calibrated=timed).estimate(plan, spec.resources).trials
    assert estimates.keys() == {trial.id for trial in plan.missing}
    for trial in plan.missing:
        span, config = estimates[trial.id].seconds, trial.config
        first = {"jtt": 30, "ssl": 3 * 60}.get(config.method_name, 0)
        scored_epochs = {"jtt": 90, "ssl": 120}.get(config.method_name, 60)
        images = 20 * (60 * {"ssl": 3.0, **PASSES}.get(config.method_name, 1.0) + first)
        expected = TRAINED * images + SCORED * 60 * scored_epochs
        assert math.sqrt(span.low * span.high) == pytest.approx(expected, rel=1e-6), trial.label


@pytest.mark.usefixtures("counted_time")
def test_no_time_is_left_by_the_probe(folder_store: FolderStore, tmp_path: Path) -> None:
    """Then the probe alone is the calibration, which has the start of a fit in it."""
    spec = tiny(axes__seed=[0], axes__specificity=["label"])
    stage_here(folder_store, spec)
    plan = plan_on(spec, folder_store)
    [trial] = find_uncompared(plan, spec, History())
    task = task_for(trial, spec, folder_store.url, tmp_path / "cache")
    timed = calibrate(task, trial_kind(trial, plan.facts), START)
    assert timed.work.trained == 4
    assert timed.seconds == pytest.approx(START + 4 * TRAINED + timed.work.evaluated * SCORED)


def test_what_stands_for_a_trial() -> None:
    """ERM on the same model for methods with a first model, on labels for those that steer."""
    spec = tiny(axes__method=[*METHODS, "exbl", "dfr"], axes__specificity=["label", "mask"])
    assert isinstance(spec.dataset, GeneratorDataset)
    plan = make_plan(spec, generator_facts(spec.dataset))
    stands = {
        trial.label: calibrated_config(trial.config)
        for trial in plan.trials
        if trial.config.seed == 0
    }
    names = {label: of.method_name for label, of in stands.items()}
    assert names["mask-20-actdiff-s0"] == "actdiff"
    assert names["label-20-jtt-s0"] == names["label-20-dfr-s0"] == "erm"
    assert str(stands["mask-20-exbl-s0"].specificity) == "label"
    assert not stands["mask-20-exbl-s0"].segments
    assert {of.train.keep for of in stands.values()} == {"last"}


def test_calibrations_are_kept_for_the_same_data_and_machines(
    folder_store: FolderStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Another version of the dataset or other threads measure again; damage costs a warning."""
    spec = tiny(axes__seed=[0], axes__specificity=["label"])
    stage_here(folder_store, spec)
    plan = plan_on(spec, folder_store)
    timed = calibrated(spec, plan, folder_store, tmp_path / "cache")
    write_calibration(folder_store, plan, spec.resources, timed)
    assert read_calibration(folder_store, plan, spec.resources) == timed
    assert plan.facts is not None
    other = replace(plan, facts=replace(plan.facts, digest="ab" * 32))
    assert read_calibration(folder_store, other, spec.resources) == []
    threads = replace(spec.resources, cpus=2, threads=2)
    assert read_calibration(folder_store, plan, threads) == []
    folder_store.put(calibration_key("tiny"), b"{")
    assert read_calibration(folder_store, plan, spec.resources) == []
    assert "tiny/calibration.json is damaged and not used" in caplog.text


def test_committed_trials_win_over_calibrations(folder_store: FolderStore, tmp_path: Path) -> None:
    """Once a kind has a result, nothing of it is calibrated again."""
    spec = tiny(axes__seed=[0], axes__specificity=["label"])
    stage_here(folder_store, spec)
    plan = run_missing(folder_store, spec, tmp_path / "cache")
    larger = tiny(axes__specificity=["label", "mask"])
    plan = plan_on(larger, folder_store)
    history = read_history(folder_store, plan, larger)
    assert [trial.label for trial in find_uncompared(plan, larger, history)] == ["mask-20-erm-s0"]


@pytest.fixture
def place(tmp_path: Path) -> Any:
    """A folder of its own with a spec, and Ray of its own."""
    with made_place(tmp_path) as made:
        yield made


@pytest.mark.slow
def test_the_command_times_kinds_on_ray(place: Place) -> None:
    """It says what it does, commits nothing, and later plans have its times."""
    store = ("--store", str(place.store))
    done = place.sweeps("plan", str(place.spec), "--calibrate", "--json", *store)
    assert "calibrating 1 of 2: erm on label with small-cnn" in done.stderr
    assert "calibrating 2 of 2: erm on mask with small-unet" in done.stderr
    assert done.stderr.count("ms an image trained") == 2
    compute = read_json("plan", done.stdout)["compute"]
    assert compute["estimated"] == compute["trials"] == 4
    assert not (place.store / "results").exists()
    later = json.loads(place.sweeps("plan", str(place.spec), "--json", *store).stdout)
    assert later["compute"] == compute
