"""Models that trials keep: written before the commit, and nobody's after a lost race."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest
from exported_models import model_spec, run_one
from searching import REAL, real_spec, run_search_here
from tiny_sweeps import TEXT, assert_same, one, prepared, run_here, tables, tiny

from cluster.stores.base import Store
from cluster.stores.folder import FolderStore
from spurious.data.dataset import Dataset
from spurious.training.loop import Fit, Hooks
from spurious.training.model_file import unpack
from sweeps.cli import main
from sweeps.plan.archive import archive
from sweeps.plan.facts import plan_on
from sweeps.results import tables as results
from sweeps.results.kept import model_keys
from sweeps.trial.run import fit_for_real, run_trial
from sweeps.trial.tasks import Task


def test_a_kept_model_is_that_of_the_kept_epoch(folder_store: FolderStore, tmp_path: Path) -> None:
    """Under the attempt's id and the hash of its bytes, before anything is committed."""
    fits: list[Fit] = []
    before: list[list[str]] = []

    class Watched(FolderStore):
        def create(self, key: str, data: bytes) -> None:
            before.append(list(self.list("models/")))
            super().create(key, data)

    def remembered(dataset: Dataset, task: Task, hooks: Hooks, store: Store) -> Fit:
        fits.append(fit_for_real(dataset, task, hooks, store))
        return fits[-1]

    _, task = prepared(folder_store, model_spec(), tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sweeps.trial.run._open_store", lambda url: Watched(tmp_path / "store"))
        run_trial(task, "first", lambda *_: None, remembered)
    [key] = folder_store.list("models/")
    assert before == [[key]]
    data = folder_store.get(key)
    sha256 = hashlib.sha256(data).hexdigest()
    assert key == f"models/{task.trial_id}/first/{sha256}.safetensors"
    document, tensors = unpack(data, key)
    assert (document["trial_id"], document["attempt"]) == (task.trial_id, "first")
    assert {name: value.tolist() for name, value in tensors.items()} == {
        name: value.tolist() for name, value in fits[0].kept_state.items()
    }
    assert model_keys(folder_store, {task.trial_id}) == {task.trial_id: key}


def test_a_kept_model_changes_no_number(tmp_path: Path) -> None:
    """Ids, rows and predictions are those of the sweep that keeps none."""
    plain, keeping = FolderStore(tmp_path / "plain"), FolderStore(tmp_path / "keeping")
    without = run_here(plain, tiny(), tmp_path / "cache")
    having = run_here(keeping, tiny(keep="model"), tmp_path / "cache")
    assert [trial.id for trial in having.trials] == [trial.id for trial in without.trials]
    assert_same(tables(keeping, having), tables(plain, without))
    assert list(plain.list("models/")) == []
    assert model_keys(keeping, having.done).keys() == having.done


def test_a_lost_race_leaves_no_model(folder_store: FolderStore, tmp_path: Path) -> None:
    """The winner's stays, or none where the winner keeps none; the loser's own is gone."""
    trial = run_one(folder_store, model_spec(), tmp_path, "first")
    [key] = folder_store.list("models/")

    def lose(dataset: Dataset, task: Task, hooks: Hooks, store: Store) -> Fit:
        fitted = fit_for_real(dataset, task, hooks, store)
        shutil.copytree(tmp_path / "winner" / "results", tmp_path / "store" / "results")
        return fitted

    shutil.copytree(tmp_path / "store", tmp_path / "winner")
    shutil.rmtree(tmp_path / "store" / "results")
    _, task = prepared(folder_store, model_spec(), tmp_path)
    assert run_trial(task, "second", lambda *_: None, lose).state == "lost the race"
    assert list(folder_store.list("models/")) == [key]
    assert model_keys(folder_store, {trial.id}) == {trial.id: key}


def test_a_model_of_an_attempt_that_died_is_nobodys(
    folder_store: FolderStore, tmp_path: Path
) -> None:
    """Killed between its model and its commit, an attempt leaves what no trial counts as its."""

    class Dying(FolderStore):
        def create(self, key: str, data: bytes) -> None:
            raise SystemExit

    _, task = prepared(folder_store, model_spec(), tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sweeps.trial.run._open_store", lambda url: Dying(tmp_path / "store"))
        with pytest.raises(SystemExit):
            run_trial(task, "first", lambda *_: None)
    [left] = folder_store.list("models/")
    assert model_keys(folder_store, {task.trial_id}) == {}
    run_trial(task, "second", lambda *_: None)
    [found] = model_keys(folder_store, {task.trial_id}).values()
    assert found != left
    assert found.split("/")[2] == "second"


def test_a_run_says_which_trials_have_no_model(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With their number; in another store, as it says, the same command trains them with one."""
    store, spec = FolderStore(here / "store"), tiny()
    plan = run_here(store, spec, here / "cache")
    archive(store, spec, plan)
    arguments = ["run", "tiny.yaml", "--set", "keep=model", "--store"]
    assert main([*arguments, str(here / "store")]) == 0
    told = capsys.readouterr().err
    labels = ", ".join(trial.label for trial in plan.trials)
    assert f"note: 4 trials ({labels}) have a result but no kept model" in told
    assert "`sweeps run SPEC --set keep=model --store OTHER`" in told
    assert model_keys(store, plan.done) == {}
    other = FolderStore(here / "other")
    again = run_here(other, tiny(keep="model"), here / "cache")
    assert main([*arguments, str(here / "other")]) == 0
    assert "no kept model" not in capsys.readouterr().err
    assert model_keys(other, again.done).keys() == plan.done


def test_a_sweep_that_keeps_none_is_told_nothing(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor is one asked for its models."""
    run_here(FolderStore(here / "store"), tiny(), here / "cache")
    assert main(["run", "tiny.yaml", "--store", str(here / "store")]) == 0
    assert "no kept model" not in capsys.readouterr().err


def test_trials_of_a_search_keep_theirs(tmp_path: Path) -> None:
    """So that the chosen one has its model, whichever that is."""
    store = FolderStore(tmp_path / "store")
    plan = run_search_here(store, real_spec(f"{REAL}\nkeep: model"), tmp_path / "cache")
    assert plan.trials
    assert {trial.id for trial in plan.trials} <= model_keys(store, plan.done).keys()


@pytest.mark.parametrize("value", ["weights", True, ["model"]])
def test_other_values_of_the_key_are_refused(value: Any, here: Path) -> None:
    """With what is expected."""
    (here / "odd.yaml").write_text(f"{TEXT}keep: {str(value).lower()}\n")
    assert main(["plan", "odd.yaml"]) == 2


def test_the_plan_of_a_trial_is_the_same(folder_store: FolderStore, tmp_path: Path) -> None:
    """A trial that is done without a model counts as done with the key, too."""
    run_one(folder_store, one(), tmp_path)
    plan = plan_on(model_spec(), folder_store)
    assert [trial.id for trial in plan.trials] == list(plan.done)
    assert results.read_trials(folder_store, plan.done).num_rows == 1
