"""Where a trial's objects are in a store."""

from __future__ import annotations

from typing import Final

TRIALS: Final = "results/trials/"
CHECKPOINTS: Final = "checkpoints/"
STAGES: Final = "stages/"
SUFFIX: Final = ".parquet"
READERS: Final = 16
"""Concurrent reads: result objects are small, so latency decides."""


def trial_key(trial_id: str) -> str:
    """Return the commit object of a trial."""
    return f"{TRIALS}{trial_id}{SUFFIX}"


def attempt_key(table: str, trial_id: str, attempt: str) -> str:
    """Return an attempt's object of a table of `sweeps.results.schemas.TABLES`."""
    return f"results/{table}/{trial_id}/{attempt}{SUFFIX}"


def stopped_key(trial_id: str) -> str:
    """Return what is known of a trial before its end, where a search compares it early."""
    return f"results/stopped/{trial_id}{SUFFIX}"


def checkpoint_key(trial_id: str) -> str:
    """Return a trial's training state."""
    return f"{CHECKPOINTS}{trial_id}/state.pt"
