"""What a trial's stored rows say: the epoch that counts, what training did, what was annotated."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

STEERED = (
    *("actdiff", "gradmask", "actdiff-gradmask", "classify-masked", "classify-shuffled"),
    *("adversarial", "reconstruct-masked", "rrr", "rbr", "xbl", "care", "exbl"),
)
"""Methods of classifiers that look at masks: validation costs them labels."""


def value_at(curves: Mapping[str, pd.Series], name: str, epoch: int | None) -> float:
    known = curves.get(name)
    if known is None or epoch is None or epoch not in known.index:
        return math.nan
    return float(known.loc[epoch])


def choose_epoch(rule: str, curves: Mapping[str, pd.Series], wide: pd.DataFrame) -> int | None:
    """The last epoch, or the first with the best value of a metric."""
    if rule == "last":
        return int(wide.index.max())
    name = rule.removeprefix("best ")
    known = curves.get(name, pd.Series(dtype=float)).dropna().sort_index()
    if known.empty:
        return None
    return int(known.idxmin() if name.endswith("loss") else known.idxmax())


def what_happened(curves: Mapping[str, pd.Series], epoch: int | None, moved: bool) -> str | None:
    """Whether training diverged by the epoch that counts, or never changed a number."""
    for name in ("val.loss", "train.loss"):
        loss = curves.get(name)
        is_known = loss is not None and loss.notna().any() and epoch is not None
        if is_known and not abs(value_at(curves, name, epoch)) <= 1000:
            return "diverged"
    seen = [c.dropna() for n, c in curves.items() if n.startswith("val.") or n == "train.loss"]
    still = all(c.nunique() <= 1 for c in seen) and any(len(c) > 1 for c in seen)
    return "did not move" if still and not moved else None


def count_items(row: Mapping[Any, Any], rule: str | None) -> dict[str, dict[str, float]]:
    """How many of each priced item a trial takes, by part (Saab et al. 2022, section 4.1)."""

    def drawn(images: float, positives: float, regions: float) -> dict[str, float]:
        kind = row["specificity"]
        if kind in ("label", "r=1"):
            return {"label": images}
        if kind == "box=image":
            return {"box": positives, "label": images - positives}
        return {kind.partition("=")[0]: regions, "label": images - positives}

    def of(split: str) -> dict[str, float]:
        names = ("images", "positives", "abnormalities")
        return drawn(*(float(row[f"{split}_{name}"]) for name in names))

    training = of("train")
    training["label"] = training.get("label", 0.0) + row["train_rest_labels"]
    training["label"] += row["train_explanations"]
    training["ranked_pair"] = row["train_ranked_pairs"]
    is_steered = json.loads(row["config"])["method"]["name"] in STEERED
    validation = {"label": float(row["val_images"])} if is_steered else of("val")
    on_val = float(row["val_spurious_labels"])
    reads = row["keep_rule"] if rule is None else rule
    if reads in ("best val.robust_auroc", "best val.worst_group_accuracy"):
        on_val = max(on_val, float(row["val_images"] * row["attributes"]))
    spurious = {"spurious_label": row["train_spurious_labels"] + on_val}
    return {"training": training, "spurious_labels": spurious, "validation": validation}
