"""A trial's id: SHA-256 over what decides its numbers, fully resolved, and nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from spurious.config.options import GENERATORS, FitConfig
from spurious.training.shared_models import SharedModel

ID_DIGITS = 16

HASHED = ("dataset", "axes", "balance", "rest", "negatives", "model", "train")
"""Fields of a spec that reach the identity, resolved."""

NOT_HASHED = (
    "name",
    "text",
    "overrides",
    "store",
    "resources",
    "checkpoint",
    "embeddings",
    "select",
    "cost",
    "published",
    "limits",
    "search",
)
"""Fields that change where, when or how results are read, never a trial's numbers."""

REVISIONS: Mapping[tuple[str, str], int] = {
    ("spl", "fcn-resnet50"): 2,  # similarity of pixels before dropout, not after it
}
"""(method, model) to how often its numbers were changed since `SCIENCE_VERSION` was raised, plus 1.

Part of the ids of these trials alone, so that all others stay.
"""

ADDED_LATER: Mapping[str, Any] = {
    "method.first_balance": "natural",
    "method.first_keep": "best val.auroc",
    "negatives": "background",
    "readout.area": 0,
    "rest": None,
    "revision": 1,
    "train.accumulate": 1,
    "train.channels_last": False,
    "train.compile": False,
    "train.deterministic": True,
    "train.fused": False,
}
"""Dotted key to the value that reproduces the behaviour from before the key existed.

A key at that value is left out of the hash, so adding an option keeps every earlier id.
"""


def canonical(value: Any) -> str:
    """Canonical JSON: sorted keys, no spaces, ASCII, no NaN."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )


def resolve_config(config: FitConfig, dataset_digest: str) -> dict[str, Any]:
    """The configuration as a plain dict, defaults included."""
    return {
        "dataset": dataset_digest,
        "specificity": asdict(config.specificity),
        "budget": asdict(config.budget),
        "method": {"name": config.method_name, **asdict(config.method)},
        "model": {"name": config.model_name, **asdict(config.model)},
        "readout": None if config.readout is None else asdict(config.readout),
        "train": asdict(config.train),
        "rest": None if config.rest is None else {"name": "label", **asdict(config.rest)},
        "negatives": config.negatives,
        "seed": config.seed,
        "science_version": config.science_version,
        "revision": REVISIONS.get((config.method_name, config.model_name), 1),
    }


def hashed_text(config: Mapping[str, Any], added_later: Mapping[str, Any] = ADDED_LATER) -> str:
    """The canonical JSON that is hashed: the configuration without keys at their old value."""
    kept: dict[str, Any] = json.loads(canonical(config))
    for dotted, old in added_later.items():
        *path, last = dotted.split(".")
        node: Any = kept
        for part in path:
            node = node.get(part, {}) if isinstance(node, dict) else {}
        if isinstance(node, dict) and last in node and node[last] == old:
            del node[last]
    return canonical(kept)


def trial_id(config: FitConfig, dataset_digest: str) -> str:
    """The first 16 hex digits; among 100,000 trials two collide with probability 3e-10."""
    text = hashed_text(resolve_config(config, dataset_digest))
    return hashlib.sha256(text.encode()).hexdigest()[:ID_DIGITS]


def shared_model_id(stage: SharedModel, dataset_digest: str) -> str:
    """The id of a model that several trials may begin with: its kind, and as a trial's."""
    text = hashed_text({"stage": stage.kind, **resolve_config(stage.config, dataset_digest)})
    return hashlib.sha256(text.encode()).hexdigest()[:ID_DIGITS]


def generator_digest(name: str, options: Any) -> str:
    """A generated dataset's digest: name, version and options, so it can be planned unstaged."""
    text = canonical({"generator": name, "version": GENERATORS[name].VERSION, **asdict(options)})
    return hashlib.sha256(text.encode()).hexdigest()
