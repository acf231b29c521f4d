"""What a plan recommends where scoring takes most of the time."""

from __future__ import annotations

import re
from typing import Any

import pytest
from tiny_sweeps import TEXT

from sweeps.plan.evaluation import evaluation_notes
from sweeps.plan.facts import generator_facts
from sweeps.plan.plan import Plan, make_plan
from sweeps.plan.render import as_dict, as_text
from sweeps.spec.model import GeneratorDataset, Spec, parse_spec

VAL, TEST, BUDGET, EPOCHS = 400, 1600, 40, 100
LONG = {
    "dataset.n_train": 4000,
    "dataset.n_val": VAL,
    "dataset.n_test": TEST,
    "axes.budget": [BUDGET],
    "train.epochs": EPOCHS,
}
"""2,000 images are scored after each epoch on 40."""


def planned(**overrides: Any) -> tuple[Plan, Spec]:
    """The sweep above with changes, and its plan."""
    changed = {key.replace("__", "."): value for key, value in overrides.items()}
    spec = parse_spec(TEXT, overrides={**LONG, **changed})
    assert isinstance(spec.dataset, GeneratorDataset)
    return make_plan(spec, generator_facts(spec.dataset)), spec


def recommended(**overrides: Any) -> list[tuple[str, int]]:
    """Option and value of every recommendation, with the percentage that it saves."""
    pattern = re.compile(r"train\.(\w+: \w+).* would save (?:about|up to) (\d+)%")
    found = [pattern.match(note) for note in evaluation_notes(*planned(**overrides))]
    return [(match[1], int(match[2])) for match in found if match]


def percent_saved(scored_before: float, scored_after: float, budget: int = BUDGET) -> int:
    """Of a trial, where training on an image takes as long as scoring three."""
    trained = 3 * budget * EPOCHS
    return round(100 * (scored_before - scored_after) / (trained + scored_before))


def test_both_options_are_recommended_with_what_they_save() -> None:
    """Ten evaluations are left of 100: 94 % of the time is scoring, and 85 % are saved."""
    before = EPOCHS * (VAL + TEST)
    assert recommended() == [
        ("score_test: candidates", percent_saved(before, EPOCHS * VAL + 2 * TEST)),
        ("evaluate_every: 10", percent_saved(before, before / 10)),
    ]
    [_, note] = evaluation_notes(*planned())
    assert "trains on 40 images, an evaluation scores 400 of validation and 1,600 of test" in note
    assert "one of 10 of 100" in note


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"axes__budget": [500]}, ["score_test: candidates", "evaluate_every: 4"]),
        ({"axes__budget": [1000]}, ["score_test: candidates"]),
        ({"axes__budget": [3000]}, []),
        ({"train__score_test": "candidates"}, ["evaluate_every: 10"]),
        ({"train__evaluate_every": 10}, ["score_test: candidates"]),
        ({"select__epoch": "best test.auroc"}, ["evaluate_every: 10"]),
        ({"select__epoch": "best val.auroc"}, ["score_test: candidates", "evaluate_every: 10"]),
        ({"train__epochs": 19}, ["score_test: candidates"]),
        ({"train__epochs": 20}, ["score_test: candidates", "evaluate_every: 2"]),
    ],
)
def test_what_is_recommended(overrides: dict[str, Any], expected: list[str]) -> None:
    """By budget, epochs, rule and what is set already; ten evaluations are left at least."""
    assert [option for option, _ in recommended(**overrides)] == expected


def test_a_recommendation_is_taken() -> None:
    """A spec that follows both is planned, and has nothing more to be told."""
    plan, spec = planned(train__score_test="candidates", train__evaluate_every=10)
    assert plan.trials
    assert evaluation_notes(plan, spec) == []


def test_trials_that_are_done_and_unknown_datasets_need_no_advice() -> None:
    """There is nothing to save, or nobody knows what."""
    plan, spec = planned()
    assert evaluation_notes(plan.refreshed([trial.id for trial in plan.trials]), spec) == []
    assert evaluation_notes(make_plan(spec, None), spec) == []


def test_a_plan_prints_its_recommendations() -> None:
    """For people and for programs."""
    plan, spec = planned()
    found = evaluation_notes(plan, spec)
    assert as_dict(plan, spec)["notes"][-2:] == found
    for note in found:
        assert f"note: {note}" in as_text(plan, spec)
