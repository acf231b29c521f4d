"""An exported model on the images of another hospital: scores, metrics and intervals by hand."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from classed_images import ClassedSource
from exported_models import (
    assert_scores_again,
    change_document,
    evaluate_on,
    exported_file,
    model_spec,
    run_one,
    stored_predictions,
)
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.metrics import roc_auc_score
from tiny_sweeps import TEXT, run_missing, tiny

from cluster.datasets.manifest import find_manifest
from cluster.node_cache.open import open_dataset
from cluster.stores.base import Store
from cluster.stores.folder import FolderStore
from spurious.config.datasets import GaussianSquares
from sweeps.catalogue.exported.cautions import cautions
from sweeps.catalogue.exported.evaluation import ModelEvaluation
from sweeps.cli import main
from sweeps.plan.plan import Trial
from sweeps.spec.model import GeneratorDataset, parse_spec
from sweeps.staging.sources import generator_staging
from sweeps.staging.stage import stage


@pytest.fixture(autouse=True)
def torch_as_it_was() -> Iterator[None]:
    """Trials set threads and deterministic algorithms for the whole process."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


def stage_hospital(store: Store, name: str = "hospital-b", **options: Any) -> None:
    """Stage squares that no trial has seen, as a dataset that was not drawn for it."""
    dataset = tiny().dataset
    assert isinstance(dataset, GeneratorDataset)
    assert isinstance(dataset.options, GaussianSquares)
    shares = {"spurious_given_positive": 0.7, "spurious_given_negative": 0.3}
    here = {"seed": 7, "n_val": 20, "n_test": 80, **shares, **options}
    made = generator_staging(dataset.name, replace(dataset.options, **here))
    stage(store, made.source, name, in_process=True)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store, the exported model of its one trial, and another hospital's images."""
    folder = tmp_path_factory.mktemp("evaluate")
    store = FolderStore(folder / "store")
    trial = run_one(store, model_spec(train__epochs=6), folder / "cache")
    exported_file(model_spec(train__epochs=6), trial, store, folder).rename(folder / "model")
    stage_hospital(store)
    return folder


@pytest.fixture
def scored(place: Path) -> ModelEvaluation:
    """What the model makes of the other hospital's images."""
    return evaluate_on(place / "model", FolderStore(place / "store"), "hospital-b", place / "cache")


def of_split(scored: ModelEvaluation, split: str) -> pd.DataFrame:
    """The predictions of a split."""
    frame = pd.DataFrame(scored.predictions)
    return frame[frame["split"] == split]


def metric(scored: ModelEvaluation, split: str, name: str, attribute: str | None) -> dict[str, Any]:
    """The row of a metric."""
    [row] = [
        row
        for row in scored.metrics
        if (row["split"], row["metric"], row["attribute"]) == (split, name, attribute)
    ]
    return dict(row)


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"axes__specificity": ["label"]},
        {"axes__specificity": [{"r": 4}]},
        {"model__readout": {"name": "top_fraction", "fraction": 0.2}},
        {"model__readout": "mean_logit", "train__normalise": "imagenet"},
        {"train__precision": "bfloat16"},
        {"train__channels_last": True},
        {"resources__cpus": 2, "resources__threads": 2},
        {"train__keep": "last", "train__evaluate_every": 2},
        {"train__score_test": "candidates"},
    ],
    ids=str,
)
def test_its_own_images_get_the_stored_predictions(
    folder_store: FolderStore, tmp_path: Path, overrides: dict[str, Any]
) -> None:
    """Bit for bit, whatever the read-out, the arithmetic and the rule of the kept epoch."""
    spec = model_spec(**overrides)
    trial = run_one(folder_store, spec, tmp_path)
    assert_scores_again(spec, trial, folder_store, tmp_path)


@pytest.mark.parametrize("specificity", ["label", "mask"])
def test_classes_are_answered_again(
    folder_store: FolderStore, tmp_path: Path, specificity: str
) -> None:
    """A classifier of four classes gives the stored probability of each, a segmenter none."""
    source = ClassedSource({"train": 80, "val": 24, "test": 24})
    stage(folder_store, source, "classed", in_process=True)
    text = TEXT[: TEXT.index("dataset:")] + "dataset: classed\n" + TEXT[TEXT.index("axes:") :]
    changes = {"axes.specificity": [specificity], "axes.seed": [0], "keep": "model"}
    spec = parse_spec(text, overrides=changes)
    [trial] = trials_of(folder_store, spec, tmp_path)
    assert_scores_again(spec, trial, folder_store, tmp_path)
    by_class = [name for name in stored_predictions(folder_store, trial)[0] if "probab" in name]
    assert len(by_class) == (4 if specificity == "label" else 0)
    if specificity == "mask":
        return
    labels = ClassedSource({"train": 80, "val": 24, "test": 24}, classes=())
    stage(folder_store, labels, "labels", in_process=True)
    path = exported_file(spec, trial, folder_store, tmp_path)
    with pytest.raises(Exception, match="tells the classes dot, square, bar, Nothing at all apart"):
        evaluate_on(path, folder_store, "labels", tmp_path)


def trials_of(store: Store, spec: Any, cache: Path) -> tuple[Trial, ...]:
    """Run a specification on a staged dataset."""
    return run_missing(store, spec, cache).trials


def test_metrics_are_those_of_the_predictions(scored: ModelEvaluation) -> None:
    """Overall and robust AUROC, sensitivity and specificity, by sklearn and by hand."""
    threshold = scored.threshold
    for split, images in (("val", 20), ("test", 80)):
        frame = of_split(scored, split)
        assert len(frame) == images
        found = roc_auc_score(frame["label"], frame["score"])
        assert metric(scored, split, "auroc", None)["value"] == pytest.approx(found, abs=1e-12)
        against = frame[frame["spurious_block"] != (frame["label"] == 1)]
        robust = roc_auc_score(against["label"], against["score"])
        for attribute in (None, "block"):
            row = metric(scored, split, "robust_auroc", attribute)
            assert row["value"] == pytest.approx(robust, abs=1e-12)
        assert metric(scored, split, "robust_auroc", "block")["n_y1_s0"] == int(
            ((frame["label"] == 1) & ~frame["spurious_block"]).sum()
        )
        called = frame["score"] >= threshold
        assert (called == frame["called"]).all()
        positive = frame["label"] == 1
        assert metric(scored, split, "sensitivity", None)["value"] == called[positive].mean()
        assert metric(scored, split, "specificity", None)["value"] == (~called[~positive]).mean()


def test_the_threshold_is_the_one_of_its_own_validation(place: Path) -> None:
    """Youden's J on the trial's own validation images; those of the other hospital fit nothing."""
    store = FolderStore(place / "store")
    scored = evaluate_on(place / "model", store, "hospital-b", place / "cache")
    own = evaluate_on(place / "model", store, "gaussian-squares", place / "cache")
    frame = of_split(own, "val")
    positive = frame["label"] == 1
    gains = {
        score: (frame["score"] >= score)[positive].mean()
        - (frame["score"] >= score)[~positive].mean()
        for score in frame["score"]
    }
    best = max(gains.values())
    assert scored.threshold == max(s for s, gain in gains.items() if math.isclose(gain, best))


def delong_limits(positives: NDArray[Any], negatives: NDArray[Any]) -> tuple[float, float]:
    """The 95 % limits of an AUROC of independent patients, pair by pair, as a logit."""
    wins = (positives[:, None] > negatives[None]) + 0.5 * (positives[:, None] == negatives[None])
    value = wins.mean()
    variance = wins.mean(axis=1).var(ddof=1) / len(positives)
    variance += wins.mean(axis=0).var(ddof=1) / len(negatives)
    half = norm.ppf(0.975) * math.sqrt(variance) / (value * (1 - value))
    centre = math.log(value / (1 - value))
    low, high = (1 / (1 + math.exp(-x)) for x in (centre - half, centre + half))
    return low, high


def test_intervals_are_delongs(scored: ModelEvaluation) -> None:
    """For new patients, by an independent computation; few patients get the reason instead."""
    frame = of_split(scored, "test")
    assert frame["patient_id"].is_unique
    sides = [frame["score"][frame["label"] == label].to_numpy() for label in (1, 0)]
    row = metric(scored, "test", "auroc", None)
    low, high = delong_limits(*sides)
    assert 0 < low < row["value"] < high < 1
    assert (row["low"], row["high"]) == pytest.approx((low, high), abs=1e-6)
    assert row["no_interval"] is None
    against = of_split(scored, "val")
    against = against[against["spurious_block"] != (against["label"] == 1)]
    assert min(against["label"].value_counts()) < 10
    few = metric(scored, "val", "robust_auroc", None)
    assert math.isnan(few["low"])
    assert few["no_interval"] == "fewer than 10 images of a class"


def test_patients_are_what_varies(scored: ModelEvaluation) -> None:
    """The command's tables hold the very rows; what is undefined is null, columns are described."""
    assert {row["dataset"] for row in scored.predictions} == {"hospital-b"}
    assert {row["sweep"] for row in scored.metrics} == {"tiny"}
    names = {row["metric"] for row in scored.metrics}
    assert {"dice", "loss", "auroc_gap", "brier", "threshold", "sensitivity_s1"} <= names
    assert np.isfinite(metric(scored, "test", "dice", None)["value"])


def test_the_command_writes_tables_and_a_text(
    place: Path, scored: ModelEvaluation, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], tmp_path: Path,
) -> None:  # fmt: skip
    """Predictions and metrics as Parquet with units and meanings, and the text, printed, too."""
    monkeypatch.setenv("SWEEPS_CACHE", str(place / "cache"))
    out = tmp_path / "scored"
    arguments = ["evaluate", str(place / "model"), "hospital-b", "--store", str(place / "store")]
    assert main([*arguments, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert printed == (out / "evaluation.md").read_text()
    assert {path.name for path in out.iterdir()} == {
        *("evaluation_predictions.parquet", "evaluation_metrics.parquet", "evaluation.md")
    }
    table = pq.read_table(out / "evaluation_predictions.parquet")
    assert table.to_pylist() == [dict(row) for row in scored.predictions]
    assert all(field.metadata[b"description"] for field in table.schema)
    metrics = pq.read_table(out / "evaluation_metrics.parquet")
    assert metrics.num_rows == len(scored.metrics)
    assert not any(value != value for value in metrics.column("low").to_pylist() if value)
    robust = metric(scored, "test", "robust_auroc", None)
    shown = f"{robust['value']:.3f} ({robust['low']:.3f} to {robust['high']:.3f})"
    assert shown in printed
    assert "mask-20-erm-s0 of sweep tiny, scored on hospital-b" in printed
    assert "nothing was fitted here" in printed


def test_what_limits_the_numbers_is_said(place: Path, scored: ModelEvaluation) -> None:
    """Its own images, another direction of an attribute, a split of one class."""
    store = FolderStore(place / "store")
    own = evaluate_on(place / "model", store, "gaussian-squares", place / "cache")
    assert any("This is the dataset that the model was trained on" in c for c in cautions(own))
    assert not any("trained on. Its" in caution for caution in cautions(scored))
    few = [caution for caution in cautions(scored) if caution.startswith("val: no interval for")]
    assert "robust AUROC: fewer than 10 images of a class" in few[0]
    stage_hospital(store, "turned", spurious_given_positive=0.1, spurious_given_negative=0.9)
    turned = evaluate_on(place / "model", store, "turned", place / "cache")
    [said] = [caution for caution in cautions(turned) if caution.startswith("block ")]
    assert said.startswith("block goes against the label in training images of turned")
    stage_hospital(store, "clear", spurious_given_positive=1.0, spurious_given_negative=0.0)
    clear = cautions(evaluate_on(place / "model", store, "clear", place / "cache"))
    assert any("val: no robust AUROC: a group that it compares" in c for c in clear)
    stage_hospital(store, "healthy", test_prevalence=0.0)
    healthy = evaluate_on(place / "model", store, "healthy", place / "cache")
    assert any("test has 0 abnormal images and 80 normal" in c for c in cautions(healthy))
    assert metric(healthy, "test", "auroc", None)["no_interval"] == "the AUROC is undefined"
    path = change_document(
        place / "model", operating_point={"rule": "youden", "threshold": 2.0}, cautions=["a b."]
    )
    never = cautions(evaluate_on(path, store, "hospital-b", place / "cache"))
    assert any("no score reaches the threshold" in caution for caution in never)
    assert "Of the model itself: A b." in never


def test_images_that_do_not_fit_are_refused_by_name(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Size and number of channels together; staged as the message says, they are scored."""
    monkeypatch.setenv("SWEEPS_CACHE", str(place / "cache"))
    store = FolderStore(place / "store")
    stage_hospital(store, "large", image_size=24)
    arguments = ["--store", str(place / "store"), "--out", str(tmp_path / "out")]
    assert main(["evaluate", str(place / "model"), "large", *arguments]) == 2
    told = capsys.readouterr().err
    assert "dataset 'large' cannot be scored by mask-20-erm-s0 of sweep 'tiny'" in told
    assert "images of 16 x 16 pixels, and these are 24 x 24" in told
    assert "(--set image_size=16)" in told
    assert not (tmp_path / "out").exists()
    command = ["stage", "gaussian-squares", "--name", "resized", "--set", "image_size=16"]
    command += ["--set", "abnormality_size=4", "--set", "spurious_size=4", "--set", "n_test=40"]
    assert main([*command, "--store", str(place / "store")]) == 0
    assert main(["evaluate", str(place / "model"), "resized", *arguments]) == 0


def test_another_kind_of_pixels_is_refused(place: Path, scored: ModelEvaluation) -> None:
    """Colour for grey, and integers for floats."""
    model = scored.exported.model
    colour = replace(model, image_shape=(16, 16, 3), dtype="uint8")
    store = FolderStore(place / "store")
    manifest = find_manifest(store, "hospital-b")
    dataset = open_dataset(store, manifest, place / "cache").dataset
    assert model.find_misfits(dataset) == []
    channels, kind = colour.find_misfits(dataset)
    assert "takes images of 3 channels, and these have 1 channel" in channels
    assert "takes images of type uint8, and these are float32" in kind


@pytest.mark.parametrize("content", [b"", b"{}", b"PK\x03\x04"])
def test_other_files_are_refused(
    content: bytes, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """In one line, before the store is opened."""
    (tmp_path / "file").write_bytes(content)
    arguments = ["evaluate", str(tmp_path / "file"), "squares", "--store", str(tmp_path / "s")]
    assert main(arguments) == 2
    assert "is not a model file: expected one written by `sweeps export`" in capsys.readouterr().err


def test_a_file_of_a_newer_program_is_refused(place: Path) -> None:
    """By its format."""
    path = change_document(place / "model", format=99)
    with pytest.raises(Exception, match="has format 99, this program knows 1"):
        evaluate_on(path, FolderStore(place / "store"), "hospital-b", place / "cache")
