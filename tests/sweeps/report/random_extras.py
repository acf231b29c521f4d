"""What only some sweeps have: measures, events, explanations and searches of random result sets."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pyarrow as pa
from random_settings import World
from report_tables import cell_named

from sweeps.plan.searched import CellSearch, Tried
from sweeps.report.tables import PlannedTrial
from sweeps.spec.search import Dimension

EVENTS = ("absent_groups", "exemplars_alike")


def extra_rows(world: World, one: PlannedTrial, kept: int) -> Iterator[dict[str, Any]]:
    """Yield what some trials measure once, and what they note of themselves."""
    random = world.random
    common = {"schema_version": 1, "trial_id": one.trial_id, "attempt": "a9", "epoch": kept}
    groups = dict.fromkeys(("n_y0_s0", "n_y0_s1", "n_y1_s0", "n_y1_s1"))
    if world.measures:
        value = 1.4 if one.key[0] == "label" else float(random.normal(2.0, 0.1))
        of_train = {"split": "train", "metric": "variance_measure", "attribute": None}
        yield {**common, **of_train, "value": value, **groups}
        for name in world.attributes:
            for y in (0, 1):
                value = math.nan if random.random() < 0.1 else float(random.uniform(0.7, 1.0))
                of_test = {"split": "test", "metric": f"alignment_y{y}", "attribute": name}
                yield {**common, **of_test, "value": value, **groups}
    for event in EVENTS:
        if one.cell.method.name == "group-dro" and random.random() < 0.3:
            noted = {"split": "train", "metric": event, "attribute": None, "value": 1.0}
            yield {**common, **noted, **groups}
    if one.cell.method.name == "jtt":
        for y in (0, 1):
            errors = {"split": "train", "metric": f"jtt_errors_y{y}", "attribute": None}
            yield {**common, **errors, "value": float(random.choice([0, 0, 3])), **groups}


def explanations(world: World, trial_ids: Sequence[str]) -> pd.DataFrame | None:
    """Return means of maps in regions, of all trials or of some."""
    random = world.random
    if random.random() < 0.75:
        return None
    some = [trial for trial in trial_ids if random.random() < 0.8] or list(trial_ids)
    regions = ["mask", *world.attributes] if random.random() < 0.7 else ["mask"]
    rows = [
        {
            **{"trial_id": trial, "explanation": kind, "region": region, "images": 40},
            **{"zeros": int(random.random() < 0.2), "share": float(random.random())},
            "activation_precision": float(random.random()),
            **{"pointing": float(random.random()), "chance": float(random.choice([0.002, 0.1]))},
        }
        for trial in some
        for kind in ("saliency", "prediction")
        for region in regions
    ]
    return pd.DataFrame(rows)


def searches(world: World, planned: Sequence[PlannedTrial]) -> dict[str, Any]:
    """Return searches of the cells: over or not, stopped early, failed."""
    random = world.random
    if world.kind != "plain" or random.random() < 0.5:
        return {}
    rate = Dimension("learning_rate", (1e-4, 1e-1), "log")
    found = []
    planned_cells = {one.key: one.cell for one in planned}
    waiting = {key: cell_named(key[0], key[1], "reweight") for key in planned_cells}
    for key, cell in planned_cells.items():
        states = random.choice(["finished", "finished", "stopped", "failed"], 4)
        tried = tuple(_tried(world, number, str(state)) for number, state in enumerate(states))
        is_over = bool(random.random() < 0.8)
        done = [one for one in tried if one.state == "finished" and one.value is not None]
        best = max(done, key=lambda one: one.value or 0.0, default=None)
        chosen = best.number if best is not None and is_over else None
        if is_over and best is None:
            tried = tuple(_tried(world, number, "failed") for number in range(4))
        front = () if best is None else (best.number,)
        of = cell if is_over else waiting.pop(key)  # nothing of it is planned before it is over
        if of.key not in {search.cell.key for search in found}:
            found.append(CellSearch(of, (rate,), tried, front, chosen, is_over))
    return {"searches": tuple(found), "search": "4 configurations a cell, for the best val.auroc"}


def _tried(world: World, number: int, state: str) -> Tried:
    value = None if state == "failed" else float(world.random.uniform(0.5, 1.0))
    values: Mapping[str, Any] = {"learning_rate": float(f"{10 ** -(1 + number / 2):.4g}")}
    ids = [f"{number}{seed}" for seed in range(int(world.more.integers(1, 4)))]
    trials = tuple(SimpleNamespace(id=name) for name in ids)
    return Tried(number, values, trials, state, value)  # type: ignore[arg-type]


def covariates(world: World, tables: Mapping[str, pa.Table]) -> dict[str, Any]:
    """Return sex and age of some images, or nothing and why."""
    more, ids = world.more, world.images["sample_id"]
    if more.random() < 0.6:
        none = "No covariates (sex, age, site, scanner) of films are known: nobody recorded them."
        return {"no_covariates": none if more.random() < 0.3 else ""}
    missing = 0.1 if more.random() < 0.5 else 0.0
    sexes = ["F", "M"] if more.random() < 0.9 else ["F"]
    known = {
        "sex": [None if more.random() < missing else str(more.choice(sexes)) for _ in ids],
        "age": [float(more.integers(20, 22 if world.kind == "plain" else 90)) for _ in ids],
    }

    def read(wanted: Sequence[str]) -> Iterator[pa.Table]:
        yield from (tables[trial_id] for trial_id in sorted(wanted) if trial_id in tables)

    of = {name: dict(zip(ids, values, strict=True)) for name, values in known.items()}
    return {"covariates": of, "read_predictions": read}
