"""Training options of a cell, resolved."""

from __future__ import annotations

import dataclasses

from spurious.config.options import Specificity, Train
from sweeps.spec.values import MethodChoice, Training


def train_for(
    training: Training,
    specificity: Specificity,
    method: MethodChoice,
    *,
    can_measure_dice: bool = True,
) -> Train:
    """Return a cell's training options: method over specificity over base, `keep` resolved.

    `auto` is the best Dice on validation, and the best AUROC where there are no pixels to compare:
    for classifiers, and where nobody drew on the validation images.
    """
    changes = {
        **dict(dict(training.per_specificity).get(specificity.kind, ())),
        **dict(dict(training.per_method).get(method.name, ())),
    }
    resolved = dataclasses.replace(training.base, **changes)
    if resolved.keep != "auto":
        return resolved
    has_pixels = method.options.segments(specificity.kind) and can_measure_dice
    metric = "dice" if has_pixels else "auroc"
    return dataclasses.replace(resolved, keep=f"best val.{metric}")
