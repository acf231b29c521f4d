"""A trial's id: SHA-256 over what decides its numbers, fully resolved, and nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from spurious.config.datasets import GENERATORS
from spurious.config.options import FitConfig
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

SCIENCE_CHANGES: Mapping[int, str] = {}
"""Version of the science to why it was raised, from 2 on."""

REVISIONS: Mapping[tuple[int, str, str], Mapping[int, str]] = {
    (1, "spl", "fcn-resnet50"): {2: "it compares pixels before dropout, not after it"},
}
"""(version of the science, method, model) to its revisions, each with what changed its numbers.

Part of the ids of these trials alone, so that all others stay. The first revision is 1 and is not
listed; entries stay when `SCIENCE_VERSION` is raised, so that older results are recognised.
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


def revision_of(config: FitConfig) -> int:
    """Return the revision of a method's numbers on a model, from 1."""
    return max(_changes(config), default=1)


def _changes(config: FitConfig) -> Mapping[int, str]:
    return REVISIONS.get((config.science_version, config.method_name, config.model_name), {})


def resolve_config(
    config: FitConfig, dataset_digest: str, revision: int | None = None
) -> dict[str, Any]:
    """Return the configuration as a plain dict, defaults included.

    Args:
        config: The configuration.
        dataset_digest: The manifest's digest.
        revision: An earlier revision; None is today's.
    """
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
        "revision": revision_of(config) if revision is None else revision,
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


def trial_id(config: FitConfig, dataset_digest: str, revision: int | None = None) -> str:
    """Return the first 16 hex digits; among 100,000 trials two collide with probability 3e-10."""
    text = hashed_text(resolve_config(config, dataset_digest, revision))
    return hashlib.sha256(text.encode()).hexdigest()[:ID_DIGITS]


@dataclass(frozen=True)
class EarlierId:
    """The id that a trial had before its numbers were changed.

    Attributes:
        id: The id.
        subject: What changed: a method with a model, or the science of all trials.
        reason: How, of the first change after this id.
    """

    id: str
    subject: str
    reason: str


def earlier_ids(config: FitConfig, dataset_digest: str) -> list[EarlierId]:
    """Return every id under a lower revision or an earlier version of the science, oldest first."""
    earlier = []
    for version in range(1, config.science_version + 1):
        older = replace(config, science_version=version)
        subject, changes = f"{config.method_name} with {config.model_name}", _changes(older)
        for revision in range(1, revision_of(older)):
            old_id = trial_id(older, dataset_digest, revision)
            earlier.append(EarlierId(old_id, subject, changes[revision + 1]))
        if version < config.science_version:
            reason = SCIENCE_CHANGES[version + 1]
            earlier.append(EarlierId(trial_id(older, dataset_digest), "the science", reason))
    return earlier


def shared_model_id(stage: SharedModel, dataset_digest: str) -> str:
    """Return the id of a model that several trials may begin with: its kind, and as a trial's."""
    text = hashed_text({"stage": stage.kind, **resolve_config(stage.config, dataset_digest)})
    return hashlib.sha256(text.encode()).hexdigest()[:ID_DIGITS]


def generator_digest(name: str, options: Any) -> str:
    """A generated dataset's digest: name, version and options, so it can be planned unstaged."""
    text = canonical({"generator": name, "version": GENERATORS[name].VERSION, **asdict(options)})
    return hashlib.sha256(text.encode()).hexdigest()
