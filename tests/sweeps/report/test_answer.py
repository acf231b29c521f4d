"""The answer that is read from the table of cells, the gate before it, and what limits it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from report_tables import (
    PLANTED,
    Made,
    evidence,
    make,
    plan,
    readings,
    report_input,
    small,
    tables,
    with_scores,
)

from spurious.config.methods import GroupDro
from spurious.scoring.selection import parse_rule
from sweeps.report.answer import answer, best_cell, choose
from sweeps.report.build import build_report
from sweeps.report.caveats import caveats
from sweeps.report.wording import seed_values
from sweeps.spec.model import MethodChoice

MASKS, BOXES = ("mask", "all", "erm"), ("box", "600", "erm")


@pytest.fixture(scope="module")
def made() -> Made:
    """Labels, boxes and masks on 600 and on all images, three seeds each."""
    return small()


def answered(made: Made, margin: float = 0.02, **changes: Any) -> str:
    """The answer of a report on these tables."""
    _, table, rests_on = evidence(made, **changes)
    return answer(table, rests_on, margin)


def with_metric(
    made: Made, split: str, metric: str, scores: dict[tuple[str, str, str], Sequence[float]]
) -> Made:
    """The same tables with another value per seed of some cells, at every epoch."""
    epochs = made.epochs.copy()
    cell_of = {one.trial_id: (one.key, one.seed) for one in made.planned}
    for index in epochs.index[(epochs["split"] == split) & (epochs["metric"] == metric)]:
        cell, seed = cell_of[epochs.at[index, "trial_id"]]
        if cell in scores:
            epochs.at[index, "value"] = scores[cell][seed]
    return replace(made, epochs=epochs)


def test_the_headline_has_both_aurocs_with_intervals(made: Made) -> None:
    """Best mean with interval and seeds, the overall AUROC beside it, the price."""
    _, table = tables(with_scores(made, PLANTED))
    row = table.set_index(["specificity", "budget", "method"]).loc[MASKS]
    text = answered(with_scores(made, PLANTED))
    assert "Masks on all images, trained with erm" in text
    ends = f"95 % interval {row['robust_auroc_low']:.2f} to {row['robust_auroc_high']:.2f}"
    assert f"0.82 over 3 seeds ({ends})" in text
    assert (
        f"with an overall AUROC of {row['auroc_mean']:.2f} ({row['auroc_low']:.2f} to "
        f"{row['auroc_high']:.2f})" in text
    )


def test_the_cheaper_alternative_is_not_inferior(made: Made) -> None:
    """By the lower limit of the paired difference above the margin, which the sentence has."""
    scores = PLANTED | {MASKS: [0.800, 0.823, 0.811], BOXES: [0.797, 0.821, 0.810]}
    planted = with_scores(made, scores)
    text = answered(planted)
    assert "not inferior to it by more than 0.02 is boxes on 600 images, trained with erm" in text
    assert "for $30.33: 0.81 over 3 seeds" in text
    assert "Paired by seed on the same images it differs by \N{MINUS SIGN}0.002" in text
    noisy = with_scores(made, scores | {BOXES: [0.83, 0.77, 0.80]})  # its mean is 0.011 lower
    assert "No cheaper one is shown to be at most 0.02 lower" in answered(noisy)
    _, table, rests_on = evidence(planted, margin=0.001)
    near = table.set_index(["specificity", "budget", "method"]).loc[BOXES]
    assert answer(table, rests_on, 0.001).endswith(
        "No cheaper one is shown to be at most 0.001 lower; the likeliest is boxes on 600 images, "
        f"trained with erm, for $30.33, with a probability of "
        f"{near['non_inferior_probability']:.2f}."
    )


def test_wide_seeds_recommend_nothing_cheap(made: Made) -> None:
    """0.84, 0.00, 0.56 and a cheap cell at 0: not telling apart is not being alike."""
    scores = {one.key: [0.0, 0.0, 0.0] for one in made.planned} | {MASKS: [0.84, 0.0, 0.56]}
    text = answered(with_scores(made, scores))
    assert "0.47 over 3 seeds (seeds 0.84, 0.00, 0.56; no interval: seeds fall apart" in text
    assert text.endswith("Without an interval no cheaper alternative is named.")
    wide = scores | {MASKS: [0.85, 0.5, 0.3]}
    text = answered(with_scores(made, wide))
    assert text.endswith("That interval is wider than 0.5: no cheaper alternative is named.")


def test_many_seeds_are_told_as_a_range() -> None:
    """Two hundred numbers in a sentence are read by nobody."""
    assert seed_values([0.84, 0.0, 0.56], 2) == "seeds 0.84, 0.00, 0.56"
    assert seed_values([index / 200 for index in range(200)], 2) == "seeds 0.00 to 0.99"


def test_nearly_perfect_seeds_have_a_cheaper_equal(made: Made) -> None:
    """1, 1, 1 against 0.999, 0.9995, 0.9992 is one."""
    scores = PLANTED | {MASKS: [1.0, 1.0, 1.0], BOXES: [0.9990, 0.9995, 0.9992]}
    text = answered(with_scores(made, scores))
    assert text.startswith("Masks on all images")
    assert "1.00 over 3 seeds (one-sided 95 % bound: at least 0.96)" in text
    assert "boxes on 600 images" in text.partition("not inferior")[2]


def test_of_equally_cheap_ones_the_better_is_named(made: Made) -> None:
    """And it is on the frontier."""
    same = {("label", "600", "erm"): [0.818] * 3, ("label", "600", "jtt"): [0.819] * 3}
    scores = PLANTED | {MASKS: [0.82, 0.821, 0.822]} | same
    _, table, rests_on = evidence(with_scores(made, scores))
    choice = choose(table, rests_on, 0.02)
    assert choice is not None
    best = best_cell(table)
    assert best is not None
    assert choice.best["cell"] == best["cell"]
    assert (choice.chosen["specificity"], choice.chosen["method"]) == ("label", "jtt")
    assert choice.chosen["on_frontier"]
    assert choice.difference is not None
    kinds = {(cell["specificity"], cell["method"]) for cell in choice.not_inferior}
    assert {("label", "jtt"), ("label", "erm"), ("mask", "erm")} <= kinds


@pytest.mark.parametrize(
    ("axis", "words"),
    [
        (("training", "compute"), "of annotation and compute."),
        (("compute",), "of compute."),
        (("validation",), "of annotation."),
    ],
)
def test_the_dollars_say_what_they_are_of(made: Made, axis: tuple[str, ...], words: str) -> None:
    """Compute is no annotation."""
    compute = dict.fromkeys(made.trials["trial_id"], 0.25)
    _, table, rests_on = evidence(with_scores(made, PLANTED), axis=axis, compute=compute)
    assert words in answer(table, rests_on, 0.02, axis)


def test_one_seed_claims_nothing() -> None:
    """With one seed the answer says that there is no interval."""
    one = make(plan(budgets=("600",), methods=("erm",), seeds=(0,)))
    assert "One seed gives no interval" in answered(one)


def test_a_hole_is_named(made: Made) -> None:
    """The sentence on a cell without a planned seed says which one it lacks."""
    planted = with_scores(made, PLANTED)
    mine = made.trials[(made.trials["specificity"] == "mask") & (made.trials["budget"] == "all")]
    gone = mine[mine["seed"] == 1].index
    text = answered(replace(planted, trials=made.trials.drop(gone)))
    assert "0.81 over 2 of 3 planned seeds, without seed 1" in text


@pytest.mark.parametrize(
    ("split", "metric", "values", "reason"),
    [
        ("val", "auroc", [0.0, 0.0, 0.0], "the AUROC on validation is 0.00, no better"),
        ("val", "auroc", [math.nan] * 3, "the AUROC on validation is undefined"),
        ("val", "dice", [0.0] * 3, "the Dice on validation is 0"),
        ("val", "dice", [math.nan] * 3, "the Dice on validation is undefined"),
        ("test", "auroc", [0.62, 0.5, 0.45], "the overall AUROC's lower limit is"),
        ("val", "loss", [5.8e11] * 3, "training diverged in 3 of 3 seeds"),
        ("train", "loss", [math.inf, math.inf, 0.2], "training diverged in 2 of 3 seeds"),
    ],
)
def test_a_cell_that_learned_nothing_is_marked_and_not_named(
    made: Made, split: str, metric: str, values: list[float], reason: str
) -> None:
    """A robust AUROC of 1 is no answer where nothing was learned; the next cell is."""
    perfect = with_scores(made, PLANTED | {MASKS: [1.0, 1.0, 1.0]})
    spoiled = with_metric(perfect, split, metric, {MASKS: values})
    priced, table, rests_on = evidence(spoiled)
    row = table.set_index(["specificity", "budget", "method"]).loc[MASKS]
    assert row["unlearned"].startswith(reason)
    assert not row["on_frontier"]
    assert math.isnan(row["frontier_probability"])
    assert row["robust_auroc_mean"] == 1.0
    assert answer(table, rests_on, 0.02).startswith("Boxes on 600 images")
    assert reason in " ".join(caveats(table, priced))


def test_marks_stand_in_the_tables_of_the_page(made: Made, tmp_path: Path) -> None:
    """Beside the cell that learned nothing, in HTML and Markdown, and beside no other."""
    spoiled = with_metric(with_scores(made, PLANTED), "val", "dice", {MASKS: [0.0] * 3})
    files = build_report(report_input(spoiled), tmp_path)
    for path in (files.page, files.text):
        assert path.read_text().count("not named: ") == 1
        assert "not named: the Dice on validation is 0" in path.read_text()
        assert "95 % interval" in path.read_text()


def test_training_that_does_not_move_is_marked(made: Made) -> None:
    """Every number of every epoch the same; a curve that moves at all is none."""
    still = made
    for split, metric in [(s, m) for s in ("val", "train") for m in _METRICS]:
        still = with_metric(still, split, metric, {MASKS: [0.7] * 3})
    _, table = tables(still)
    marked = table[table["unlearned"].notna()]
    assert marked[["specificity", "budget"]].to_numpy().tolist() == [["mask", "all"]]
    assert marked["unlearned"].tolist() == ["training did not move in 3 of 3 seeds"]


_METRICS = ("loss", "auroc", "robust_auroc", "dice")


def test_nothing_learned_or_defined_recommends_nothing(made: Made) -> None:
    """Two reasons, two sentences; the trials are counted."""
    chance = {one.key: [0.4, 0.41, 0.42] for one in made.planned}
    text = answered(with_metric(made, "val", "auroc", chance))
    assert text.startswith("No purchase is shown to have learned the abnormality")
    nowhere = with_scores(made, {one.key: [math.nan] * 3 for one in made.planned})
    assert "nothing can be recommended" in answered(nowhere)
    priced, table = tables(nowhere)
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


def test_weak_corners_are_named(made: Made) -> None:
    """Three seeds always; an AUROC of 0.95 where a class has 20 patients, not where it has 80."""
    planted = with_scores(made, PLANTED | {BOXES: [0.96, 0.95, 0.97]})
    notes = " ".join(caveats(*reversed(tables(planted))))
    assert "3 seeds per purchase are few: where training differs much" in notes
    assert "near 0 or 1" not in notes
    few = {
        trial: {name: replace(reading, cases=20) for name, reading in of.items()}
        for trial, of in readings(planted.epochs).items()
    }
    [weak] = [n for n in caveats(*reversed(tables(planted, readings=few))) if "near 0 or 1" in n]
    assert weak.endswith("in simulations): boxes on 600 images, trained with erm.")


def test_methods_that_are_given_groups_are_no_bound() -> None:
    """Each by name, also with options; where a method without groups is above, it says so."""
    dro = MethodChoice("group-dro", GroupDro(adjustment=2.0))
    planned = plan(("label",), budgets=("600",), methods=("erm", dro, "jtt", "resample"))
    scores = {
        ("label", "600", "erm"): [0.6, 0.61, 0.62],
        ("label", "600", "jtt"): [0.5, 0.5, 0.51],
        ("label", "600", str(dro)): [0.55, 0.56, 0.57],
        ("label", "600", "resample"): [0.7, 0.71, 0.72],
    }
    priced, table = tables(with_scores(make(planned), scores))
    assert set(table.loc[table["oracle"], "method"]) == {str(dro), "resample"}
    notes = " ".join(caveats(table, priced))
    assert "group-dro(adjustment=2.0), resample are given the groups" in notes
    assert (
        "in 1 pair, e.g. labels on 600 images, trained with erm, 0.61, above "
        "group-dro(adjustment=2.0), 0.56" in notes
    )
    assert "bound" not in notes
    key = ("label", "600", "erm")
    unlearned = with_metric(with_scores(make(planned), scores), "val", "auroc", {key: [0.4] * 3})
    assert "above" not in caveats(*reversed(tables(unlearned)))[0]


def test_the_only_purchase_is_not_the_best_of_many(made: Made) -> None:
    """Alone because others have no result, or because they are not ranked."""
    alone = replace(made, trials=made.trials[made.trials["specificity"] == "box"].iloc[:3])
    assert "is the only purchase with a result so far; its mean robust AUROC: 0." in answered(alone)
    chance = {one.key: [0.4, 0.4, 0.4] for one in made.planned if one.key != MASKS}
    text = answered(with_metric(with_scores(made, PLANTED), "val", "auroc", chance))
    assert text.startswith(
        "Masks on all images, trained with erm, is the only purchase that is shown to have "
        "learned the abnormality; its mean robust AUROC: 0.82 over 3 seeds"
    )
