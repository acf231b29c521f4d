"""The gate before ranking: cells whose model learned nothing are shown and never named."""

from __future__ import annotations

import math

import pandas as pd

from cluster.common.wording import count_of
from sweeps.report.inference.intervals import Interval
from sweeps.report.wording import number

CHANCE = 0.5
HAS_LEARNED = "shown to have learned the abnormality"
"""What is said of cells that pass. One that does not may have learned the spurious attribute."""


def find_unlearned(trials: pd.DataFrame, overall: Interval, segments: bool) -> str | None:
    """Return why a cell is not named as an answer; None where it may be.

    Robust AUROC alone does not say that a model learned: one that ranks by the spurious attribute
    the wrong way round has a robust AUROC of 1.

    Args:
        trials: The cell's finished trials, at the epoch that counts.
        overall: Its overall AUROC on test.
        segments: Whether its models are segmenters, which have a Dice.
    """
    if trials.empty:
        return None
    for outcome in ("diverged", "did not move"):
        seeds = int((trials["training"] == outcome).sum())
        if 2 * seeds >= len(trials):
            return f"training {outcome} in {seeds} of {count_of(len(trials), 'seed')}"
    on_validation = float(trials["val_auroc"].mean())
    if math.isnan(on_validation):
        return "the AUROC on validation is undefined"
    if on_validation <= CHANCE:
        return f"the AUROC on validation is {number(on_validation, 2)}, no better than chance"
    dice = float(trials["val_dice"].mean())
    if segments and not dice > 0.0:
        return "the Dice on validation is " + ("undefined" if math.isnan(dice) else "0")
    if overall.kind != "none" and overall.low <= CHANCE:
        limit = number(overall.low, 2)
        return f"the overall AUROC's lower limit is {limit}, not above chance"
    if overall.mean <= CHANCE:
        return f"the overall AUROC is {number(overall.mean, 2)}, no better than chance"
    return None
