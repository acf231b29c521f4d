"""The table of cells, and the answer that is read from it."""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd
import pytest
from report_tables import (
    PLANTED,
    Made,
    failures,
    make,
    plan,
    small,
    tables,
    with_scores,
)

from spurious.config.methods import GroupDro
from spurious.scoring.selection import parse_rule
from sweeps.errors import ResultError
from sweeps.report.answer import answer, best_cell, caveats, cheapest_within
from sweeps.report.cells import cells, find_unfinished
from sweeps.spec.model import MethodChoice


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
    assert row["robust_auroc_low"] == pytest.approx(0.72 - 4.302653 * 0.02 / math.sqrt(3))
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
        cells(priced, made.planned, made.failures)


def test_two_trials_of_one_seed_are_refused(made: Made) -> None:
    """The seed is the unit: two results of one seed in a cell are not averaged quietly."""
    priced, _ = tables(made)
    planned = [replace(one, trial_id=None) for one in made.planned]
    twice = pd.concat([priced, priced.iloc[:1].assign(trial_id="e" * 16)], ignore_index=True)
    with pytest.raises(ResultError, match="one trial per seed"):
        cells(twice, planned, made.failures)


def test_answer_names_best_and_cheapest_close_to_it(made: Made) -> None:
    """Best mean, its interval and seeds; the cheapest mean inside it, and by how much."""
    priced, table = tables(with_scores(made, PLANTED))
    text = answer(table, priced)
    assert "Masks on all images, trained with erm" in text
    assert "0.82 over 3 seeds (95 % interval 0.77 to 0.87)" in text
    assert "is boxes on 600 images, trained with erm, for $30.33: 0.79 over 3 seeds" in text
    assert "it is 0.03 lower" in text


def test_answer_without_a_cheaper_one(made: Made) -> None:
    """A clear winner is said to have no cheaper equal."""
    clear = PLANTED | {("mask", "all", "erm"): [0.90, 0.91, 0.92]}
    priced, table = tables(with_scores(made, clear))
    assert "No cheaper one has its mean in that interval" in answer(table, priced)


def test_cheapest_within_is_on_the_frontier(made: Made) -> None:
    """Of equally cheap cells inside the interval the better one is named."""
    scores = PLANTED | {("label", "600", "erm"): [0.79] * 3, ("label", "600", "jtt"): [0.80] * 3}
    _, table = tables(with_scores(made, scores))
    best = best_cell(table)
    assert best is not None
    found = cheapest_within(table, best)
    assert found is not None
    assert (found["specificity"], found["method"]) == ("label", "jtt")
    assert found["on_frontier"]


def test_one_seed_claims_nothing() -> None:
    """With one seed the answer says that there is no interval."""
    priced, table = tables(make(plan(budgets=("600",), methods=("erm",), seeds=(0,))))
    assert "One seed gives no interval" in answer(table, priced)


def test_nothing_defined_recommends_nothing(made: Made) -> None:
    """Without any defined robust AUROC nothing is recommended, and the trials are counted."""
    nowhere = {one.key: [math.nan] * 3 for one in made.planned}
    priced, table = tables(with_scores(made, nowhere))
    assert "nothing can be recommended" in answer(table, priced)
    assert any("24 finished trials have no defined" in note for note in caveats(table, priced))


def test_caveats_name_what_limits_the_answer(made: Made) -> None:
    """Oracle rules, missing trials, chance level and differing software are all said."""
    poor = replace(
        with_scores(made, {one.key: [0.40, 0.41, 0.42] for one in made.planned}),
        trials=made.trials.iloc[1:].assign(versions=["{}"] + ['{"torch": "9"}'] * 22),
    )
    notes = " ".join(caveats(*reversed(tables(poor, rule=parse_rule("best test.auroc")))))
    for expected in ("ORACLE", "1 of 24 planned trials has", "chance", "different software"):
        assert expected in notes
    clean = " ".join(caveats(*reversed(tables(with_scores(made, PLANTED)))))
    assert "ORACLE" not in clean
    assert "Provisional" not in clean


def test_methods_that_are_given_groups_are_marked() -> None:
    """Each by name, also with options; methods that guess them are not."""
    dro = MethodChoice("group-dro", GroupDro(adjustment=2.0))
    priced, table = tables(make(plan(budgets=("600",), methods=("erm", dro, "jtt", "resample"))))
    assert set(table.loc[table["oracle"], "method"]) == {str(dro), "resample"}
    notes = " ".join(caveats(table, priced))
    assert "ORACLE: group-dro(adjustment=2.0), resample are given the groups" in notes
