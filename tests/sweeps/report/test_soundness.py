"""Trials whose numbers say little are found in stored tables, by stated rules."""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd
import pytest
from report_tables import EPOCHS_TRAINED, KEPT, Made, make, plan, tables

from spurious.scoring.events import CONSTANT_SCORES, UNMOVED_WEIGHTS
from sweeps.report.cautions import cautions
from sweeps.report.epochs import Epochs
from sweeps.report.soundness import MEANINGS, find_events

MADE = make(plan(("label",), ("600",), methods=("erm",)))
FIRST = sorted(MADE.trials["trial_id"])[0]


def changed(values: dict[tuple[str, str], object], epoch: int | None = None) -> Made:
    """The tables where one trial has other values of (split, metric), at one epoch or at all."""
    epochs = MADE.epochs.copy()
    for (split, metric), value in values.items():
        mine = (epochs["trial_id"] == FIRST) & (epochs["split"] == split)
        mine &= (epochs["metric"] == metric) & epochs["attribute"].isna()
        mine &= (epochs["epoch"] == epoch) if epoch else True
        epochs.loc[mine, "value"] = value
    return replace(MADE, epochs=epochs)


def noted(metric: str, epoch: int) -> Made:
    """The tables where one trial has noted something."""
    mine = MADE.trials[MADE.trials["trial_id"] == FIRST]
    row = mine[["trial_id", "attempt"]].assign(
        schema_version=1, epoch=epoch, split="train", metric=metric, value=1.0
    )
    return replace(MADE, epochs=pd.concat([MADE.epochs, row.reindex(columns=MADE.epochs.columns)]))


def events(made: Made) -> list[tuple[str, str]]:
    """Trial and kind."""
    found = find_events(made.trials, Epochs.of(made.trials, made.epochs))
    return list(zip(found["trial_id"], found["metric"], strict=True))


@pytest.mark.parametrize(
    ("made", "kind"),
    [
        (MADE, None),
        (changed({("val", "auroc"): math.nan}), "undefined_choice"),
        (changed({("val", "auroc"): math.nan}, epoch=1), None),
        (changed({("val", "auroc"): 0.5}), "constant_choice"),
        (changed({("val", "loss"): 5.8e11}, epoch=KEPT), "diverged"),
        (changed({("val", "loss"): 5.8e11}, epoch=EPOCHS_TRAINED), "diverged"),
        (changed({("val", "loss"): 5.8e11}, epoch=2), None),  # and came back
        (changed({("val", "loss"): math.inf}, epoch=KEPT), "diverged"),
        (changed({("train", "loss"): math.nan}, epoch=KEPT), "diverged"),
        (changed({("val", "loss"): 20.0}), None),  # sure, wrong, and it fits its images
        (changed({("val", "loss"): 20.0, ("train", "loss"): 0.7}, epoch=KEPT), "diverged"),
        (changed({("val", "loss"): 6.0, ("train", "loss"): 0.7}, epoch=KEPT), None),
        (changed({("val", "loss"): 0.69, ("test", "loss"): 0.7}), "never_moved"),
        (changed({("val", "loss"): 0.69}), None),
        (noted(UNMOVED_WEIGHTS, EPOCHS_TRAINED), "never_moved"),
        (noted(CONSTANT_SCORES, KEPT), "never_moved"),
        (noted(CONSTANT_SCORES, 1), None),
    ],
)
def test_what_happened_to_a_trial(made: Made, kind: str | None) -> None:
    """Each rule at both sides of its limit, of one trial of three."""
    assert events(made) == ([] if kind is None else [(FIRST, kind)])


def test_a_choice_by_one_class_is_one_sided() -> None:
    """By a metric that has a value all the same; `last` chose nothing.

    Images with something to draw do not say so: with `negatives: lesion` all may have.
    """
    all_drawn = MADE.trials.assign(
        val_positives=MADE.trials["val_images"], keep_rule="best val.loss"
    )
    assert not events(replace(MADE, trials=all_drawn))
    one_class = replace(changed({("val", "auroc"): math.nan}), trials=all_drawn)
    assert events(one_class) == [(FIRST, "one_sided_choice")]
    assert not events(replace(one_class, trials=all_drawn.assign(keep_rule="last")))


def test_the_report_says_so() -> None:
    """Beside what trials noted themselves, with the purchase."""
    made = changed({("val", "loss"): 5.8e11})
    priced, cells = tables(made)
    epochs = Epochs.of(made.trials, made.epochs)
    assert cautions(cells, priced, epochs, find_events(priced, epochs)) == [
        f"erm, 1 of 3 trials (labels on 600 images): {MEANINGS['diverged']}."
    ]
