"""The report's trials: the selected epoch, and what annotations cost."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from report_tables import (
    EPOCHS_TRAINED,
    KEPT,
    Made,
    cell_named,
    config_text,
    make,
    plan,
    small,
    tables,
)

from spurious.config.methods import Dfr
from spurious.config.options import Budget, Specificity
from spurious.scoring.cost import PARTS
from spurious.scoring.selection import parse_rule
from sweeps.errors import ResultError
from sweeps.plan.cell import Cell
from sweeps.report.epochs import Epochs
from sweeps.report.tables import specificity_order
from sweeps.report.trials import select_trials
from sweeps.spec.model import MethodChoice
from sweeps.spec.values import AXIS, CostOptions

CENTS_PER_CLICK = 100.0 / 3600.0


@pytest.fixture(scope="module")
def made() -> Made:
    """Labels, boxes and masks on 600 and on all images, three seeds each."""
    return small()


def value(epochs: pd.DataFrame, trial_id: str, epoch: int, split: str, metric: str) -> float:
    """One value of the epochs table, all attributes together."""
    at = epochs[
        (epochs["trial_id"] == trial_id)
        & (epochs["epoch"] == epoch)
        & (epochs["split"] == split)
        & (epochs["metric"] == metric)
        & epochs["attribute"].isna()
    ]
    return float(at["value"].item())


def test_no_rule_keeps_each_trials_epoch(made: Made) -> None:
    """Without a rule the metrics are those of the kept epoch, equal to the trial's own row."""
    selected = select_trials(made.trials, Epochs.of(made.trials, made.epochs), None)
    own = made.trials.set_index("trial_id").loc[selected["trial_id"]].reset_index()
    assert (selected["epoch"] == KEPT).all()
    for column in ("val_auroc", "test_robust_auroc", "test_dice"):
        np.testing.assert_array_equal(selected[column], own[column])
    assert selected["undefined"].isna().all()
    assert set(selected["rule"]) == {"best val.auroc", "best val.dice"}


def test_rule_is_recomputed_from_epochs(made: Made) -> None:
    """A rule moves every trial to its epoch, and all metrics come from there."""
    selected = select_trials(made.trials, Epochs.of(made.trials, made.epochs), parse_rule("last"))
    assert (selected["epoch"] == EPOCHS_TRAINED).all()
    row = selected.iloc[4]
    at_last = value(made.epochs, row["trial_id"], EPOCHS_TRAINED, "test", "robust_auroc")
    assert row["test_robust_auroc"] == at_last
    lowest_loss = select_trials(
        made.trials, Epochs.of(made.trials, made.epochs), parse_rule("best val.loss")
    )
    assert (lowest_loss["epoch"] == KEPT).all()


def test_undefined_rule_is_nan_with_a_reason(made: Made) -> None:
    """Best Dice does not exist for a classifier: NaN, a reason, and never 0."""
    selected = select_trials(
        made.trials, Epochs.of(made.trials, made.epochs), parse_rule("best val.dice")
    )
    label = selected["specificity"] == "label"
    assert selected.loc[label, "epoch"].isna().all()
    assert selected.loc[label, "test_robust_auroc"].isna().all()
    assert selected.loc[label, "undefined"].str.contains("'best val.dice'").all()
    assert selected.loc[~label, "undefined"].isna().all()


def test_undefined_metric_has_a_reason(made: Made) -> None:
    """A robust AUROC that is NaN at the selected epoch says so."""
    epochs = made.epochs.copy()
    hit = made.trials["trial_id"].iloc[0]
    robust = (epochs["metric"] == "robust_auroc") & (epochs["split"] == "test")
    epochs.loc[robust & (epochs["trial_id"] == hit), "value"] = math.nan
    selected = select_trials(made.trials, Epochs.of(made.trials, epochs), None).set_index(
        "trial_id"
    )
    assert "NaN at epoch 6" in selected.at[hit, "undefined"]
    assert not math.isnan(selected.at[hit, "test_auroc"])


def test_every_attribute_has_its_column() -> None:
    """With two attributes both robust AUROCs of the selected epoch are there."""
    made = make(small().planned[:3], attributes=("tube", "site"))
    selected = select_trials(made.trials, Epochs.of(made.trials, made.epochs), None)
    difference = selected["test_robust_auroc_tube"] - selected["test_robust_auroc_site"]
    np.testing.assert_allclose(difference, 0.01)


def test_losing_attempts_are_ignored(made: Made) -> None:
    """Epochs of an attempt that did not commit change nothing."""
    lost = made.epochs.assign(attempt="lost", value=0.99)
    both = pd.concat([lost, made.epochs], ignore_index=True)
    expected = select_trials(made.trials, Epochs.of(made.trials, made.epochs), None)
    pd.testing.assert_frame_equal(
        select_trials(made.trials, Epochs.of(made.trials, both), None), expected
    )


def test_epochs_that_contradict_the_trial_are_refused(made: Made) -> None:
    """Missing, doubled and absent-kept epochs are errors that name the trial."""
    first = made.trials["trial_id"].min()
    mine = made.epochs["trial_id"] == first
    with pytest.raises(ResultError, match=f"{first}.*no rows"):
        select_trials(made.trials, Epochs.of(made.trials, made.epochs[~mine]), None)
    with pytest.raises(ResultError, match="twice"):
        select_trials(
            made.trials, Epochs.of(made.trials, pd.concat([made.epochs, made.epochs[mine]])), None
        )
    with pytest.raises(ResultError, match=f"{first} kept epoch 6"):
        select_trials(
            made.trials,
            Epochs.of(made.trials, made.epochs[~mine | (made.epochs["epoch"] < KEPT)]),
            None,
        )


def dollars_of(priced: pd.DataFrame, specificity: str, column: str) -> float:
    """The column of seed 0 on 600 images with erm."""
    row = priced.query("specificity == @specificity and budget == '600' and seed == 0")
    return float(row[row["method"] == "erm"][column].item())


def test_items_by_hand(made: Made) -> None:
    """600 labels; 390 boxes or masks on 300 positives plus 300 negatives; 1000 labels to val."""
    priced, _ = tables(made)
    assert dollars_of(priced, "label", "dollars") == pytest.approx(600 * CENTS_PER_CLICK)
    assert dollars_of(priced, "box", "dollars") == pytest.approx((2 * 390 + 300) * CENTS_PER_CLICK)
    assert dollars_of(priced, "mask", "dollars") == pytest.approx(
        (45 * 390 + 300) * CENTS_PER_CLICK
    )
    assert dollars_of(priced, "label", "validation_dollars") == pytest.approx(
        1000 * CENTS_PER_CLICK
    )
    assert (priced["spurious_label_dollars"] == 0).all()


COLUMNS = {
    "training": "training_dollars",
    "spurious_labels": "spurious_label_dollars",
    "validation": "validation_dollars",
    "compute": "compute_dollars",
}


@pytest.mark.parametrize("axis", [PARTS, AXIS, ("training",), ("validation", "compute")])
def test_the_axis_counts_what_it_names(made: Made, axis: tuple[str, ...]) -> None:
    """All of annotation by default; compute, too, where it has a price."""
    compute = {trial_id: 0.5 + i for i, trial_id in enumerate(sorted(made.trials["trial_id"]))}
    rule = parse_rule("best val.robust_auroc")
    priced, table = tables(made, axis=axis, compute=compute, rule=rule)
    assert (priced[list(COLUMNS.values())] > 0).all(axis=None)
    expected = sum(priced[COLUMNS[part]] for part in axis)
    np.testing.assert_allclose(priced["dollars"], expected)
    by_cell = priced.groupby(["specificity", "budget", "method"])["compute_dollars"].mean()
    keys = list(zip(table["specificity"], table["budget"], table["method"], strict=True))
    np.testing.assert_allclose(table["compute_dollars"], by_cell[keys])
    without, _ = tables(made, axis=CostOptions().axis, rule=rule)
    assert without["compute_dollars"].isna().all()
    annotation = [COLUMNS[part] for part in PARTS]
    np.testing.assert_allclose(without["dollars"], priced[annotation].sum(axis=1))


@pytest.mark.parametrize(
    ("changes", "labels"),
    [
        ({"rule": parse_rule("best val.robust_auroc")}, 2000),
        ({"rule": parse_rule("best test.robust_auroc")}, 0),
        ({"rule": parse_rule("best val.auroc")}, 0),
    ],
)
def test_spurious_labels_that_were_read_are_charged(
    changes: dict[str, object], labels: int
) -> None:
    """A rule on val.robust_auroc costs val images x attributes, once; an oracle not."""
    priced, _ = tables(make(small().planned[:3], attributes=("tube", "site")), **changes)
    np.testing.assert_allclose(priced["spurious_label_dollars"], labels * CENTS_PER_CLICK)
    np.testing.assert_allclose(
        priced["dollars"], priced["training_dollars"] + labels * CENTS_PER_CLICK
    )


def test_kept_rule_is_charged_too(made: Made) -> None:
    """Without a rule, a trial whose own kept rule read spurious labels pays for them."""
    trials = made.trials.assign(keep_rule="best val.robust_auroc")
    priced, _ = tables(replace(made, trials=trials))
    np.testing.assert_allclose(priced["spurious_label_dollars"], 1000 * CENTS_PER_CLICK)


@pytest.mark.parametrize("options", [Dfr(), Dfr(balance="classes")])
def test_validation_images_that_are_trained_on_are_training_annotation(options: Dfr) -> None:
    """Their labels are on the axis, and no second time where validation joins it."""
    made = make(plan(("label",), ("600",), ("erm",)))
    by_method = make(plan(("label",), ("600",), (MethodChoice("dfr", options),)))
    for axis, labels in ((("training", "spurious_labels"), 1000), (PARTS, 0)):
        plain, _ = tables(made, axis=axis)
        priced, _ = tables(by_method, axis=axis)
        more = (priced["dollars"] - plain["dollars"]) / CENTS_PER_CLICK
        np.testing.assert_allclose(more, labels, atol=1e-6)
        assert (priced["validation_dollars"] == 0).all()


def test_a_rule_that_training_goes_on_from_is_charged_beside_the_report_s() -> None:
    """The teacher of ssl is what its trial's rule kept; erm's kept epoch decides nothing else."""
    made = make(plan(("mask",), ("600",), ("erm", "ssl")))
    trials = made.trials.assign(keep_rule="best val.robust_auroc")
    priced, _ = tables(replace(made, trials=trials), rule=parse_rule("best val.auroc"))
    found = priced.groupby("method")["spurious_label_dollars"].agg(set)
    assert found["erm"] == {0.0}
    assert found["ssl"] == {1000 * CENTS_PER_CLICK}


def test_a_row_s_cell_is_read_from_its_config(made: Made) -> None:
    """Whatever its text columns say; a config that cannot be read is an error that shows it."""
    method = MethodChoice("dfr", Dfr(refits=5))
    cell = Cell(Specificity("box", box_per="image"), Budget(None, "natural"), method)
    trials = made.trials.assign(config=config_text(cell), method="none", budget="nobody")
    assert set(select_trials(trials, Epochs.of(trials, made.epochs), None)["cell"]) == {cell}
    for bad in ("{}", "no JSON", config_text(cell).replace("dfr", "magic")):
        with pytest.raises(ResultError, match="config cannot be read"):
            select_trials(made.trials.assign(config=bad), Epochs.of(made.trials, made.epochs), None)


def test_specificities_sort_from_coarse_to_fine() -> None:
    """r sorts by number, between boxes and masks."""
    names = ["mask", "r=10", "box", "r=4", "label", "box=image"]
    typed = [cell_named(name, "all", "erm").specificity for name in names]
    expected = ["label", "box=image", "box", "r=4", "r=10", "mask"]
    assert [str(one) for one in sorted(typed, key=specificity_order)] == expected
