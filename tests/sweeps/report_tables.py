"""Result tables as a finished sweep leaves them, with planted effects, for the report's tests."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from spurious.config.methods import METHODS as OPTIONS
from spurious.config.options import Budget, Prices, Specificity
from sweeps.plan.cell import Cell
from sweeps.report.cells import cells
from sweeps.report.epochs import Epochs
from sweeps.report.evidence import Evidence
from sweeps.report.inference.components import Reading
from sweeps.report.readings import READ_METRICS, Readings
from sweeps.report.tables import PlannedTrial, Provenance, ReportInput
from sweeps.report.trials import price_trials, select_trials
from sweeps.results.schemas import EPOCHS, FAILURES, SISTERS, TRIALS
from sweeps.spec.model import MethodChoice

DIGEST = "9b1c4f7e0a2d5c88" * 4
EPOCHS_TRAINED = 8
KEPT = 6
ROBUST = {"label": 0.44, "box": 0.70, "box=image": 0.66, "mask": 0.81}
METHOD = {"erm": 0.0, "jtt": 0.07, "george": 0.04, "ssl": 0.02, "spl": 0.03}
NOW = pd.Timestamp("2026-03-01T12:00:00Z")


@dataclass(frozen=True)
class Made:
    """The three tables and the plan they come from."""

    trials: pd.DataFrame
    epochs: pd.DataFrame
    failures: pd.DataFrame
    planned: tuple[PlannedTrial, ...]


def plan(
    specificities: Sequence[str] = ("label", "box", "mask"),
    budgets: Sequence[str] = ("600", "1100", "2200", "all"),
    methods: Sequence[str | MethodChoice] = ("erm", "jtt"),
    seeds: Sequence[int] = (0, 1, 2),
) -> tuple[PlannedTrial, ...]:
    """Every combination; jtt and george take labels only, ssl and spl anything else."""
    planned = []
    for specificity, budget, method, seed in itertools.product(
        specificities, budgets, methods, seeds
    ):
        if method in ("jtt", "george") and specificity != "label":
            continue
        if method in ("ssl", "spl") and specificity == "label":
            continue
        name = f"{specificity} {budget} {method} {seed}"
        trial_id = hashlib.sha256(name.encode()).hexdigest()[:16]
        planned.append(PlannedTrial(cell_named(specificity, budget, method), seed, trial_id))
    return tuple(planned)


def cell_named(specificity: str, budget: str, method: str | MethodChoice) -> Cell:
    """A cell by the text columns of its trials; a method's name is the method by its defaults."""
    known = [Specificity("label"), Specificity("box"), Specificity("box", box_per="image")]
    known += [Specificity("mask"), *(Specificity("r", r=r) for r in range(1, 65))]
    return Cell(
        {str(one): one for one in known}[specificity],
        Budget(None, "natural") if budget == "all" else Budget(int(budget)),
        MethodChoice(method, OPTIONS[method]()) if isinstance(method, str) else method,
    )


def small() -> Made:
    """Labels (erm, jtt), boxes and masks (erm) on 600 and on all images, three seeds each."""
    return make(plan(budgets=("600", "all"), methods=("erm", "jtt")))


def make(planned: Sequence[PlannedTrial], attributes: Sequence[str] = ("tube",)) -> Made:
    """A committed trial for every planned one, with no failures."""
    trials, epochs = [], []
    for one in planned:
        row = _trial(one, len(attributes))
        curves = _curves(one, attributes)
        at = [
            (split, metric)
            for split in ("val", "test")
            for metric in ("auroc", "robust_auroc", "dice")
        ]
        row |= {f"{split}_{metric}": curves[split, metric, None][KEPT - 1] for split, metric in at}
        trials.append(row)
        epochs += _epochs(row, curves)
    return Made(
        pd.DataFrame(trials).assign(**dict.fromkeys(_HASHES))[[column.name for column in TRIALS]],
        pd.DataFrame(epochs)[[column.name for column in EPOCHS]],
        failures([]),
        tuple(planned),
    )


def failures(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """A failures table; each row may leave out what does not matter."""
    common = {
        "schema_version": 1,
        "attempt": "a1",
        "failure_class": "unexpected",
        "message": "",
        "traceback": "",
        "log_tail": "",
        "node": "worker-3",
        "failed_at": NOW,
    }
    columns = [column.name for column in FAILURES]
    return pd.DataFrame([common | row for row in rows], columns=columns)


def report_input(made: Made, **changes: Any) -> ReportInput:
    """The report's input with the default prices, and validation images left out."""
    provenance = Provenance(
        sweep="cxr-frontier",
        dataset="siim-acr",
        dataset_digest=DIGEST,
        spec_text="name: cxr-frontier\ndataset: siim-acr\naxes:\n  seed: [0, 1, 2]\n",
        plan_counts={"cells": len({one.key for one in made.planned}), "trials": len(made.planned)},
        versions={"spurious-sweeps": "0.1.0"},
        created_at="2026-03-01T12:00:00Z",
        directions={"tube": 1},
    )
    epochs = Epochs.of(made.trials, made.epochs)
    given = ReportInput(made.trials, epochs, made.failures, made.planned, Prices(), provenance)
    others = {"readings": readings(made.epochs), "axis": ("training", "spurious_labels")}
    return replace(given, **{**others, **changes})


IMAGE_ERROR, SEED_ERROR = 0.01, 0.003
"""Standard errors of an AUROC: of images, which all trials share, and of what a seed adds."""


def readings(epochs: pd.DataFrame) -> Readings:
    """Readings of 40 components with the AUROCs of the tables, as if predictions were stored."""
    shared = _unit(0) * IMAGE_ERROR
    mine = epochs[(epochs["split"] == "test") & epochs["metric"].isin(READ_METRICS)]
    table: dict[tuple[str, int], dict[str, Reading]] = {}
    for row in mine[mine["attribute"].isna() & mine["value"].notna()].to_dict("records"):
        added = _unit(int(row["trial_id"], 16) % 2**32) * SEED_ERROR
        near = min(1.0, 10.0 * row["value"] * (1.0 - row["value"]))  # little varies near 0 and 1
        parts = ((shared + added) * near).astype(np.float32)
        cases = 80 if row["metric"] == "robust_auroc" else 220
        reading = Reading(row["value"], parts, cases, 2 * cases, row["metric"])
        table.setdefault((row["trial_id"], row["epoch"]), {})[row["metric"]] = reading
    return table


def _unit(seed: int) -> np.ndarray[Any, Any]:
    vector = np.random.default_rng(seed).standard_normal(40)
    return vector / np.linalg.norm(vector)


_HASHES = [f"{table}_sha256" for table in SISTERS]
PLANTED = {
    ("label", "600", "erm"): [0.48, 0.50, 0.52],
    ("box", "600", "erm"): [0.78, 0.80, 0.79],
    ("mask", "all", "erm"): [0.80, 0.84, 0.82],
}
"""Robust AUROC per seed of three cells: masks on all images win, boxes on 600 come close."""


def tables(made: Made, **changes: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Priced trials and cells, as `build_report` makes them."""
    priced, table, _ = evidence(made, **changes)
    return priced, table


def evidence(made: Made, **changes: Any) -> tuple[pd.DataFrame, pd.DataFrame, Evidence]:
    """The same, and what the cells rest on."""
    given_ = report_input(made, **changes)
    priced = price_trials(
        select_trials(given_.trials, given_.epochs, given_.rule),
        given_.prices,
        given_.rule,
        given_.axis,
        given_.mask_of,
        compute=given_.compute,
    )
    rests_on = Evidence(priced, given_.readings)
    return priced, cells(priced, given_.planned, given_.failures, rests_on, given_.margin), rests_on


def with_scores(made: Made, scores: dict[tuple[str, str, str], list[float]]) -> Made:
    """The same tables with the given robust AUROC on test per cell, one value per seed."""
    epochs = made.epochs.copy()
    cell_of = {one.trial_id: (one.key, one.seed) for one in made.planned}
    where = (epochs["split"] == "test") & (epochs["metric"] == "robust_auroc")
    for index in epochs.index[where]:
        cell, seed = cell_of[epochs.at[index, "trial_id"]]
        epochs.at[index, "value"] = scores.get(cell, [0.4] * 3)[seed]
    return replace(made, epochs=epochs)


def _trial(one: PlannedTrial, attributes: int) -> dict[str, Any]:
    images = one.cell.budget.images or 4800
    positives = images // 2
    abnormalities = int(positives * (1.3 + 0.02 * one.seed))
    is_label = one.cell.specificity.kind == "label"
    return {
        "schema_version": 1,
        "trial_id": one.trial_id,
        "attempt": "a1",
        "dataset": "siim-acr",
        "dataset_digest": DIGEST,
        **dict(zip(("specificity", "budget", "method"), one.key, strict=True)),
        "balance": "equal",
        "model": "resnet50" if is_label else "unet",
        "seed": one.seed,
        "science_version": 1,
        "config": config_text(one.cell),
        "keep_rule": "best val.auroc" if is_label else "best val.dice",
        "kept_epoch": KEPT,
        "epochs": EPOCHS_TRAINED,
        "train_images": images,
        "train_positives": positives,
        "train_abnormalities": abnormalities,
        "train_spurious_labels": 0,
        "train_rest_labels": 0,
        "val_spurious_labels": 0,
        "val_images": 1000,
        "val_positives": 220,
        "val_abnormalities": 290,
        "attributes": attributes,
        "train_ranked_pairs": 0,
        "train_explanations": 0,
        "seconds_total": 1800.0 + images,
        "seconds_training": 1500.0 + images,
        "images_per_second": 120.0,
        "resumed_from_epoch": 0,
        "started_at": NOW,
        "finished_at": NOW,
        "node": "worker-1",
        "device": "NVIDIA L4",
        "threads": 1,
        "cpus": 1.0,
        "gpus": 1.0,
        "versions": json.dumps({"spurious-sweeps": "0.1.0", "torch": "2.13.0"}),
    }


def config_text(cell: Cell) -> str:
    """What `config` holds of a cell."""
    method = {"name": cell.method.name, **asdict(cell.method.options)}
    parts = {"specificity": asdict(cell.specificity), "budget": asdict(cell.budget)}
    return json.dumps({**parts, "method": method})


def _curves(one: PlannedTrial, attributes: Sequence[str]) -> dict[Any, np.ndarray[Any, Any]]:
    """(split, metric, attribute) to one value per epoch; best at epoch `KEPT` on validation."""
    trial_number = int(str(one.trial_id), 16)
    generator = np.random.default_rng(trial_number)
    images = one.cell.budget.images or 4800
    specificity = one.cell.specificity
    ceiling = ROBUST.get(str(specificity)) or 0.5 + 0.3 * min(specificity.r or 0, 40) / 40
    level = ceiling + METHOD.get(one.cell.method.name, 0.0)
    level += 0.045 * np.log2(images / 600) * (ceiling > 0.5)
    level += generator.normal(0, 0.016) - 0.04
    epochs = np.arange(1, EPOCHS_TRAINED + 1)
    shape = -0.01 * np.abs(epochs - KEPT)
    classifier = specificity.kind == "label"
    curves: dict[Any, np.ndarray[Any, Any]] = {("train", "loss", None): 1.0 / epochs}
    for split in ("val", "test"):
        robust = np.clip(level + shape, 0, 1)
        overall = np.clip(0.905 - 0.02 * classifier + 0.3 * (level - 0.7) * 0.1 + shape, 0, 1)
        curves[split, "loss", None] = 1.0 - overall
        curves[split, "auroc", None] = overall
        curves[split, "robust_auroc", None] = robust
        curves[split, "dice", None] = epochs * np.nan if classifier else 0.45 + shape
        for i, name in enumerate(attributes):
            curves[split, "robust_auroc", name] = robust - 0.01 * i
    return curves


def _epochs(row: dict[str, Any], curves: dict[Any, np.ndarray[Any, Any]]) -> list[dict[str, Any]]:
    rows = []
    for (split, metric, attribute), values in curves.items():
        counts = dict.fromkeys(("n_y0_s0", "n_y0_s1", "n_y1_s0", "n_y1_s1"))
        if attribute is not None:
            counts = dict(zip(counts, (700, 80, 120, 100), strict=True))
        rows += [
            {
                "schema_version": 1,
                "trial_id": row["trial_id"],
                "attempt": row["attempt"],
                "epoch": epoch,
                "split": split,
                "metric": metric,
                "attribute": attribute,
                "value": float(value),
                **counts,
            }
            for epoch, value in enumerate(values, start=1)
        ]
    return rows
