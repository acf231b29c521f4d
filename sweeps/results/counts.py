"""Annotation counts as columns of `trials`: what a trial writes and a report reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spurious.config.method import Method
from spurious.data.mask_of import MaskOf
from spurious.scoring.cost import AnnotationCounts

COUNTS = (
    *("train_images", "train_positives", "train_abnormalities", "train_spurious_labels"),
    *("train_rest_labels", "val_spurious_labels", "val_images", "val_positives"),
    *("val_abnormalities", "attributes", "train_ranked_pairs", "train_explanations"),
)
"""The columns that `count_columns` writes."""


def count_columns(counts: AnnotationCounts) -> dict[str, int]:
    """Write counts as columns; positives are the images with something to draw."""
    return {
        "train_images": counts.train_images,
        "train_positives": counts.train_images - counts.train_negatives,
        "train_abnormalities": counts.train_abnormalities,
        "train_spurious_labels": counts.spurious_labels,
        "train_rest_labels": counts.rest_labels,
        "val_spurious_labels": counts.val_spurious_labels,
        "val_images": counts.val_images,
        "val_positives": counts.val_images - counts.val_negatives,
        "val_abnormalities": counts.val_abnormalities,
        "attributes": counts.attributes,
        "train_ranked_pairs": counts.ranked_pairs,
        "train_explanations": counts.explanations,
    }


def read_counts(row: Mapping[Any, Any], method: Method, mask_of: MaskOf) -> AnnotationCounts:
    """Read counts back from a row.

    Args:
        row: A row of `trials`.
        method: Options of the row's method.
        mask_of: Of the row's dataset, which no column holds.
    """
    return AnnotationCounts(
        train_images=int(row["train_images"]),
        train_abnormalities=int(row["train_abnormalities"]),
        train_negatives=int(row["train_images"]) - int(row["train_positives"]),
        spurious_labels=int(row["train_spurious_labels"]),
        rest_labels=int(row["train_rest_labels"]),
        val_images=int(row["val_images"]),
        val_abnormalities=int(row["val_abnormalities"]),
        val_negatives=int(row["val_images"]) - int(row["val_positives"]),
        val_spurious_labels=int(row["val_spurious_labels"]),
        attributes=int(row["attributes"]),
        trains_on_validation=method.trains_on_validation,
        validates_by_labels=method.steers,
        ranked_pairs=int(row["train_ranked_pairs"]),
        explanations=int(row["train_explanations"]),
        mask_of=mask_of,
    )
