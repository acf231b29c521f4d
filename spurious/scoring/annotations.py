"""Count what is annotated for one trial: the one place, for planning, training and reporting.

Planning counts on what staging recorded of every image, training on the opened dataset. A result
row stores the counts, so that reporting prices a trial without either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spurious.config.fields import SupervisionKind
from spurious.config.options import Budget, FitConfig
from spurious.data.budget import draw
from spurious.data.dataset import Dataset
from spurious.data.drawn import carries
from spurious.data.mask_of import MaskOf
from spurious.scoring.cost import AnnotationCounts

COUNTED = ("train", "val")
"""Splits whose annotation is bought; nobody pays for the test split."""


@dataclass(frozen=True, eq=False)
class ImageFacts:
    """What decides annotation counts, image by image, in ascending order of ids.

    Attributes:
        digest: The manifest's digest, which the draws depend on.
        labels: Split to (n,) int64 in {0, 1}.
        abnormalities: Split to (n,) int64, abnormalities per image.
        attributes: Number of spurious attributes.
        drawn: Split to (n,) uint8, bits of `spurious.data.drawn`; None where every mask is drawn.
        mask_of: What the masks are of.
    """

    digest: str
    labels: Mapping[str, NDArray[np.int64]]
    abnormalities: Mapping[str, NDArray[np.int64]]
    attributes: int
    drawn: Mapping[str, NDArray[np.uint8]] | None = None
    mask_of: MaskOf = "abnormality"

    def carry(self, split: str, kind: SupervisionKind) -> NDArray[np.bool_]:
        """Return which images of a split carry the annotation of a kind, (n,) bool."""
        if self.drawn is None:
            return np.ones(len(self.labels[split]), bool)
        return carries(self.drawn[split], kind)


@dataclass(frozen=True)
class Totals:
    """Sums over the annotated images of one split.

    Attributes:
        images: Annotated images.
        positives: Those with label 1.
        on_positives: Abnormalities on positive images.
        on_negatives: Regions drawn on negative images, such as benign lesions.
        bare: Negative images with nothing drawn on them.
        undrawn: Positive images on which nobody drew what the specificity asks for.
    """

    images: int
    positives: int
    on_positives: int
    on_negatives: int
    bare: int
    undrawn: int = 0


def image_facts(dataset: Dataset) -> ImageFacts:
    """Take from an opened dataset what decides annotation counts."""
    rows = {split: dataset.rows(split) for split in COUNTED}
    return ImageFacts(
        digest=dataset.digest,
        labels={split: dataset.labels[of] for split, of in rows.items()},
        abnormalities={split: dataset.abnormalities[of] for split, of in rows.items()},
        attributes=len(dataset.attribute_names),
        drawn=None
        if dataset.drawn is None
        else {split: dataset.drawn_on(of) for split, of in rows.items()},
        mask_of=dataset.mask_of,
    )


def count_annotations(facts: ImageFacts, config: FitConfig) -> AnnotationCounts:
    """Count what a trial's annotations are, its own draw of images included.

    Raises:
        ConfigError: the budget is larger than the training split.
    """
    kind: SupervisionKind = "label" if facts.drawn is None else config.specificity.kind
    return counts_of(
        _annotated(facts, config.budget, config.seed, kind),  # all images are drawn alike
        _all_of(facts, "val", config.specificity.kind),
        len(facts.labels["train"]),
        facts.attributes,
        config,
        facts.mask_of,
    )


def counts_of(
    train: Totals,
    val: Totals,
    train_images: int,
    attributes: int,
    config: FitConfig,
    mask_of: MaskOf,
) -> AnnotationCounts:
    """Count what a configuration annotates, given the sums over the images that it draws.

    Args:
        train: The annotated training images.
        val: The validation images.
        train_images: Images of the whole training split.
        attributes: Number of spurious attributes.
        config: The fully resolved configuration.
        mask_of: What the dataset's masks are of.
    """
    pairs, shown = config.method.ranked(config.specificity.kind, train.positives)
    split = config.method.spurious_labels
    per_image = attributes
    if getattr(config.method, "attribute", None) is not None:
        per_image = 1
    return AnnotationCounts(
        train_images=train.images,
        train_abnormalities=_drawn(train, config),
        train_negatives=_negatives(train, config),
        rest_labels=0 if config.rest is None else train_images - train.images,
        spurious_labels=train.images * per_image if split == "train" else 0,
        val_spurious_labels=val.images * per_image if split == "val" else 0,
        val_images=val.images,
        val_abnormalities=_drawn(val, config),
        val_negatives=_negatives(val, config),
        attributes=attributes,
        trains_on_validation=config.method.trains_on_validation,
        validates_by_labels=config.method.steers,
        ranked_pairs=pairs,
        explanations=shown,
        mask_of=mask_of,
    )


def _drawn(totals: Totals, config: FitConfig) -> int:
    """Abnormalities that are drawn: those of negative images count under `lesion` alone."""
    return totals.on_positives + (totals.on_negatives if config.negatives == "lesion" else 0)


def _negatives(totals: Totals, config: FitConfig) -> int:
    """Return images on which nothing is drawn, so that they cost a label."""
    negatives = totals.bare if config.negatives == "lesion" else totals.images - totals.positives
    return negatives + totals.undrawn


@lru_cache(maxsize=1 << 16)
def _annotated(facts: ImageFacts, budget: Budget, seed: int, kind: SupervisionKind) -> Totals:
    """Sum over a draw; every method and specificity of a sweep shares it, so it is drawn once."""
    labels, abnormalities = facts.labels["train"], facts.abnormalities["train"]
    drawn = None if facts.drawn is None else facts.drawn["train"]
    chosen = draw(labels, budget, facts.digest, seed, drawn, kind)
    return _totals(labels[chosen], abnormalities[chosen], facts.carry("train", kind)[chosen])


@lru_cache(maxsize=64)
def _all_of(facts: ImageFacts, split: str, kind: SupervisionKind) -> Totals:
    return _totals(facts.labels[split], facts.abnormalities[split], facts.carry(split, kind))


def _totals(
    labels: NDArray[np.int64], abnormalities: NDArray[Any], drawn: NDArray[np.bool_]
) -> Totals:
    """Sum over images: (n,) labels, abnormalities, and whether these are drawn as asked for."""
    positive = labels == 1
    abnormalities = np.where(drawn, abnormalities, 0)
    return Totals(
        images=len(labels),
        positives=int(positive.sum()),
        on_positives=int(abnormalities[positive].sum()),
        on_negatives=int(abnormalities[~positive].sum()),
        bare=int((~positive & (abnormalities == 0)).sum()),
        undrawn=int((positive & ~drawn).sum()),
    )
