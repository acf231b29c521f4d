"""The table of cells, and the answer that is read from it."""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd
import pytest
from report_tables import (
    IMAGE_ERROR,
    Made,
    failures,
    readings,
    small,
    tables,
    with_scores,
)
from scipy import stats

from sweeps.errors import ResultError
from sweeps.report.cells import cells, find_unfinished
from sweeps.report.evidence import Evidence


@pytest.fixture(scope="module")
def made() -> Made:
    """Labels, boxes and masks on 600 and on all images, three seeds each."""
    return small()


def test_cell_statistics_by_hand(made: Made) -> None:
    """A cell's row is the mean, spread and interval of its seeds, and its own mean dollars."""
    planted = with_scores(made, {("box", "600", "erm"): [0.70, 0.72, 0.74]})
    priced, table = tables(planted)
    row = table.set_index(["specificity", "budget", "method"]).loc[("box", "600", "erm")]
    assert row["robust_auroc_mean"] == pytest.approx(0.72)
    assert row["robust_auroc_sd"] == pytest.approx(0.02)
    # MS / S of the seeds and the variance that images share; df and the logit as documented
    ms, cov2 = 0.02**2, IMAGE_ERROR**2
    half = stats.t.ppf(0.975, 2 * (1 + 3 * cov2 / ms) ** 2) * math.sqrt(ms / 3 + cov2)
    half /= 0.72 * 0.28
    ends = [1 / (1 + math.exp(sign * half) * 0.28 / 0.72) for sign in (1, -1)]
    for name, end in zip(("low", "high"), ends, strict=True):
        assert row[f"robust_auroc_{name}"] == pytest.approx(end, abs=2e-3)
    assert (row["robust_auroc_interval"], row["robust_auroc_reason"]) == ("two-sided", None)
    assert (row["robust_auroc_min"], row["robust_auroc_max"]) == (0.70, 0.74)
    mine = priced[(priced["specificity"] == "box") & (priced["budget"] == "600")]
    assert row["dollars_mean"] == pytest.approx(mine["dollars"].mean())
    assert row["dollars_min"] < row["dollars_mean"] < row["dollars_max"]
    assert row["gap_mean"] == pytest.approx((mine["test_auroc"] - mine["test_robust_auroc"]).mean())
    assert row["gpu_hours"] == pytest.approx(3 * 2400 / 3600)
    assert row["cpu_hours"] == 0


def test_missing_and_failed_seeds_are_counted(made: Made) -> None:
    """A missing trial counts as planned, as failed where a failure is known, never as done."""
    gone = made.trials["trial_id"].iloc[:2].tolist()
    kept = ~made.trials["trial_id"].isin(gone)
    failed = failures(
        [
            {"trial_id": gone[0], "attempt": "a2", "message": "later"},
            {"trial_id": gone[0], "failed_at": pd.Timestamp("2026-01-01T00:00:00Z")},
            {"trial_id": made.trials["trial_id"].iloc[-1], "message": "retried with success"},
        ]
    )
    partial = replace(made, trials=made.trials[kept], failures=failed)
    priced, table = tables(partial)
    first = table.iloc[0]
    assert (first["specificity"], first["budget"], first["method"]) == ("label", "600", "erm")
    assert (first["seeds_planned"], first["seeds_done"], first["seeds_failed"]) == (3, 1, 1)
    assert not first["complete"]
    assert table.iloc[1:]["complete"].all()
    assert table["seeds_failed"].sum() == 1
    missing = find_unfinished(priced, made.planned, failed).set_index("trial_id")
    assert missing.loc[gone[0], "message"] == "later"
    assert missing["attempts"].to_dict() == {gone[0]: 2, gone[1]: 0}
    assert pd.isna(missing.loc[gone[1], "failure_class"])


def test_cell_without_any_result_is_listed(made: Made) -> None:
    """A planned cell with no result has a row of NaN and is not on the frontier."""
    _, table = tables(replace(made, trials=made.trials[made.trials["specificity"] != "mask"]))
    masks = table[table["specificity"] == "mask"]
    assert len(masks) == 2
    assert masks["dollars_mean"].isna().all()
    assert masks["frontier_share"].isna().all()
    assert not masks["on_frontier"].any()


def test_frontier_of_planted_effects(made: Made) -> None:
    """Dearer cells that score less are off; the shares tell how many seeds agree."""
    scores = {
        ("label", "600", "erm"): [0.50, 0.50, 0.50],
        ("label", "600", "jtt"): [0.55, 0.45, 0.55],
        ("label", "all", "erm"): [0.40, 0.40, 0.40],
        ("box", "600", "erm"): [0.70, 0.70, 0.70],
        ("mask", "all", "erm"): [0.80, 0.80, 0.80],
    }
    _, table = tables(with_scores(made, scores))
    found = table.set_index(["specificity", "budget", "method"])
    front = set(found.index[found["on_frontier"]])
    assert front == {
        ("label", "600", "jtt"),
        ("box", "600", "erm"),
        ("mask", "all", "erm"),
    }
    chances = found["frontier_probability"]
    assert chances[("label", "all", "erm")] < 0.05
    assert chances[("mask", "all", "erm")] > 0.95
    assert found["best_probability"].sum() == pytest.approx(1.0)
    assert found.at[("mask", "all", "erm"), "non_inferior_probability"] == 1.0
    assert found.at[("box", "600", "erm"), "non_inferior_probability"] < 0.05
    assert found.at[("label", "600", "erm"), "frontier_share"] == pytest.approx(1 / 3)
    assert found.at[("label", "600", "jtt"), "frontier_share"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 77}, "not in the plan"),
        ({"trial_id": "f" * 16}, "not in the plan"),
        ({"dataset_digest": "0" * 64}, "one dataset"),
        ({"model": "small-cnn"}, "differ in model"),
    ],
)
def test_tables_of_something_else_are_refused(
    made: Made, change: dict[str, object], message: str
) -> None:
    """Trials that are not of this plan, dataset or model never enter a mean."""
    priced, _ = tables(made)
    for column, new in change.items():
        priced.loc[0, column] = new
    with pytest.raises(ResultError, match=message):
        cells(priced, made.planned, made.failures, Evidence(priced, {}), 0.02)


def test_two_trials_of_one_seed_are_refused(made: Made) -> None:
    """The seed is the unit: two results of one seed in a cell are not averaged quietly."""
    priced, _ = tables(made)
    planned = [replace(one, trial_id=None) for one in made.planned]
    twice = pd.concat([priced, priced.iloc[:1].assign(trial_id="e" * 16)], ignore_index=True)
    with pytest.raises(ResultError, match="one trial per seed"):
        cells(twice, planned, made.failures, Evidence(priced, {}), 0.02)


def test_cells_without_an_interval_say_why(made: Made) -> None:
    """Bimodal seeds, a mean of exactly 1, and predictions that are not stored."""
    scores = {
        ("label", "600", "erm"): [0.84, 0.0, 0.56],
        ("box", "600", "erm"): [1.0, 1.0, 1.0],
    }
    planted = with_scores(made, scores)
    _, table = tables(planted)
    rows = table.set_index(["specificity", "budget", "method"])
    apart, exact = rows.loc[("label", "600", "erm")], rows.loc[("box", "600", "erm")]
    assert apart["robust_auroc_interval"] == "none"
    assert apart["robust_auroc_reason"].startswith("seeds fall apart")
    assert math.isnan(apart["robust_auroc_low"])
    assert math.isnan(apart["frontier_probability"])
    assert exact["robust_auroc_interval"] == "at least"
    assert (exact["robust_auroc_low"], exact["robust_auroc_high"]) == (0.05 ** (1 / 80), 1.0)
    _, bare = tables(planted, readings={})
    assert set(bare["robust_auroc_reason"]) == {"no stored predictions at the epoch that counts"}
    assert bare[["robust_auroc_low", "frontier_probability"]].isna().all(axis=None)
    mixed = readings(planted.epochs)
    for (trial_id, _), taken in mixed.items():
        if trial_id == made.trials["trial_id"].iloc[0]:
            taken["robust_auroc"] = replace(taken["robust_auroc"], images="others")
    _, other = tables(planted, readings=mixed)
    assert "seeds were scored on different images" in set(other["robust_auroc_reason"])


def test_no_limit_leaves_the_unit_interval(made: Made) -> None:
    """Whatever the seeds are."""
    scores = {one.key: [0.03, 0.2, 0.4] for one in made.planned}
    scores[("mask", "all", "erm")] = [0.999, 0.97, 0.8]
    _, table = tables(with_scores(made, scores))
    ends = table[["robust_auroc_low", "robust_auroc_high", "auroc_low", "auroc_high"]]
    assert ((ends >= 0.0) & (ends <= 1.0)).all(axis=None)
