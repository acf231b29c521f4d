"""A small result of one trial, and its commit."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

import numpy as np

from cluster.errors import AlreadyExists
from cluster.stores.base import Store
from sweeps.results import tables as results
from sweeps.results.schemas import OPTIONAL, SCHEMA_VERSION, TRIALS

TRIAL = "00112233445566ff"


def row(attempt: str, trial: str = TRIAL, **values: Any) -> dict[str, Any]:
    """A row of `trials` with something of the right type everywhere."""
    samples = {"string": "x", "int64": 1, "float64": 0.5, "timestamp": datetime(2026, 1, 2)}
    full = {column.name: samples[column.type] for column in TRIALS}
    return {
        **full,
        "schema_version": SCHEMA_VERSION,
        "trial_id": trial,
        "attempt": attempt,
    } | values


def epochs(attempt: str, trial: str = TRIAL) -> list[dict[str, Any]]:
    """One row of `epochs`, undefined."""
    return [
        {"trial_id": trial, "attempt": attempt, "epoch": 1, "split": "val", "metric": "auroc"}
        | {"value": math.nan}
    ]


def predictions(attempt: str, trial: str = TRIAL) -> list[dict[str, Any]]:
    """One row of `predictions`, of an image whose attribute nobody labelled."""
    return [
        {"trial_id": trial, "attempt": attempt, "epoch": 1, "kept": True, "last": True}
        | {"sample_id": "i", "patient_id": "p", "split": "val", "label": 1, "score": 0.25}
        | {"spurious_tube": None}
    ]


def embeddings(attempt: str, trial: str = TRIAL) -> list[dict[str, Any]]:
    """One row of `embeddings`."""
    return [
        {"trial_id": trial, "attempt": attempt, "sample_id": "i", "patient_id": "p"}
        | {"split": "test", "label": 1, "embedding": np.array([0.5, -1.0], np.float32)}
        | {"spurious_tube": None}
    ]


def explanations(attempt: str, trial: str = TRIAL) -> list[dict[str, Any]]:
    """One row of `explanations`, of a map of zeros."""
    measures = {"activation_precision": 0.25, "share": math.nan, "pointing": 0.25, "chance": 0.25}
    return [
        {"trial_id": trial, "attempt": attempt, "sample_id": "i", "patient_id": "p"}
        | {"split": "test", "label": 1, "explanation": "grad-cam", "region": "mask"}
        | measures
        | {"spurious_tube": None}
    ]


def examples(attempt: str, trial: str = TRIAL) -> list[dict[str, Any]]:
    """One row of `examples`, a mean."""
    return [
        {"trial_id": trial, "attempt": attempt, "sample_id": None, "label": 1}
        | {"picture": "saliency", "height": 1, "width": 2, "channels": 1, "highest": 0.5}
        | {"pixels": np.array([0, 255], np.uint8), "spurious_tube": None}
    ]


def commit(store: Store, attempt: str, trial: str = TRIAL) -> bool:
    """Commit an attempt of a trial, with tables of every kind."""
    return results.commit(
        store,
        row(attempt, trial),
        epochs(attempt, trial),
        predictions(attempt, trial),
        ("tube",),
        AlreadyExists,
        {
            "embeddings": embeddings(attempt, trial),
            "explanations": explanations(attempt, trial),
            "examples": examples(attempt, trial),
        },
    )


def commit_plainly(store: Store, attempt: str, trial: str) -> bool:
    """Commit an attempt of a trial whose sweep asks for no further table."""
    tables = (epochs(attempt, trial), predictions(attempt, trial))
    unasked = dict.fromkeys((f"{name}_sha256" for name in OPTIONAL), None)
    return results.commit(store, row(attempt, trial, **unasked), *tables, ("tube",), AlreadyExists)
