"""`store check`, `du`, `copy` and `prune` know kept models."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from tiny_sweeps import TEXT, read_json, run_here, tiny

from cluster.stores.folder import FolderStore
from sweeps.cli import main
from sweeps.plan.archive import archive
from sweeps.plan.facts import plan_on
from sweeps.results.kept import model_keys
from sweeps.results.keys import model_key, trial_key
from sweeps.spec.model import parse_spec


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the four trials of `tiny` and their models."""
    folder = tmp_path_factory.mktemp("finished")
    store = FolderStore(folder / "store")
    spec = parse_spec(TEXT + "keep: model\n")
    archive(store, spec, run_here(store, spec, folder / "cache"))
    return folder


@pytest.fixture
def kept(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderStore:
    """A copy of it, in the folder where commands run."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return FolderStore(tmp_path / "store")


def make_old(store: FolderStore, days: float = 8.0) -> None:
    """Make all objects some days old."""
    then = time.time() - days * 86_400
    for path in Path(store.url).rglob("*"):
        if path.is_file():
            os.utime(path, (then, then))


def test_models_are_counted_by_sweep(kept: FolderStore, capsys: pytest.CaptureFixture[str]) -> None:
    """Those of trials of no named sweep stand with the rest."""
    kept.put(model_key("ab" * 8, "first", "0" * 64), b"of no sweep")
    assert main(["store", "du", "--store", kept.url, "--json"]) == 0
    document = read_json("store du", capsys.readouterr().out)
    sizes = {item.key: item.size_bytes for item in kept.scan("models/")}
    [sweep] = document["sweeps"]
    assert sweep["models"] == sum(sizes.values()) - len(b"of no sweep") > 0
    assert document["rest"]["models of no named sweep"] == len(b"of no sweep")
    counted = sum(sweep[name] for name in ("results", "checkpoints", "models", "files"))
    rest = sum(document["rest"].values()) + sum(document["datasets"].values())
    assert counted + rest == document["total"]


def test_a_damaged_model_is_found(kept: FolderStore, capsys: pytest.CaptureFixture[str]) -> None:
    """By its name; what it costs is no number, and no result goes with it."""
    [key, *_] = kept.list("models/")
    kept.put(key, kept.get(key)[:-1])
    assert main(["store", "check", "--store", kept.url]) == 1
    printed = capsys.readouterr().out
    assert "4 kept models, 1 damaged" in printed
    assert f"to be removed: {key}" in printed
    assert not plan_on(tiny(), kept).missing


def test_a_copy_has_the_models(kept: FolderStore, tmp_path: Path) -> None:
    """Byte for byte, also where the copy's results came before; never of another attempt."""
    for name in ("copy", "copy-of-results"):
        target = FolderStore(tmp_path / name)
        if name == "copy-of-results":
            shutil.copytree(kept.url, target.url)
            shutil.rmtree(Path(target.url) / "models")
        assert main(["store", "copy", "tiny", target.url, "--store", kept.url]) == 0
        assert {key: target.get(key) for key in target.list("models/")} == {
            key: kept.get(key) for key in kept.list("models/")
        }
        assert main(["store", "check", "--store", target.url]) == 0
    other = FolderStore(tmp_path / "other")
    run_here(other, tiny(), tmp_path / "cache")
    assert main(["store", "copy", "tiny", other.url, "--store", kept.url]) == 0
    assert list(other.list("models/")) == []


def test_models_of_nobody_are_pruned(kept: FolderStore, capsys: pytest.CaptureFixture[str]) -> None:
    """Of attempts that were not committed, once they are old; with --results of no named sweep."""
    plan = plan_on(tiny(), kept)
    theirs = set(model_keys(kept, plan.done).values())
    [first, *_] = plan.trials
    lost = {
        model_key(first.id, "other", "1" * 64): b"lost a race",
        model_key("ab" * 8, "first", "2" * 64): b"killed before its commit",
    }
    for key, data in lost.items():
        kept.put(key, data)
    assert main(["store", "prune", "--store", kept.url, "--json"]) == 0
    assert read_json("store prune", capsys.readouterr().out)["prunable"] == []
    make_old(kept)
    assert main(["store", "prune", "--store", kept.url, "--yes", "--json"]) == 0
    listed = read_json("store prune", capsys.readouterr().out)["prunable"]
    found = {key: each["kind"] for each in listed for key in each["objects"]}
    assert {key for key, kind in found.items() if kind == "models of attempts"} == set(lost)
    assert set(kept.list("models/")) == theirs
    archive(kept, fewer := tiny(axes__seed=[0]), plan_on(fewer, kept))
    make_old(kept)
    assert main(["store", "prune", "--store", kept.url, "--results", "--yes"]) == 0
    left = plan_on(fewer, kept).done
    assert {key.split("/")[1] for key in kept.list("models/")} == left
    assert len(left) == 2


def test_the_model_of_a_damaged_result_stays_while_it_may_be_its(kept: FolderStore) -> None:
    """Nobody knows which attempt was committed; the next run decides."""
    plan = plan_on(tiny(), kept)
    [trial, *_] = plan.trials
    [key] = model_keys(kept, {trial.id}).values()
    kept.put(trial_key(trial.id), kept.get(trial_key(trial.id))[:-9])
    make_old(kept)
    assert main(["store", "prune", "--store", kept.url, "--yes"]) == 0
    assert kept.exists(key)
