"""`sweeps export`: one file that stands alone, of the trial that a cell and a seed name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from exported_models import read_config
from tiny_sweeps import TEXT, read_json, run_here, tiny

from cluster.stores.folder import FolderStore
from spurious.training.model_file import unpack
from sweeps.cli import main
from sweeps.plan.archive import archive
from sweeps.plan.cell import config_of
from sweeps.plan.facts import plan_on
from sweeps.results import tables as results
from sweeps.results.kept import model_keys
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
def here(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, in the folder where commands run."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    (tmp_path / "tiny.yaml").write_text(TEXT + "keep: model\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWEEPS_CACHE", str(tmp_path / "cache"))
    return tmp_path


def export(*arguments: str) -> int:
    """Run the verb on the store of the folder."""
    return main(["export", *arguments, "--store", "store"])


def test_the_file_says_where_it_comes_from(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Configuration, kept epoch, threshold, metrics and seeds are those of the results."""
    assert export("tiny", "mask-20-erm", "--seed", "1", "--json") == 0
    printed = read_json("export", capsys.readouterr().out)
    path = here / printed["path"]
    assert path.name == "tiny-mask-20-erm-s1.safetensors"
    assert printed["size_bytes"] == path.stat().st_size
    document, tensors = unpack(path.read_bytes(), "it")
    store = FolderStore(here / "store")
    plan = plan_on(tiny(), store)
    [trial] = [trial for trial in plan.trials if trial.label == "mask-20-erm-s1"]
    assert json.loads(document["config"]) == read_config(store, trial)
    assert config_of(document["config"]) == trial.config
    [row] = results.read_trials(store, [trial.id]).to_pylist()
    assert document["kept"] == {k: row[k] for k in ("kept_epoch", "epochs", "keep_rule")}
    assert document["predictions_sha256"] == row["predictions_sha256"]
    own = {(m["split"], m["metric"], m["attribute"]): m["value"] for m in document["own"]}
    for name in ("auroc", "robust_auroc", "dice"):
        assert own["test", name, None] == row[f"test_{name}"]
    assert document["operating_point"]["threshold"] == own["test", "threshold", None]
    seeds = {t.config.seed: t.id for t in plan.trials if t.cell == trial.cell}
    rows = {r["trial_id"]: r for r in results.read_trials(store, seeds.values()).to_pylist()}
    assert document["seeds"] == {
        str(seed): {k: rows[i][f"test_{k}"] for k in ("robust_auroc", "auroc")}
        for seed, i in seeds.items()
    }
    [key] = [key for key in store.list("models/") if key.split("/")[1] == trial.id]
    assert {name: value.tolist() for name, value in tensors.items()} == {
        name: value.tolist() for name, value in unpack(store.get(key), key)[1].items()
    }


def test_twice_gives_the_same_bytes_and_no_id_of_an_image(here: Path) -> None:
    """From the sweep's name and from its YAML."""
    assert export("tiny", "label-20-erm", "--seed", "0", "--out", "one") == 0
    assert export("tiny.yaml", "label-20-erm", "--seed", "0", "--out", "two") == 0
    data = (here / "one").read_bytes()
    assert (here / "two").read_bytes() == data
    table = results.read_attempts(
        (store := FolderStore(here / "store")),
        "predictions",
        results.read_trials(store, plan_on(tiny(), store).done),
    )
    ids = {str(each) for each in table.column("sample_id").to_pylist()}
    assert ids
    assert not any(each.encode() in data for each in ids)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["masks-20-erm"], "cell 'masks-20-erm': sweep 'tiny' has none of that name; nearest"),
        (["?"], "expected SPECIFICITY-BUDGET-METHOD, e.g. label-20-erm"),
        (["mask-20-erm"], "has trials of the seeds 0, 1; name one with --seed, e.g. --seed 0"),
        (["mask-20-erm", "--seed", "5"], "--seed 5: cell 'mask-20-erm' has trials of the seeds"),
    ],
)
def test_wrong_names_are_told(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """With what there is."""
    assert export("tiny", *arguments) == 2
    assert message in capsys.readouterr().err


def test_options_of_a_method_may_be_left_out(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where one cell alone has the rest; of two it says which."""
    choices: list[Any] = [{"name": "jtt", "first_epochs": n} for n in (1, 2)]
    store = FolderStore(here / "store")
    spec = tiny(name="two", axes__method=choices, axes__specificity=["label"], axes__seed=[0])
    archive(store, spec, plan_on(spec, store))
    assert export("two", "label-20-jtt") == 2
    assert "match; write one of them, in quotes" in capsys.readouterr().err
    assert export("two", "label-20-jtt(first_epochs=2)") == 2
    assert "is missing: run the sweep with `keep: model` first" in capsys.readouterr().err


def test_a_result_without_a_model_says_how_to_have_one(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Removed, damaged, or never kept; no result is touched by it."""
    store = FolderStore(here / "store")
    done = plan_on(tiny(), store).done
    for key in model_keys(store, done).values():
        store.put(key, store.get(key)[:-1] + b"?")
    assert export("tiny", "mask-20-erm", "--seed", "0") == 2
    assert "is damaged: it has SHA-256" in capsys.readouterr().err
    assert main(["store", "check", "--store", "store", "--repair"]) == 1
    assert "4 kept models, 4 damaged" in capsys.readouterr().out
    assert list(store.list("models/")) == []
    assert export("tiny", "mask-20-erm", "--seed", "0") == 2
    told = capsys.readouterr().err
    assert "trial mask-20-erm-s0 of sweep 'tiny' has a result but no kept model" in told
    assert plan_on(tiny(), store).done == done


def test_the_reports_other_epoch_is_said(here: Path) -> None:
    """Where the report selects by another rule than the trial kept by, and only there."""
    store = FolderStore(here / "store")
    rows = results.read_trials(store, plan_on(tiny(), store).done).to_pylist()
    kept = {row["kept_epoch"] == row["epochs"] for row in rows}
    assert kept == {True, False}
    for row in rows:
        cell, seed = f"{row['specificity']}-20-erm", str(row["seed"])
        for rule in ("kept", "last"):
            settings = ["--set", f"select.epoch={rule}", "--out", "file"]
            assert export("tiny.yaml", cell, "--seed", seed, *settings) == 0
            document, _ = unpack((here / "file").read_bytes(), "file")
            cautions = [text for text in document["cautions"] if "these weights are of" in text]
            is_other = rule == "last" and row["kept_epoch"] != row["epochs"]
            assert len(cautions) == is_other
            if is_other:
                assert cautions[0].startswith("the report shows epoch 3, by the rule 'last'; these")
                assert f"weights are of epoch {row['kept_epoch']}, which" in cautions[0]
