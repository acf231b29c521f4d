"""Trials whose number says little: no choice of an epoch, training that diverged, or none at all.

All of it is computed from stored tables, so that trials from before are judged by the same rules.

A constant predictor, which gives each of K classes 1 / K, has a validation loss of ln K nats. A
model **diverged** at an epoch where training or validation loss is not finite, the validation loss
is above 100 ln K, or above 10 ln K while the training loss is above ln K, too: a model that is sure
of itself and wrong on validation has fitted its training images. The kept and the last epoch count.

A model **never moved** where its weights are those that it began with (noted while training), its
losses on validation and test are the same at every epoch, or its scores at the kept epoch are the
same for all images.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spurious.scoring.events import CONSTANT_SCORES, UNMOVED_WEIGHTS
from spurious.scoring.selection import parse_rule
from sweeps.plan.cell import cell_of
from sweeps.report.epochs import Epochs
from sweeps.report.histories import Histories, Places, as_places

Flags = NDArray[np.bool_]

MEANINGS = {
    "undefined_choice": (
        "the metric that was to choose an epoch is undefined in all of them, so the first one was "
        "kept; do not read these numbers"
    ),
    "one_sided_choice": (
        "the images that chose the epoch are of one class, so the choice judged one kind of error "
        "alone"
    ),
    "constant_choice": (
        "the metric that chose the epoch is the same in every epoch, so the first one was kept"
    ),
    "diverged": (
        "training diverged: the loss is far above that of a constant predictor; lower the learning "
        "rate"
    ),
    "never_moved": (
        "the model never moved: its weights, its losses or its scores stayed the same; raise the "
        "learning rate"
    ),
}
"""What is said of trials, by what happened."""

_FAR, _ABOVE = 100.0, 10.0
"""Times the loss of a constant predictor; see above."""


def find_events(trials: pd.DataFrame, epochs: Epochs) -> pd.DataFrame:
    """Return `trial_id`, `attempt` and `metric`, one of `MEANINGS`, of every trial that has one.

    Trials without an epoch are left out.

    Args:
        trials: Columns of `sweeps.results.schemas.TRIALS`.
        epochs: Theirs, with those of predictions where they were read (`sweeps.report.scored`).
    """
    places = trials["trial_id"].map(epochs.histories.places)
    having = trials[places.notna()].reset_index(drop=True)
    at = as_places(places.dropna())
    kinds = _of_choices(having, epochs.histories, at)
    kinds["diverged"] = _have_diverged(having, epochs.histories, at)
    kinds["never_moved"] = _never_moved(having, epochs, at)
    parts = [
        having.loc[kinds[kind], ["trial_id", "attempt"]].assign(metric=kind) for kind in MEANINGS
    ]
    return pd.concat(parts).sort_index(kind="stable").reset_index(drop=True)


def _of_choices(trials: pd.DataFrame, histories: Histories, at: Places) -> dict[str, Flags]:
    """Return of which trials (N,) something was wrong with the choice of the kept epoch."""
    rules = np.array([_rule_by_validation(trial) for trial in _configured(trials)], dtype=object)
    undefined, one_sided, constant = (np.zeros(len(at), dtype=bool) for _ in range(3))
    one_class = (histories.count("val.auroc") > 0) & ~histories.is_known("val.auroc")
    for text in {str(rule) for rule in rules if rule is not None}:
        rule, mine = parse_rule(text), rules == text
        name = f"{rule.split}.{rule.metric}"
        known = histories.is_known(name)[at]
        undefined |= mine & ~known
        one_sided |= mine & known & (rule.split == "val") & one_class[at]
        constant |= mine & known & histories.is_constant(name)[at]
    constant &= ~one_sided
    return {"undefined_choice": undefined, "one_sided_choice": one_sided,
            "constant_choice": constant}  # fmt: skip


def _configured(trials: pd.DataFrame) -> Iterator[tuple[str, str]]:
    return zip(trials["keep_rule"].astype(str), trials["config"].astype(str), strict=True)


def _rule_by_validation(trial: tuple[str, str]) -> str | None:
    """Return the rule that chose a trial's epoch by a metric; None where nothing did."""
    text, config = trial
    chosen = cell_of(config).method.options.choices(text)
    return None if parse_rule(text).metric is None or "train.keep" not in chosen else text


def _have_diverged(trials: pd.DataFrame, histories: Histories, at: Places) -> Flags:
    """Return which trials (N,) diverged by the kept or the last epoch."""
    constant = np.log([_classes(config) for config in trials["config"].astype(str)])
    diverged = np.zeros(len(at), dtype=bool)
    for column in ("kept_epoch", "epochs"):
        row = histories.find(at, trials[column].to_numpy(np.int64))
        fitted, judged = (
            np.where((row >= 0) & histories.has(name)[row], histories.column(name)[row], 0.0)
            for name in ("train.loss", "val.loss")
        )
        diverged |= ~(np.isfinite(fitted) & np.isfinite(judged)) | (judged > _FAR * constant)
        diverged |= (judged > _ABOVE * constant) & (fitted > constant)
    return diverged


def _classes(config: str) -> int:
    lesions = json.loads(config).get("negatives") == "lesion"
    return 3 if lesions and cell_of(config).segments else 2


def _never_moved(trials: pd.DataFrame, epochs: Epochs, at: Places) -> Flags:
    """Return which trials (N,) have the weights, the losses or the scores that they began with."""
    rows, ids = epochs.rows, trials["trial_id"]
    rows = rows[(rows["value"] > 0) & rows["metric"].isin([UNMOVED_WEIGHTS, CONSTANT_SCORES])]
    kept = rows["trial_id"].map(dict(zip(ids, trials["kept_epoch"], strict=True)))
    noted = rows[(rows["metric"] == UNMOVED_WEIGHTS) | (rows["epoch"] == kept)]
    losses = [epochs.histories.is_constant(f"{split}.loss")[at] for split in ("val", "test")]
    return ids.isin(noted["trial_id"]).to_numpy(bool) | (losses[0] & losses[1])
