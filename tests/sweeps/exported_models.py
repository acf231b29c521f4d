"""Trials that keep their models, and what their exported files make of datasets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tiny_sweeps import prepared, tiny

from cluster.datasets.manifest import find_manifest
from cluster.node_cache.open import open_dataset
from cluster.stores.base import Store
from spurious.training.model_file import pack, unpack
from sweeps.catalogue.exported.evaluation import ModelEvaluation, evaluate_model
from sweeps.catalogue.exported.export import export_model, read_exported
from sweeps.plan.facts import plan_on
from sweeps.plan.plan import Trial
from sweeps.results import tables as results
from sweeps.results.reader import ResultReader
from sweeps.spec.model import Spec
from sweeps.trial.run import run_trial


def run_one(store: Store, spec: Spec, cache: Path, attempt: str = "first") -> Trial:
    """Stage, run the only trial of a specification, and return it."""
    plan, task = prepared(store, spec, cache)
    run_trial(task, attempt, lambda *_: None)
    [trial] = plan.trials
    return trial


def exported_file(spec: Spec, trial: Trial, store: Store, folder: Path) -> Path:
    """Where the exported model of a trial was written."""
    path = folder / f"{trial.label}.safetensors"
    path.write_bytes(export_model(spec, plan_on(spec, store), trial, ResultReader(store)))
    return path


def evaluate_on(path: Path, store: Store, dataset: str, cache: Path) -> ModelEvaluation:
    """What an exported model makes of validation and test of a dataset."""
    manifest = find_manifest(store, dataset)
    cached = open_dataset(store, manifest, cache)
    return evaluate_model(read_exported(path), manifest, cached.dataset, ("val", "test"))


def stored_predictions(store: Store, trial: Trial) -> list[dict[str, Any]]:
    """The rows of a trial's predictions at its kept epoch, in order."""
    row = results.read_trials(store, [trial.id])
    table = results.read_attempts(store, "predictions", row)
    return [each for each in table.to_pylist() if each["kept"]]


def assert_scores_again(spec: Spec, trial: Trial, store: Store, cache: Path) -> None:
    """An exported model gives its trial's stored predictions, bit for bit."""
    path = exported_file(spec, trial, store, cache)
    found = evaluate_on(path, store, trial.dataset, cache).predictions
    stored = stored_predictions(store, trial)
    shared = set(stored[0]) - {"schema_version", "attempt", "epoch", "kept", "last"}
    assert {"score", "sample_id", "split", "label"} <= shared
    assert [{k: row[k] for k in shared} for row in found] == [
        {k: row[k] for k in shared} for row in stored
    ]


def change_document(path: Path, **changes: Any) -> Path:
    """Write a file beside one, whose document has other values and vouches for them."""
    document, tensors = unpack(path.read_bytes(), str(path))
    other = path.with_name(f"changed-{path.name}")
    other.write_bytes(pack({**document, **changes}, tensors))
    return other


def model_spec(**overrides: Any) -> Spec:
    """A specification of a single trial that keeps its model."""
    chosen = {"axes__specificity": ["mask"], "axes__seed": [0], "keep": "model", **overrides}
    return tiny(**chosen)


def read_config(store: Store, trial: Trial) -> dict[str, Any]:
    """The configuration in a trial's row."""
    [row] = results.read_trials(store, [trial.id]).to_pylist()
    config: dict[str, Any] = json.loads(row["config"])
    return config
