"""Random result sets that a store may hold: odd, poor, unfinished and degenerate ones included."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from random_extras import covariates, explanations, extra_rows, searches
from random_settings import DIGEST, Random, World, prices, provenance, settings
from report_tables import NOW, cell_named, config_text, failures

from spurious.config.methods import GroupDro
from spurious.scoring.operating_point import OperatingPoint
from sweeps.report.epochs import Epochs
from sweeps.report.readings import Readings
from sweeps.report.scoring import Scorer, score_trials
from sweeps.report.tables import PlannedTrial, ReportInput
from sweeps.results.schemas import EPOCHS, SISTERS, TRIALS, arrow_schema
from sweeps.spec.model import MethodChoice

KINDS = (
    *("plain", "plain", "plain", "good", "good", "good", "one-seed", "equal-seeds", "below-chance"),
    *("missing", "missing", "empty-cells", "ties", "ties", "nan", "constant", "tiny", "diverged"),
    *("no-predictions", "free", "curves", "curves", "near-one", "apart", "grid", "damaged"),
)

CLASSES = ("out_of_memory", "data", "out of memory")


@dataclass(frozen=True, eq=False)
class Result:
    """A result set: what the report reads; stored epochs, and predictions by trial."""

    kind: str
    source: ReportInput
    epochs: pd.DataFrame
    predictions: Mapping[str, pd.DataFrame]


def random_result(seed: int) -> Result:
    """Return the result set of a seed; kinds take turns."""
    random = np.random.default_rng([17, seed])
    kind = KINDS[seed % len(KINDS)]
    world = _world(kind, random, np.random.default_rng([18, seed]))
    planned = _plan(kind, random)
    kept = _finished(kind, random, planned)
    trials, epochs, predictions = [], [], {}
    for one in kept:
        row, rows, scores = _trial(world, one)
        trials.append(row)
        epochs += rows
        if scores is not None:
            predictions[str(one.trial_id)] = scores
    frame = pd.DataFrame(trials).assign(**{f"{table}_sha256": "ab" for table in SISTERS})
    frame = frame[[column.name for column in TRIALS]]
    stored = pd.DataFrame(epochs)[[column.name for column in EPOCHS]]
    scored, readings, tables = _score(world, predictions, kept)
    source = ReportInput(
        frame,
        Epochs.of(frame, stored, scored),
        _failed(world, planned, kept),
        planned,
        prices(world),
        provenance(world, planned),
        **settings(world, planned, [str(row["trial_id"]) for row in trials]),
        readings=readings,
        explained=explanations(world, [str(row["trial_id"]) for row in trials]),
        **searches(world, planned),
        **covariates(world, tables),
        skipped=_skipped(world),
        failure_meanings={"out_of_memory": "its machine had no memory left", "data": "a bad file"},
    )
    return Result(kind, source, stored, predictions)


def _world(kind: str, random: Random, more: Random) -> World:
    names = ("tube", "ink")[: int(random.choice([1, 1, 1, 2]))]
    directions = {name: int(random.choice([1, 1, -1])) for name in names}
    n = {"tiny": int(random.integers(12, 26)), "near-one": 60}.get(
        kind, int(random.integers(60, 110))
    )
    labels = (np.arange(2 * n) % 2).astype(np.int64)
    per_patient = int(random.choice([1, 1, 1, 2]))
    images = pd.DataFrame(
        {
            "sample_id": [f"image-{i:04d}" for i in range(2 * n)],
            "patient_id": [f"patient-{i // (2 * per_patient)}" for i in range(2 * n)],
            "split": ["test"] * n + ["val"] * n,
            "label": labels,
        }
    )
    for name, sign in directions.items():
        agrees = random.random(2 * n) < 0.6
        if kind == "nan" and random.random() < 0.5:
            agrees[:] = True
        along = labels if sign > 0 else 1 - labels
        images[f"spurious_{name}"] = np.where(agrees, along, 1 - along).astype(bool)
    epochs = 1 if random.random() < 0.1 else int(random.integers(2, 5))
    shared, measures = random.standard_normal(2 * n), bool(random.random() < 0.4)
    return World(kind, random, names, directions, images, shared, epochs, measures, more)


def _plan(kind: str, random: Random) -> list[PlannedTrial]:
    every = ["label", "box=image", "box", "r=4", "mask"]
    count = 1 if kind == "curves" else int(random.integers(1, 4))
    specificities = sorted(random.choice(every, count, replace=False), key=every.index)
    if kind in ("good", "curves") and "mask" not in specificities:
        specificities = (
            [*specificities, "box", "mask"]
            if "box" not in specificities
            else [*specificities, "mask"]
        )
    pool = ["20", "40", "100", "250", "600", "1200", "all"]
    wanted = int(random.integers(3, 5)) if kind == "curves" else int(random.integers(1, 3))
    budgets = sorted(random.choice(pool, wanted, replace=False), key=pool.index)
    methods: list[str | MethodChoice] = ["erm"]
    more = int(random.integers(0, 3)) * (kind != "curves")
    methods += [str(m) for m in random.choice(["jtt", "group-dro"], more, replace=False)]
    if kind == "grid":
        tried = (0.0, 1.0, 2.0)[: int(random.integers(2, 4))]
        rest = {"greedy_share": 0.25, "greedy_memory": 0.375} if random.random() < 0.5 else {}
        grid = [GroupDro(adjustment=a, **rest) for a in tried]  # type: ignore[arg-type]
        methods = ["erm", *(MethodChoice("group-dro", options) for options in grid)]
    seeds = 1 if kind == "one-seed" else int(random.choice([2, 3, 3, 3, 4, 5]))
    planned = []
    for specificity in specificities:
        for budget in budgets:
            for method in methods:
                if method == "jtt" and specificity != "label":
                    continue
                for seed in range(seeds):
                    cell = cell_named(str(specificity), str(budget), method)
                    name = f"{cell.key} {seed}"
                    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
                    planned.append(PlannedTrial(cell, seed, digest))
    return planned


def _finished(kind: str, random: Random, planned: Sequence[PlannedTrial]) -> list[PlannedTrial]:
    """Return those with a result, at least one."""
    gone = {"missing": 0.3, "damaged": 0.3}.get(kind, 0.0)
    kept = [one for one in planned if random.random() >= gone]
    keys = list(dict.fromkeys(one.key for one in planned))
    if kind == "empty-cells":
        few = random.choice(len(keys), max(1, len(keys) // 2), replace=False)
        kept = [one for one in kept if one.key in {keys[i] for i in few}]
    if kind == "missing" and random.random() < 0.3:  # one seed of every cell
        kept = [one for one in planned if one.seed != 0] or list(planned)
    return kept or [planned[0]]


def _skipped(world: World) -> Sequence[tuple[Any, str]]:
    """Return cells of the axes that cannot run."""
    if world.more.random() < 0.7:
        return ()
    reasons = ("jtt takes labels alone", "gradmask takes masks", "a | b", "c", "d")
    number = int(world.more.integers(1, 9))
    return [
        (cell_named("box", "20", "jtt"), str(world.more.choice(reasons))) for _ in range(number)
    ]


def _failed(
    world: World, planned: Sequence[PlannedTrial], kept: Sequence[PlannedTrial]
) -> pd.DataFrame:
    random = world.random
    done = {one.trial_id for one in kept}
    rows: list[dict[str, Any]] = []
    for one in planned:
        if one.trial_id not in done and random.random() < 0.4:
            rows += [
                {
                    "trial_id": one.trial_id,
                    "attempt": f"a{i}",
                    "message": f"no memory <{i}> | left",
                    "failure_class": str(world.more.choice(CLASSES)),
                    "failed_at": NOW + pd.Timedelta(minutes=i),
                }
                for i in range(int(random.integers(1, 3)))
            ]
        elif one.trial_id in done and world.more.random() < 0.03:  # it ran again and finished
            rows.append({"trial_id": one.trial_id, "failure_class": "preempted"})
    return failures(rows)


def _level(world: World, one: PlannedTrial) -> float:
    """How much a model of a cell sees of the abnormality, in standard deviations."""
    random, key = world.random, one.key
    if key not in world.levels:
        base = {"label": 0.5, "box=image": 0.9, "box": 1.1, "r=4": 1.2, "mask": 1.5}[key[0]]
        size = math.log2((one.cell.budget.images or 2400) / 20)
        level = base + 0.12 * size + random.normal(0, 0.3)
        if world.kind == "below-chance":
            level = -abs(level)
        if world.kind == "good":
            level += 1.2
        if world.kind == "near-one":
            level += float(random.choice([2.0, 4.0, 20.0]))
        if world.kind == "ties":
            level = 1.5
        world.levels[key] = level
    return world.levels[key]


def _scores(world: World, one: PlannedTrial) -> np.ndarray[Any, Any]:
    random, images = world.random, world.images
    n = len(images)
    seed = one.seed if world.kind != "equal-seeds" else 0
    own = np.random.default_rng([int(str(one.trial_id), 16) % 2**31 if seed else 0, seed])
    if world.kind in ("equal-seeds", "ties"):
        own = np.random.default_rng([7 if random.random() < 0.8 else one.seed, 0])
    level = _level(world, one)
    if world.kind == "apart" and one.seed == 0:
        level = -3.0
    spurious = sum(
        (
            sign * (2.0 * images[f"spurious_{name}"] - 1.0)
            for name, sign in world.directions.items()
        ),
        start=np.zeros(n),
    )
    signal = level * (2.0 * images["label"] - 1.0) / 1.4 + 0.35 * np.asarray(spurious)
    scores = np.asarray(signal + 0.7 * world.shared + 0.6 * own.standard_normal(n))
    if world.kind == "constant" and own.random() < 0.6:
        scores = np.zeros(n)
    scores = 1.0 / (1.0 + np.exp(-scores))
    return np.round(scores, 1) if world.kind == "ties" else scores


def _trial(
    world: World, one: PlannedTrial
) -> tuple[dict[str, Any], list[dict[str, Any]], pd.DataFrame | None]:
    random, key = world.random, one.key
    is_label = key[0] == "label"
    kept = int(random.integers(1, world.epochs + 1))
    n = one.cell.budget.images or 2400
    regions = int(n // 2 * (1.2 + (0.0 if world.kind == "ties" else 0.05 * one.seed)))
    oracle = one.cell.method.name == "group-dro"
    row = {
        **{"schema_version": 1, "trial_id": one.trial_id, "attempt": "a9", "dataset": "films"},
        **{"dataset_digest": DIGEST, "balance": "equal", "seed": one.seed, "science_version": 1},
        **dict(zip(("specificity", "budget", "method"), key, strict=True)),
        **{"model": "small-cnn" if is_label else "small-unet", "config": config_text(one.cell)},
        **{"keep_rule": "best val.auroc" if is_label else "best val.dice", "kept_epoch": kept},
        **{"epochs": world.epochs, "train_images": n, "train_positives": n // 2},
        **{"train_abnormalities": regions, "train_rest_labels": 0},
        "train_spurious_labels": n * len(world.attributes) if oracle else 0,
        **{"val_spurious_labels": 0, "val_images": 80, "val_positives": 40},
        **{"val_abnormalities": 52, "attributes": len(world.attributes), "train_ranked_pairs": 0},
        **{"train_explanations": 0, "seconds_total": float(random.choice([20.0, 900.0, 7200.0]))},
        **{"seconds_training": 10.0, "images_per_second": 100.0, "resumed_from_epoch": 0},
        **{"started_at": NOW, "finished_at": NOW, "node": "worker-1", "threads": 1, "cpus": 1.0},
        **{"device": str(random.choice(["cpu", "NVIDIA L4"])), "gpus": 0.0},
        "versions": json.dumps({"torch": "2.13.0" if random.random() < 0.97 else "2.12.0"}),
    }
    curves = _curves(world, one, is_label)
    row |= {
        f"{split}_{metric}": float(curves[split, metric, None][kept - 1])
        for split in ("val", "test")
        for metric in ("auroc", "robust_auroc", "dice")
    }
    rows = [
        {
            "schema_version": 1,
            "trial_id": one.trial_id,
            "attempt": "a9",
            "epoch": epoch,
            "split": split,
            "metric": metric,
            "attribute": attribute,
            "value": float(value),
            "n_y0_s0": 11,
            "n_y0_s1": 12 + one.seed,
            "n_y1_s0": 13,
            "n_y1_s1": 14,
        }
        for (split, metric, attribute), values in curves.items()
        for epoch, value in enumerate(values, start=1)
    ]
    rows += extra_rows(world, one, kept)
    if world.kind == "no-predictions" and random.random() < 0.5:
        return row, rows, None
    return row, rows, _predict(world, one, kept)


def _curves(world: World, one: PlannedTrial, is_label: bool) -> dict[Any, np.ndarray[Any, Any]]:
    random, n = world.random, world.epochs
    curves: dict[Any, np.ndarray[Any, Any]] = {("train", "loss", None): 1.0 / np.arange(1, n + 1)}
    still = world.kind == "diverged" and random.random() < 0.3
    for split in ("val", "test"):
        level = 0.6 + 0.3 * random.random(n)
        if still or world.kind == "ties":
            level[:] = 0.75
        curves[split, "loss", None] = 1.0 - level
        curves[split, "auroc", None] = level
        curves[split, "robust_auroc", None] = level - 0.1
        curves[split, "dice", None] = np.full(n, math.nan) if is_label else level / 2
        for name in world.attributes:
            curves[split, "robust_auroc", name] = level - 0.1
    if still:
        curves["train", "loss", None][:] = 0.7
    elif world.kind == "diverged" and random.random() < 0.5:
        curves["train", "loss", None][-1] = float(random.choice([math.nan, 1e9]))
        curves["val", "loss", None][:] = 5e4
    if world.kind == "nan" and random.random() < 0.3:
        curves[str(random.choice(["val", "test"])), "dice", None][:] = math.nan
        curves["val", "auroc", None][:] = math.nan
    return curves


def _predict(world: World, one: PlannedTrial, kept: int) -> pd.DataFrame:
    """Return rows of `predictions` at the kept epoch, and at the last where that is another."""
    parts = []
    for epoch in dict.fromkeys((kept, world.epochs)):
        frame = world.images.assign(
            schema_version=1,
            trial_id=one.trial_id,
            attempt="a9",
            epoch=epoch,
            kept=epoch == kept,
            last=epoch == world.epochs,
            score=_scores(world, one),
        )
        parts.append(frame)
    return pd.concat(parts, ignore_index=True)


def _score(
    world: World, predictions: Mapping[str, pd.DataFrame], kept: Sequence[PlannedTrial]
) -> tuple[pa.Table | None, Readings, Mapping[str, pa.Table]]:
    """Reduce stored predictions as `sweeps report` does."""
    cells = {one.trial_id: one.cell for one in kept}
    schema = arrow_schema("predictions", world.attributes)
    tables = [
        pa.Table.from_pandas(frame[schema.names], schema=schema, preserve_index=False)
        for frame in predictions.values()
    ]
    segments = [cells[trial_id].segments for trial_id in predictions]
    scored = score_trials(Scorer(world.directions, OperatingPoint()), segments, tables)
    return *scored, dict(zip(predictions, tables, strict=True))
