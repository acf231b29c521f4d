"""Four classes as a user has them: from a release's folder to the report and its tables."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from shared_films import write_shared
from sklearn.metrics import accuracy_score, roc_auc_score

from cluster.datasets.manifest import find_manifest
from cluster.stores.folder import FolderStore
from spurious.config.releases import COVID_CLASSES
from spurious.generators.releases.covid_writer import write_covid_radiography
from spurious.generators.releases.films import FilmOptions
from sweeps.cli import main
from sweeps.errors import PlanError
from sweeps.plan.choices import refuse_impossible_choices
from sweeps.plan.facts import plan_on
from sweeps.plan.notes import plan_notes
from sweeps.spec.model import load_spec
from sweeps.staging.sources import staging_from_command
from sweeps.staging.stage import stage
from sweeps.trial.run import run_trial
from sweeps.trial.tasks import task_for

FILMS = FilmOptions(n_train=60, n_val=24, n_test=24, size=128, seed=5)
OPTIONS: dict[str, Any] = {"image_size": 32, "source": "padchest", "split": "0.5/0.25/0.25"}
TEXT = """
name: covid-classes
dataset: covid
axes: {specificity: [label, mask], budget: [24], method: [erm, dfr, classify-masked], seed: [0]}
model: {classifier: {name: small-cnn, channels: 4, levels: 1},
        segmenter: {name: small-unet, channels: 4, levels: 1}}
train: {epochs: 2, batch_size: 10, per_specificity: {label: {keep: best val.macro_auroc}}}
select: {epoch: kept}
"""


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantom films in the release's folders."""
    folder = tmp_path_factory.mktemp("covid") / "release"
    write_shared(write_covid_radiography, folder, FILMS)
    return folder


@pytest.fixture(scope="module")
def place(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a store, where the sweep has run, and its specification."""
    folder = tmp_path_factory.mktemp("classes")
    store = FolderStore(folder / "store")
    source = staging_from_command("covid-radiography", release, {**OPTIONS, "classes": "all"})
    stage(store, source.source, "covid", in_process=True)
    (folder / "covid.yaml").write_text(TEXT)
    spec, threads = load_spec(folder / "covid.yaml"), torch.get_num_threads()
    for trial in plan_on(spec, store).missing:
        task = task_for(trial, spec, store.url, folder / "cache")
        run_trial(task, uuid.uuid4().hex[:12], lambda *_: None)
    yield folder
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


def sweeps(place: Path, *command: str) -> int:
    """Run a verb on the store."""
    return main([*command, "--store", str(place / "store")])


def test_a_dry_run_counts_classes(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As text and in the document; labels alone have no such lines."""
    pairs = [word for key, value in OPTIONS.items() for word in ("--set", f"{key}={value}")]
    command = ["stage", "covid-radiography", str(release), "--dry-run", *pairs]
    assert main([*command, "--set", "classes=all"]) == 0
    text = capsys.readouterr().out
    counts = dict(re.findall(r"class ([\w ]+) \(label [01]\): (.*)", text))
    assert list(counts) == list(COVID_CLASSES)
    assert main([*command, "--set", "classes=all", "--json"]) == 0
    splits = json.loads(capsys.readouterr().out)["splits"]
    for name, shown in counts.items():
        assert shown == ", ".join(f"{of['classes'][name]} {split}" for split, of in splits.items())
        files = list((release / name / "images").iterdir())
        assert sum(of["classes"][name] for of in splits.values()) == len(files)
    assert main(command) == 0
    assert "class " not in capsys.readouterr().out


def test_show_and_check(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Counts per class are the manifest's; every row's class is verified; Croissant names them."""
    manifest = find_manifest(FolderStore(place / "store"), "covid")
    assert sweeps(place, "data", "show", "covid", "--json") == 0
    shown = json.loads(capsys.readouterr().out)["classes"]
    assert [(each["name"], each["positive"]) for each in shown] == [
        (name, name == "COVID") for name in COVID_CLASSES
    ]
    for split, of in manifest.splits.items():
        assert tuple(each["images"][split] for each in shown) == of.classes
    assert sweeps(place, "data", "show", "covid") == 0
    text = capsys.readouterr().out
    n = manifest.splits["train"].classes or ()
    assert re.search(rf"Viral Pneumonia +0 +{n[3]} ", text)
    assert sweeps(place, "data", "check", "covid") == 0
    capsys.readouterr()
    assert sweeps(place, "data", "show", "covid", "--croissant") == 0
    document = json.loads(capsys.readouterr().out)
    assert f"Classes: {', '.join(COVID_CLASSES)}." in document["description"]
    fields = {each["name"]: each for each in document["recordSet"][0]["field"]}
    assert fields["class"]["description"].startswith("number of the image's class: 0 COVID, 1 ")


def test_the_plan_says_what_is_of_classes(place: Path) -> None:
    """And what methods of two classes cannot be told."""
    spec = load_spec(place / "covid.yaml")
    store = FolderStore(place / "store")
    plan = plan_on(spec, store)
    assert [trial.label for trial in plan.trials] == [
        "label-24-erm-s0",
        "mask-24-classify-masked-s0",
    ]
    reasons = {f"{cell.specificity} {cell.method}": reason for cell, reason in plan.skipped}
    assert "fits one logistic regression" in reasons["label dfr"]
    [note] = [note for note in plan_notes(plan) if note.startswith("classes: ")]
    assert "classifiers tell COVID, Lung_Opacity, Normal, Viral Pneumonia apart" in note
    assert note.endswith("accuracy and macro AUROC are over classes")


def test_the_report_has_metrics_of_classes(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those of scikit-learn on the probabilities that `pull` writes, and what they are of."""
    spec = str(place / "covid.yaml")
    assert sweeps(place, "report", spec, "--out", str(tmp_path / "report")) == 0
    assert sweeps(place, "pull", spec, "--out", str(tmp_path / "tables")) == 0
    capsys.readouterr()
    page = (tmp_path / "report" / "report.md").read_text()
    assert "Classes: classifiers tell COVID, Lung" in page
    assert "Macro AUROC" in page
    predictions = pd.read_parquet(tmp_path / "tables" / "predictions.parquet")
    trials = pd.read_parquet(tmp_path / "tables" / "trials.parquet")
    metrics = pd.read_parquet(tmp_path / "report" / "metrics.parquet")
    columns = [f"probability_{name}" for name in COVID_CLASSES]
    by_kind = dict(zip(trials["specificity"], trials["trial_id"], strict=True))
    assert not predictions[["class", *columns]].isna().any().any()
    of_labels = predictions[(predictions["trial_id"] == by_kind["label"]) & predictions["kept"]]
    of_labels = of_labels[of_labels["split"] == "test"]
    true = of_labels["class"].map(list(COVID_CLASSES).index).to_numpy()
    found = of_labels[columns].to_numpy()
    assert (of_labels["class"] == of_labels["covariate_class"]).all()
    mine = metrics[(metrics["trial_id"] == by_kind["label"]) & (metrics["split"] == "test")]
    reported = mine[mine["attribute"].isna()].set_index("metric")["value"]
    one_by_one = [roc_auc_score(true == k, found[:, k]) for k in range(len(COVID_CLASSES))]
    assert reported["macro_auroc"] == pytest.approx(np.mean(one_by_one))
    assert reported["accuracy"] == accuracy_score(true, found.argmax(axis=1))
    assert reported["auroc"] == pytest.approx(roc_auc_score(of_labels["label"], found[:, 0]))
    against = of_labels[(of_labels["label"] == 1) != of_labels["spurious_source"].astype(bool)]
    assert reported["robust_auroc"] == pytest.approx(
        roc_auc_score(against["label"], against["probability_COVID"])
    )


def test_a_rule_by_classes_is_refused_where_there_are_labels_alone(
    release: Path, tmp_path: Path
) -> None:
    """At plan time, with what it needs; staged with classes, the same sweep is planned above."""
    store = FolderStore(tmp_path / "store")
    source = staging_from_command("covid-radiography", release, OPTIONS)
    stage(store, source.source, "covid", in_process=True)
    (tmp_path / "covid.yaml").write_text(TEXT)
    plan = plan_on(load_spec(tmp_path / "covid.yaml"), store)
    assert not [note for note in plan_notes(plan) if note.startswith("classes: ")]
    assert "label-24-dfr-s0" in {trial.label for trial in plan.trials}
    with pytest.raises(PlanError, match="labels alone, and macro_auroc needs three classes"):
        refuse_impossible_choices(plan)
