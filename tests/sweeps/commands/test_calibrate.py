"""`sweeps plan --calibrate`: times of a few steps, kept with the sweep's name, and no result."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_sweeps import Place, made_place, read_json, run_missing, stage_here, tiny

from cluster.stores.folder import FolderStore
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
from sweeps.trial.calibration import calibrate, describe
from sweeps.trial.tasks import task_for

METHODS: list[Any] = ["erm", "jtt", "actdiff", {"name": "ssl", "views": "flip"}]


def calibrated(spec: Spec, plan: Plan, store: FolderStore, cache: Path) -> list[TimedTrial]:
    """Every kind of trial that nothing compares with, timed in this process."""
    trials = find_uncompared(plan, spec, History())
    tasks = [task_for(trial, spec, store.url, cache) for trial in trials]
    return [
        calibrate(task, trial_kind(trial, plan.facts), 4.0)
        for trial, task in zip(trials, tasks, strict=True)
    ]


def test_a_calibration_is_near_what_trials_take(folder_store: FolderStore, tmp_path: Path) -> None:
    """Of every kind, first models included, within its interval times two for a busy machine."""
    spec = tiny(
        axes__method=METHODS, axes__seed=[0], train__epochs=60, axes__specificity=["label", "mask"]
    )
    stage_here(folder_store, spec)
    plan = plan_on(spec, folder_store)
    kinds = {trial.label for trial in find_uncompared(plan, spec, History())}
    assert kinds == {"label-20-erm-s0", "mask-20-erm-s0", "mask-20-actdiff-s0"}
    timed = calibrated(spec, plan, folder_store, tmp_path / "cache")
    assert committed_ids(folder_store) == set()
    assert all("ms an image trained" in describe(of) for of in timed)
    estimates = History(calibrated=timed).estimate(plan, spec.resources)
    assert estimates.trials.keys() == {trial.id for trial in plan.missing}
    run_missing(folder_store, spec, tmp_path / "cache")
    rows = read_history(folder_store, plan_on(spec, folder_store), spec).rows
    assert len(rows) == len(plan.trials)
    for row in rows:
        span = estimates.trials[row["trial_id"]].seconds
        overhead = 2.0  # opening, building and writing are not calibrated
        assert span.low / 2 <= row["seconds_total"] <= 2 * span.high + overhead, row["config"]


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
