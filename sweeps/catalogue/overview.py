"""What `sweeps data show` says of a dataset, as one document that is printed as text or JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from cluster.datasets.manifest import Manifest
from spurious.data.splits import EVALUATION_SPLITS, SPLITS
from spurious.scoring.expected_width import expected_half_width, robust_groups
from sweeps.catalogue.image_facts import ImageColumns
from sweeps.catalogue.shortcuts import measure_attribute_only, measure_correlation

if TYPE_CHECKING:
    from sweeps.catalogue.targets import TargetFacts


def build_overview(
    manifest: Manifest, columns: ImageColumns, targets: Sequence[TargetFacts], store_url: str
) -> dict[str, Any]:
    """Build the document; NaN is None in it."""
    document: dict[str, Any] = {
        "name": manifest.name,
        "digest": manifest.digest,
        "store": store_url,
        "synthetic": manifest.synthetic,
        "image_shape": list(manifest.image_shape),
        "dtype": manifest.dtype,
        "mask_of": manifest.mask_of,
        "size_bytes": sum(entry.size_bytes for entry in manifest.shards),
        "provenance": dict(manifest.provenance),
        "splits": {split: _describe_split(columns, split) for split in SPLITS},
        "classes": [
            {
                "name": each.name,
                "positive": each.positive,
                "images": {
                    split: (of.classes or ())[number] for split, of in manifest.splits.items()
                },
            }
            for number, each in enumerate(manifest.classes)
        ],
        "attributes": [
            _describe_attribute(manifest, column) for column in range(len(manifest.attributes))
        ],
        "attribute_only_auroc": _describe_attribute_only(columns),
        "targets": [asdict(facts) for facts in targets],
        "outlines": describe_outlines(columns),
        "overlaps": _describe_overlaps(manifest, columns),
        "covariates": {
            name: _describe_covariate(values) for name, values in columns.covariates.items()
        },
    }
    cleaned: dict[str, Any] = _without_nan(document)
    return cleaned


def _describe_split(columns: ImageColumns, split: str) -> dict[str, Any]:
    of = columns.splits == split
    positive = of & (columns.labels == 1)
    return {
        "n": int(of.sum()),
        "positives": int(positive.sum()),
        "patients": len(np.unique(columns.patient_ids[of])),
        "abnormalities": int(columns.abnormalities[of].sum()),
        "masks_y1": int((positive & columns.mask_drawn).sum()),
        "masks_y0": int((of & ~positive & columns.mask_drawn).sum()),
        "own_boxes_y1": int((positive & columns.boxes_drawn).sum()),
        "own_boxes_y0": int((of & ~positive & columns.boxes_drawn).sum()),
    }


def _describe_attribute(manifest: Manifest, column: int) -> dict[str, Any]:
    attribute = manifest.attributes[column]
    splits = {}
    for split in SPLITS:
        counts = manifest.splits[split].cells[attribute.name]
        splits[split] = {**asdict(counts), "correlation": measure_correlation(counts)}
        if split in EVALUATION_SPLITS:
            positives, negatives = robust_groups(counts, attribute.direction)
            splits[split]["robust_positives"] = positives
            splits[split]["robust_negatives"] = negatives
            splits[split]["robust_half_width"] = expected_half_width(positives, negatives)
    return {
        "name": attribute.name,
        "direction": attribute.direction,
        "direction_source": attribute.source,
        "splits": splits,
    }


def _describe_attribute_only(columns: ImageColumns) -> dict[str, Any] | None:
    measured = measure_attribute_only(columns.splits, columns.labels, columns.attributes)
    return None if measured is None else asdict(measured)


def describe_outlines(columns: ImageColumns) -> dict[str, Any]:
    """Return medians over positive images with a mask, and how many these are."""
    chosen = (columns.labels == 1) & columns.mask_drawn & (columns.numbers["components"] > 0)
    medians = {
        name: float(np.median(columns.numbers[name][chosen])) if chosen.any() else math.nan
        for name in ("vertices_2px", "vertices_5px", "components", "area")
    }
    return {"images": int(chosen.sum()), **medians}


def _describe_overlaps(manifest: Manifest, columns: ImageColumns) -> dict[str, Any]:
    """Return mean shares of features whose pixels are known, over positive images that have one."""
    overlaps = {}
    for name in manifest.attribute_names:
        if f"{name}_in_mask" not in columns.numbers:
            continue
        in_mask, in_boxes = (columns.numbers[f"{name}_in_{what}"] for what in ("mask", "boxes"))
        known = (columns.labels == 1) & ~np.isnan(in_mask)
        overlaps[name] = {
            "images": int(known.sum()),
            "in_mask": float(in_mask[known].mean()) if known.any() else math.nan,
            "in_boxes": float(in_boxes[known].mean()) if known.any() else math.nan,
        }
    return overlaps


def _describe_covariate(values: Sequence[Any]) -> dict[str, Any]:
    """Return how many values are known, and the commonest words or the range of numbers."""
    known = [value for value in values if value is not None]
    if known and all(isinstance(value, float) for value in known):
        return {"known": len(known), "lowest": min(known), "highest": max(known)}
    words, counts = np.unique(np.array(known, np.str_), return_counts=True)
    order = np.argsort(-counts, kind="stable")[:8]
    return {
        "known": len(known),
        "distinct": len(words),
        "commonest": {str(words[at]): int(counts[at]) for at in order},
    }


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, Mapping):
        return {key: _without_nan(of) for key, of in value.items()}
    return [_without_nan(of) for of in value] if isinstance(value, list) else value
