"""Rows of finished trials as a store would hold them, with times that a test decides."""

from __future__ import annotations

from typing import Any

from sweeps.plan.identity import canonical, resolve_config
from sweeps.plan.plan import Trial


def row(trial: Trial, seconds: float, training: float, **changes: Any) -> dict[str, Any]:
    """The columns of a row of `trials` that estimates read."""
    return {
        "trial_id": trial.id,
        "dataset_digest": trial.dataset_digest,
        "config": canonical(resolve_config(trial.config, trial.dataset_digest, 1)),
        "seconds_total": seconds,
        "seconds_training": training,
        "device": "cpu",
        "threads": 1,
        "cpus": 1.0,
        "gpus": 0.0,
        **changes,
    }
