"""Sweeps whose trials all have a result that nobody trained: valid rows with random numbers."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import cache
from multiprocessing import get_context
from typing import Any

from cluster.errors import AlreadyExists
from cluster.stores import open_store
from cluster.stores.base import Store
from spurious.scoring.annotations import count_annotations
from sweeps.plan.facts import plan_on
from sweeps.plan.identity import canonical, resolve_config, revision_of
from sweeps.plan.plan import Plan, Trial
from sweeps.results import tables as results
from sweeps.results.counts import count_columns
from sweeps.results.keys import TRIALS as TRIALS_FOLDER
from sweeps.results.schemas import TRIALS
from sweeps.spec.model import GeneratorDataset, MethodChoice, Spec, parse_spec

CELLS = 50
SPECIFICITIES = ("label", "mask")
IMAGES = 50
"""Validation images, and as many for testing, where nothing else is said."""
_GROUPS = ("n_y0_s0", "n_y0_s1", "n_y1_s0", "n_y1_s1")
_METRICS = (
    *(("loss", None), ("auroc", None), ("robust_auroc", None), ("robust_auroc", "block")),
    *(("auroc_gap", "block"), ("accuracy", None), ("worst_group_accuracy", None)),
)
"""What a classifier on squares has of validation and test; training has its loss alone."""


def spec_text(
    trials: int,
    epochs: int,
    images: int = IMAGES,
    specificities: Sequence[str] = SPECIFICITIES,
) -> str:
    """A sweep of `CELLS` cells: 25 budgets of labels and of masks, and seeds to fill them.

    With one specificity it has half of these cells, and of the trials.
    """
    budgets = ", ".join(str(4 * number) for number in range(1, CELLS // 2 + 1))
    return f"""
name: synthetic-{trials}-{epochs}-{images}
dataset: {{name: gaussian-squares, image_size: 16, abnormality_size: 4, spurious_size: 4,
          prevalence: 0.5, n_train: 200, n_val: {images}, n_test: {images}}}
axes: {{specificity: [{", ".join(specificities)}], budget: [{budgets}], method: [erm],
       seed: [{", ".join(map(str, range(trials // CELLS)))}]}}
model: {{classifier: {{name: small-cnn, channels: 4, levels: 1}},
        segmenter: {{name: small-unet, channels: 4, levels: 1}}}}
train: {{epochs: {epochs}, batch_size: 4}}
"""


def write_results(store: Store, text: str) -> Spec:
    """Stage a sweep's dataset and commit a result for each of its trials that has none."""
    from sweeps.staging.sources import generator_staging
    from sweeps.staging.stage import stage

    spec = parse_spec(text)
    assert isinstance(spec.dataset, GeneratorDataset)
    name, staged = spec.dataset.name, generator_staging(spec.dataset.name, spec.dataset.options)
    stage(store, staged.source, name, digest=staged.digest, options=staged.options, in_process=True)
    written = set(store.list(TRIALS_FOLDER))
    missing = [number for number, trial in enumerate(_plan(store, spec).trials)
               if results.trial_key(trial.id) not in written]  # fmt: skip
    parts = [missing[start : start + 250] for start in range(0, len(missing), 250)]
    with ProcessPoolExecutor(2, get_context("spawn")) as processes:
        list(processes.map(_write_some, [text] * len(parts), [store.url] * len(parts), parts))
    return spec


def _plan(store: Store, spec: Spec) -> Plan:
    return plan_on(spec, store, verify=False)


def _write_some(text: str, url: str, numbers: Sequence[int]) -> None:
    store, plan, images = _planned(text, url)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: _commit(store, plan, plan.trials[number], images), numbers))


@cache
def _planned(text: str, url: str) -> tuple[Store, Plan, int]:
    """Open the store and plan, once in a process: 100,000 trials take as long as many results."""
    store, spec = open_store(url, probe=False), parse_spec(text)
    return store, _plan(store, spec), spec.dataset.options.n_val  # type: ignore[union-attr]


def _commit(store: Store, plan: Plan, trial: Trial, images: int) -> None:
    numbers = random.Random(trial.id)
    attempt = f"{numbers.getrandbits(48):012x}"
    ids = {"trial_id": trial.id, "attempt": attempt}
    row = {**_row(plan, trial, numbers), **ids}
    epochs = list(_epochs(trial.config.train.epochs, numbers, ids))
    predictions = list(_predictions(trial, images, row["kept_epoch"], numbers, ids))
    assert results.commit(store, row, epochs, predictions, ("block",), AlreadyExists)


def _row(plan: Plan, trial: Trial, numbers: random.Random) -> dict[str, Any]:
    assert plan.facts is not None
    assert plan.facts.images is not None
    config, began = trial.config, datetime(2026, 1, 2, tzinfo=UTC)
    samples = {"string": "x", "int64": 1, "timestamp": began}
    revision = revision_of(config, plan.facts.training_images)
    return {
        **{
            column.name: samples.get(column.type, numbers.random())
            for column in TRIALS
            if column.name != "schema_version" and not column.name.endswith("_sha256")
        },
        "dataset": trial.dataset,
        "dataset_digest": trial.dataset_digest,
        "specificity": str(config.specificity),
        "budget": str(config.budget),
        "balance": config.budget.balance,
        "method": str(MethodChoice(config.method_name, config.method)),
        "model": config.model_name,
        "seed": config.seed,
        "science_version": config.science_version,
        "config": canonical(resolve_config(config, trial.dataset_digest, revision)),
        "keep_rule": config.train.keep,
        "kept_epoch": numbers.randint(1, config.train.epochs),
        "epochs": config.train.epochs,
        **count_columns(count_annotations(plan.facts.images, config)),
        "finished_at": began + timedelta(seconds=numbers.random() * 100),
        "device": "cpu",
        "versions": "{}",
    }


def _epochs(epochs: int, numbers: random.Random, ids: dict[str, str]) -> Iterator[dict[str, Any]]:
    for epoch in range(1, epochs + 1):
        for split in ("train", "val", "test"):
            for metric, attribute in _METRICS if split != "train" else _METRICS[:1]:
                groups = dict.fromkeys(_GROUPS, 12 if attribute else 0)
                where = {"epoch": epoch, "split": split, "metric": metric, "attribute": attribute}
                yield {**ids, **where, "value": numbers.random(), **groups}


def _predictions(
    trial: Trial, images: int, kept: int, numbers: random.Random, ids: dict[str, str]
) -> Iterator[dict[str, Any]]:
    last = trial.config.train.epochs
    for epoch in sorted({kept, last}):
        for split in ("val", "test"):
            for image in range(images):
                names = {"sample_id": f"{split}-{image:04d}", "patient_id": f"{split}-{image:04d}"}
                place = {
                    "epoch": epoch,
                    "kept": epoch == kept,
                    "last": epoch == last,
                    "split": split,
                }
                facts = {"label": image % 2, "spurious_block": image % 3 == 0}
                yield {**ids, **place, **names, **facts, "score": numbers.random()}
