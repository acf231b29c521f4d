"""A trial's id: SHA-256 over what decides its numbers, fully resolved, and nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
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
    "explanations",
    "examples",
    "keep",
    "select",
    "cost",
    "published",
    "limits",
    "search",
)
"""Fields that change where, when or how results are read, never a trial's numbers."""

SCIENCE_CHANGES: Mapping[int, str] = {}
"""Version of the science to why it was raised, from 2 on."""


@dataclass(frozen=True)
class Change:
    """A change of some trials' numbers.

    Attributes:
        science_version: The version of the science that it was made under.
        reason: What changed.
        applies: Takes a configuration, and whether an epoch may hold augmented copies of one image
            (`FitConfig.augments_copies`); returns whether the numbers moved.
    """

    science_version: int
    reason: str
    applies: Callable[[FitConfig, bool], bool]


REVISIONS: tuple[Change, ...] = (
    Change(
        1,
        "it compares pixels before dropout, not after it",
        lambda config, copies: (config.method_name, config.model_name) == ("spl", "fcn-resnet50"),
    ),
    Change(
        1,
        "copies of an image within an epoch are augmented apart",
        lambda config, copies: copies,
    ),
)
"""In the order they were made; a trial's revision is 1 and one more for each that applies.

Part of the ids of these trials alone, so that all others stay. Entries stay when `SCIENCE_VERSION`
is raised, so that older results are recognised.
"""

ADDED_LATER: Mapping[str, Any] = {
    "method.adjust_pairs": "both",
    "method.centre_by": "class",
    "method.compared": "before_relu",
    "method.first_balance": "natural",
    "method.first_keep": "best val.auroc",
    "method.gradient_factor": "one",
    "method.scale_by": "val",
    "negatives": "background",
    "readout.area": 0,
    "rest": None,
    "revision": 1,
    "train.accumulate": 1,
    "train.channels_last": False,
    "train.compile": False,
    "train.deterministic": True,
    "train.fused": False,
    "train.score_test": "every",
}
"""Dotted key to the value that reproduces the behaviour from before the key existed.

A key at that value is left out of the hash, so adding an option keeps every earlier id.
"""

NOT_IN_EARLIER_ROWS = ("method.compared", "train.score_test")
"""Keys of `ADDED_LATER` that are left out of a result's row, too, at the old value.

Rows of trials from before then stay what they are; the keys before these stand in rows.
"""


def canonical(value: Any) -> str:
    """Canonical JSON: sorted keys, no spaces, ASCII, no NaN."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )


def revision_of(config: FitConfig, training_images: int | None) -> int:
    """Return the revision of a trial's numbers, from 1; arguments as of `trial_id`."""
    return 1 + len(_reasons(config, config.augments_copies(training_images)))


def _reasons(config: FitConfig, augments_copies: bool) -> list[str]:
    """Return what changed a trial's numbers under its version of the science, oldest first."""
    return [
        change.reason
        for change in REVISIONS
        if change.science_version == config.science_version
        and change.applies(config, augments_copies)
    ]


def resolve_config(config: FitConfig, dataset_digest: str, revision: int) -> dict[str, Any]:
    """Return the configuration as a plain dict, defaults included but `NOT_IN_EARLIER_ROWS`.

    Args:
        config: The configuration.
        dataset_digest: The manifest's digest.
        revision: Of the numbers, see `revision_of`.
    """
    resolved: dict[str, Any] = {
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
        "revision": revision,
    }
    _drop_old(resolved, {key: ADDED_LATER[key] for key in NOT_IN_EARLIER_ROWS})
    return resolved


def hashed_text(config: Mapping[str, Any], added_later: Mapping[str, Any] = ADDED_LATER) -> str:
    """The canonical JSON that is hashed: the configuration without keys at their old value."""
    kept: dict[str, Any] = json.loads(canonical(config))
    _drop_old(kept, added_later)
    return canonical(kept)


def _drop_old(config: dict[str, Any], values: Mapping[str, Any]) -> None:
    """Remove dotted keys that have these values, in place."""
    for dotted, old in values.items():
        *path, last = dotted.split(".")
        node: Any = config
        for part in path:
            node = node.get(part, {}) if isinstance(node, dict) else {}
        if isinstance(node, dict) and last in node and node[last] == old:
            del node[last]


def trial_id(
    config: FitConfig, dataset_digest: str, training_images: int | None, revision: int | None = None
) -> str:
    """Return the first 16 hex digits; among 100,000 trials two collide with probability 3e-10.

    Args:
        config: The configuration.
        dataset_digest: The manifest's digest.
        training_images: Of its training split; None where unknown.
        revision: An earlier revision; None is today's.
    """
    if revision is None:
        revision = revision_of(config, training_images)
    return _digits(hashed_text(resolve_config(config, dataset_digest, revision)))


def trial_ids(
    config: FitConfig, seeds: Iterable[int], dataset_digest: str, training_images: int | None
) -> list[str]:
    """Return the id of each seed of a cell, as `trial_id` would: a plan has thousands of them.

    No change of `REVISIONS` applies to some seeds alone.
    """
    resolved = resolve_config(config, dataset_digest, revision_of(config, training_images))
    hashed = json.loads(hashed_text(resolved))
    return [_digits(canonical(hashed | {"seed": seed})) for seed in seeds]


def _digits(text: str) -> str:
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


def earlier_ids(
    config: FitConfig, dataset_digest: str, training_images: int | None
) -> list[EarlierId]:
    """Return every id under a lower revision or an earlier version of the science, oldest first.

    Arguments as of `trial_id`.
    """
    earlier = []
    for version in range(1, config.science_version + 1):
        older = replace(config, science_version=version)
        subject = f"{config.method_name} with {config.model_name}"
        reasons = _reasons(older, older.augments_copies(training_images))
        for revision, reason in enumerate(reasons, start=1):
            old_id = trial_id(older, dataset_digest, training_images, revision)
            earlier.append(EarlierId(old_id, subject, reason))
        if version < config.science_version:
            old_id = trial_id(older, dataset_digest, training_images)
            earlier.append(EarlierId(old_id, "the science", SCIENCE_CHANGES[version + 1]))
    return earlier


def shared_model_id(stage: SharedModel, dataset_digest: str) -> str:
    """Return the id of a model that several trials may begin with: its kind, and as a trial's.

    No such model sees test images, so trials share it whenever they score theirs.
    """
    revision = 1 + len(_reasons(stage.config, stage.augments_copies))
    train = replace(stage.config.train, score_test=ADDED_LATER["train.score_test"])
    resolved = resolve_config(replace(stage.config, train=train), dataset_digest, revision)
    return _digits(hashed_text({"stage": stage.kind, **resolved}))


def generator_digest(name: str, options: Any) -> str:
    """A generated dataset's digest: name, version and options, so it can be planned unstaged."""
    text = canonical({"generator": name, "version": GENERATORS[name].VERSION, **asdict(options)})
    return hashlib.sha256(text.encode()).hexdigest()
