"""Prices, rules, notes and papers of random result sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from published_tables import paper, value

from spurious.config.options import Prices
from spurious.scoring.selection import parse_rule
from sweeps.report.tables import PlannedTrial, Provenance

DIGEST = "5d0b" * 16
Random = np.random.Generator


@dataclass
class World:
    """What all trials of a result set share."""

    kind: str
    random: Random
    attributes: tuple[str, ...]
    directions: Mapping[str, int]
    images: pd.DataFrame
    shared: np.ndarray[Any, Any]
    epochs: int
    measures: bool
    more: Random
    levels: dict[Any, float] = field(default_factory=dict)


def provenance(world: World, planned: Sequence[PlannedTrial]) -> Provenance:
    return Provenance(
        sweep="random",
        dataset="films",
        dataset_digest=DIGEST,
        spec_text="name: random\n",
        plan_counts={"cells": len({one.key for one in planned}), "trials": len(planned)},
        versions={"spurious-sweeps": "0.1.0"},
        created_at="2026-03-01T12:00:00Z",
        directions=world.directions,
        synthetic="generator films" if world.random.random() < 0.3 else None,
    )


def prices(world: World) -> Prices:
    random = world.random
    if world.kind == "free":
        return Prices(wage_per_hour=0.0) if random.random() < 0.5 else Prices(label=0.0, box=0.0)
    if random.random() < 0.6:
        return Prices()
    wage, mask = float(random.choice([15.0, 60.0, 4000.0])), float(random.choice([2.0, 12.0, 90.0]))
    return Prices(
        wage_per_hour=wage, mask=mask, spurious_label=float(random.choice([0.0, 1.0, 3.0]))
    )


def settings(world: World, planned: Sequence[PlannedTrial], done: Sequence[str]) -> dict[str, Any]:
    random = world.random
    parts = ["training", "spurious_labels", "validation"]
    axis = [p for p in parts if random.random() < 0.8] or ["training"]
    chosen: dict[str, Any] = {"margin": float(random.choice([0.005, 0.02, 0.05, 0.2]))}
    if random.random() < 0.3:
        chosen["compute"] = {trial: float(random.choice([0.1, 0.5, 3.25])) for trial in done}
        axis += ["compute"] if random.random() < 0.7 else []
    chosen["axis"] = tuple(axis)
    if random.random() < 0.4:
        rule = random.choice(["last", "best val.auroc", "best test.auroc", "best val.robust_auroc"])
        chosen["rule"] = parse_rule(str(rule))
    if random.random() < 0.5:
        median = {"vertices_2px": 21.0, "vertices_5px": float(random.integers(3, 15))}
        chosen["outlines"] = {**median, "images": float(random.choice([1, 390]))}
    if random.random() < 0.2:
        chosen["unverified"] = int(random.integers(1, len(done) + 1))
    if world.kind == "grid":
        chosen["tune"] = ("adjustment",)
    if world.kind == "damaged":
        gone = [one for one in planned if one.trial_id not in set(done)]
        chosen["damaged"] = {f"trial {one.trial_id}": "wrong hash" for one in gone[:6]}
    if random.random() < 0.3:
        chosen["published"] = (_paper(random, planned),)
    if random.random() < 0.2:
        chosen["notes"] = ("a price of 0 is in force",)
    return chosen


def _paper(random: Random, planned: Sequence[PlannedTrial]) -> Any:
    keys = list(dict.fromkeys(one.key for one in planned))
    cells = [key for key in keys if key[0] in ("label", "box", "mask") and key[2] == "erm"]
    known = [(*key[:2], round(float(random.uniform(0.4, 0.95)), 2)) for key in cells]
    known += [("mask", "77", 0.81)]
    rows = "".join(value(kind, budget, mean, 0.02) for kind, budget, mean in known)
    text = f"    values:\n{rows}".replace("siim-acr", "films")
    if random.random() < 0.5:
        text = f"    decimals: 2\n{text}"
    return paper(text)
