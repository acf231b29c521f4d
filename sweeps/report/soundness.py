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
import math
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from spurious.scoring.events import CONSTANT_SCORES, UNMOVED_WEIGHTS
from spurious.scoring.selection import parse_rule
from sweeps.plan.cell import cell_of

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


def find_events(trials: pd.DataFrame, epochs: pd.DataFrame) -> pd.DataFrame:
    """Return `trial_id`, `attempt` and `metric`, one of `MEANINGS`, of every trial that has one.

    Args:
        trials: Columns of `sweeps.results.schemas.TRIALS`.
        epochs: Columns of `sweeps.results.schemas.EPOCHS`, with those of predictions where they
            were read (`sweeps.report.scored`); rows of other attempts are ignored.
    """
    keys = ["trial_id", "attempt"]
    whole = epochs[epochs["attribute"].isna()].merge(trials[keys], on=keys)
    histories = dict(iter(whole.groupby("trial_id")))
    rows = [
        {**{key: trial[key] for key in keys}, "metric": kind}
        for trial in trials.to_dict("records")
        if trial["trial_id"] in histories
        for kind in _kinds(trial, histories[trial["trial_id"]])
    ]
    return pd.DataFrame(rows, columns=[*keys, "metric"])


def _kinds(trial: Mapping[Any, Any], history: pd.DataFrame) -> Iterator[str]:
    kind = _of_choice(trial, history)
    if kind is not None:
        yield kind
    if _has_diverged(trial, history):
        yield "diverged"
    if _never_moved(trial, history):
        yield "never_moved"


def _values(history: pd.DataFrame, split: str, metric: str) -> pd.Series[float]:
    """Return a metric by epoch."""
    mine = history[(history["split"] == split) & (history["metric"] == metric)]
    return mine.set_index("epoch")["value"].sort_index()


def _of_choice(trial: Mapping[Any, Any], history: pd.DataFrame) -> str | None:
    """Return what was wrong with the choice of the kept epoch."""
    text = str(trial["keep_rule"])
    rule = parse_rule(text)
    chosen = cell_of(str(trial["config"])).method.options.choices(text)
    if rule.metric is None or "train.keep" not in chosen:
        return None
    values = _values(history, str(rule.split), rule.metric)
    if not values.notna().any():
        return "undefined_choice"
    both = _values(history, "val", "auroc")  # undefined where there is one class alone
    if rule.split == "val" and len(both) and not both.notna().any():
        return "one_sided_choice"
    is_constant = len(values) > 1 and values.nunique(dropna=False) == 1
    return "constant_choice" if is_constant else None


def _has_diverged(trial: Mapping[Any, Any], history: pd.DataFrame) -> bool:
    lesions = json.loads(trial["config"]).get("negatives") == "lesion"
    classes = 3 if lesions and cell_of(str(trial["config"])).segments else 2
    constant = math.log(classes)
    train, val = _values(history, "train", "loss"), _values(history, "val", "loss")
    for epoch in {int(trial["kept_epoch"]), int(trial["epochs"])}:
        fitted = float(train.get(epoch, 0.0))
        judged = float(val.get(epoch, 0.0))
        if not (math.isfinite(fitted) and math.isfinite(judged)) or judged > _FAR * constant:
            return True
        if judged > _ABOVE * constant and fitted > constant:
            return True
    return False


def _never_moved(trial: Mapping[Any, Any], history: pd.DataFrame) -> bool:
    noted = history["metric"] == UNMOVED_WEIGHTS
    same = (history["metric"] == CONSTANT_SCORES) & (history["epoch"] == trial["kept_epoch"])
    if history["value"][noted | same].gt(0).any():
        return True
    losses = [_values(history, split, "loss") for split in ("val", "test")]
    return all(len(values) > 1 and values.nunique(dropna=False) == 1 for values in losses)
