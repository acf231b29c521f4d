"""Revisions: which trials' numbers have moved, and that no other id has."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from tiny_sweeps import TEXT

from spurious.config.options import SCIENCE_VERSION
from spurious.training.shared_models import SharedModel
from sweeps.plan import identity
from sweeps.plan.facts import generator_facts
from sweeps.plan.identity import (
    EarlierId,
    earlier_ids,
    hashed_text,
    resolve_config,
    revision_of,
    shared_model_id,
    trial_id,
)
from sweeps.plan.plan import Trial, fit_config, make_plan
from sweeps.spec.model import GeneratorDataset, parse_spec

COPIES = "copies of an image within an epoch are augmented apart"
DROPOUT = "it compares pixels before dropout, not after it"
TRAINING_IMAGES = 40
METHODS: tuple[dict[str, Any], ...] = (
    {"name": "erm"},
    {"name": "reweight"},
    {"name": "resample"},
    {"name": "group-dro"},
    {"name": "group-dro", "draw": "natural"},
    {"name": "cvar"},
    {"name": "jtt"},
    {"name": "jtt", "upsample": "weight", "factor": 1},
    {"name": "jtt", "upsample": "append", "factor": 1},
    {"name": "george"},
    {"name": "george", "draw": "groups"},
    {"name": "george", "first_balance": "classes"},
    {"name": "dfr"},
    {"name": "dfr", "first_balance": "classes"},
    {"name": "lff"},
    {"name": "cnc"},
    {"name": "ssl", "views": "flip"},
    {"name": "spl"},
)
GOLDEN = "3e136e41684c72be88a00892494b346693050ec9ede855bc1101dcebd3e1e115"
"""SHA-256 over the labels and ids of `trials()`, from before copies were augmented apart."""
ALWAYS = {"resample", "group-dro", "jtt", "jtt(upsample=append, factor=1)", "george(draw=groups)"}
"""Their epochs draw images twice, whatever the budget."""
_ERM = "flip unlabelled equal label / 20 / erm"
UNEQUAL = {"george(first_balance=classes)", "dfr(first_balance=classes)"}
"""Their first model's do, where the classes are of other sizes."""


def trials() -> Iterator[tuple[str, Trial, bool]]:
    """A label, a trial, and whether it draws augmented copies, by hand."""
    axes = {
        "specificity": ["label", "box"],
        "budget": [10, 20, 22, "all"],
        "method": list(METHODS),
        "seed": [0],
    }
    for augment, rest, balance in product(
        ("none", "flip"), ("unlabelled", "label"), ("equal", "natural")
    ):
        changes = {"axes": axes, "train.augment": augment, "rest": rest, "balance": balance}
        spec = parse_spec(TEXT, overrides=changes)
        assert isinstance(spec.dataset, GeneratorDataset)
        for trial in make_plan(spec, generator_facts(spec.dataset)).trials:
            label = f"{augment} {rest} {balance} {trial.cell}"
            yield label, trial, _draws_copies(trial, augment, rest, balance)


def _draws_copies(trial: Trial, augment: str, rest: str, balance: str) -> bool:
    specificity, budget, method = trial.cell.key
    pool_repeats = budget == "22"  # which leaves 18
    if method.startswith("ssl"):
        return pool_repeats
    if augment == "none":
        return False
    if rest == "label" and specificity != "label" and pool_repeats:
        return True
    return (
        method in ALWAYS
        or (method in UNEQUAL and (budget == "all" or balance == "natural"))
        or (method == "cnc" and budget != "10")  # one batch
    )


def test_ids_from_before_copies_were_augmented_apart_are_known() -> None:
    """Golden: revision 2, of exactly the trials whose numbers moved; their ids of before, too."""
    before, moved, expected = [], set(), set()
    for label, trial, copies in trials():
        earlier = earlier_ids(trial.config, trial.dataset_digest, TRAINING_IMAGES)
        before.append(f"{label} {earlier[0].id if earlier else trial.id}")
        if earlier:
            assert [old.reason for old in earlier] == [COPIES]
            moved.add(label)
        if copies:
            expected.add(label)
    assert moved == expected
    assert 100 < len(moved) < len(before) - 100
    assert hashlib.sha256("\n".join(before).encode()).hexdigest() == GOLDEN


def test_a_trial_that_two_changes_moved_has_two_earlier_ids() -> None:
    """A later change never renames an earlier revision."""
    overrides = {
        **{"axes.method": ["spl"], "axes.specificity": ["mask"], "axes.budget": [22]},
        **{"model.segmenter": "fcn-resnet50", "train.augment": "flip", "rest": "label"},
    }
    spec = parse_spec(TEXT, overrides=overrides)
    assert isinstance(spec.dataset, GeneratorDataset)
    trial = make_plan(spec, generator_facts(spec.dataset)).trials[0]
    of = trial.config, trial.dataset_digest, TRAINING_IMAGES
    first, second = earlier_ids(*of)
    assert [(first.id, first.reason), (second.id, second.reason)] == [
        (trial_id(*of, revision=1), DROPOUT),
        (trial_id(*of, revision=2), COPIES),
    ]
    assert trial.id == trial_id(*of, revision=3)


def test_a_shared_model_has_a_revision_of_its_own_numbers() -> None:
    """A first model is found again where a later step alone draws copies."""
    [config] = {trial.config for label, trial, _ in trials() if label == _ERM}
    before = shared_model_id(SharedModel("erm", config), "d" * 64)
    assert before == "e8127d553bf02897"
    train = dataclasses.replace(config.train, score_test="candidates")
    rarely = SharedModel("erm", dataclasses.replace(config, train=train))
    assert shared_model_id(rarely, "d" * 64) == before  # no such model is scored on test
    moved = shared_model_id(SharedModel("erm", config, augments_copies=True), "d" * 64)
    assert moved != before


def test_ids_from_before_a_change_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every revision below today's, and those of earlier versions of the science; each says why."""
    assert {*identity.SCIENCE_CHANGES} == {*range(2, SCIENCE_VERSION + 1)}
    spec = parse_spec(TEXT, overrides={"axes.method": ["spl"], "model.segmenter": "fcn-resnet50"})
    assert isinstance(spec.dataset, GeneratorDataset)
    facts = generator_facts(spec.dataset)
    [config] = {fit_config(spec, cell, 0) for cell in make_plan(spec, facts).cells}
    of = facts.digest, TRAINING_IMAGES
    [older] = earlier_ids(config, *of)
    assert older.id == trial_id(config, *of, revision=1) != trial_id(config, *of)
    assert older.reason == DROPOUT
    monkeypatch.setattr(identity, "SCIENCE_CHANGES", {2: "other seeds"})
    raised = dataclasses.replace(config, science_version=2)
    assert earlier_ids(raised, *of) == [
        older,
        EarlierId(trial_id(config, *of), "the science", "other seeds"),
    ]


@pytest.mark.parametrize("method", ["erm", "spl"])
@pytest.mark.parametrize("model", ["fcn-resnet50", "small-unet"])
def test_changed_numbers_of_one_combination_are_in_its_ids_alone(method: str, model: str) -> None:
    """Golden: SPL on an FCN took its pixels after dropout before; nothing else has changed."""
    spec = parse_spec(TEXT, overrides={"axes.method": [method], "model.segmenter": model})
    assert isinstance(spec.dataset, GeneratorDataset)
    plan = make_plan(spec, generator_facts(spec.dataset))
    texts = [
        hashed_text(
            resolve_config(
                trial.config, trial.dataset_digest, revision_of(trial.config, TRAINING_IMAGES)
            )
        )
        for trial in plan.trials
        if trial.cell.specificity.kind == "mask"
    ]
    assert texts
    for text in texts:
        assert ('"revision":2' in text) == ((method, model) == ("spl", "fcn-resnet50"))
        assert '"revision":1' not in text
