"""Where a trial's objects are in a store."""

from __future__ import annotations

from typing import Final

TRIALS: Final = "results/trials/"
FAILURES: Final = "results/failures/"
STOPPED: Final = "results/stopped/"
COMPACT: Final = "results/compact/"
CHECKPOINTS: Final = "checkpoints/"
STAGES: Final = "stages/"
MODELS: Final = "models/"
SUFFIX: Final = ".parquet"
MODEL_SUFFIX: Final = ".safetensors"
READERS: Final = 16
"""Concurrent reads: result objects are small, so latency decides."""


def trial_key(trial_id: str) -> str:
    """Return the commit object of a trial."""
    return f"{TRIALS}{trial_id}{SUFFIX}"


def attempt_key(table: str, trial_id: str, attempt: str) -> str:
    """Return an attempt's object of a table of `sweeps.results.schemas.TABLES`."""
    return f"results/{table}/{trial_id}/{attempt}{SUFFIX}"


def object_key(table: str, trial_id: str, attempt: str) -> str:
    """Return the object of a table of an attempt, its trial's commit object included."""
    return trial_key(trial_id) if table == "trials" else attempt_key(table, trial_id, attempt)


def table_of(key: str) -> str:
    """Return the table that an object of results belongs to."""
    return key.split("/")[1]


def trial_of(key: str) -> str:
    """Return the trial that an object of results belongs to."""
    return key.split("/")[2].removesuffix(SUFFIX)


def index_key(sha256: str) -> str:
    """Return the index of one compaction, which names its packs; written last."""
    return f"{COMPACT}{sha256}{SUFFIX}"


def pack_key(table: str, sha256: str) -> str:
    """Return a pack of one compaction: rows of many objects of one table."""
    return f"{COMPACT}{table}/{sha256}{SUFFIX}"


def stopped_key(trial_id: str) -> str:
    """Return what is known of a trial before its end, where a search compares it early."""
    return f"{STOPPED}{trial_id}{SUFFIX}"


def model_key(trial_id: str, attempt: str, sha256: str) -> str:
    """Return an attempt's kept model; its name is the SHA-256 of its bytes."""
    return f"{MODELS}{trial_id}/{attempt}/{sha256}{MODEL_SUFFIX}"


def checkpoint_key(trial_id: str) -> str:
    """Return a trial's training state."""
    return f"{CHECKPOINTS}{trial_id}/state.pt"
