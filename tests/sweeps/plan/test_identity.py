"""Trial ids: what is in them, what is not, and that they stay."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import pytest
from tiny_sweeps import TEXT, tiny

from spurious.config.methods import METHODS
from spurious.config.options import Train
from sweeps.plan.facts import generator_facts
from sweeps.plan.identity import (
    ADDED_LATER,
    HASHED,
    NOT_HASHED,
    hashed_text,
    resolve_config,
    trial_id,
)
from sweeps.plan.plan import DatasetFacts, fit_config, make_plan
from sweeps.spec.model import GeneratorDataset, Spec, parse_spec

GOLDEN = {
    "label-20-erm-s0": "0127aa2d3744d422",
    "label-20-erm-s1": "571e2eb33f62f09e",
    "mask-20-erm-s0": "e70c9d81f3b177a2",
    "mask-20-erm-s1": "b3b7a700b7af709b",
}
GOLDEN_TEXT = (
    '{"budget":{"balance":"equal","images":20},'
    '"dataset":"bc7132aabacc41a3e2186a1831787da53d7e6aac0b33e512005543446ee48df0",'
    '"method":{"name":"erm"},"model":{"channels":4,"levels":1,"name":"small-unet"},'
    '"readout":{"fraction":0.1,"name":"mean_prob","threshold":0.5},"science_version":1,"seed":0,'
    '"specificity":{"box_per":"component","kind":"mask","r":null},'
    '"train":{"augment":"none","batch_size":10,"epochs":3,"evaluate_every":1,'
    '"keep":"best val.dice","learning_rate":0.0005,"momentum":0.9,"normalise":"unit",'
    '"optimizer":"adam","precision":"float32","weight_decay":0.0}}'
)


def ids(spec: Spec) -> dict[str, str]:
    """Label to id of every trial."""
    assert isinstance(spec.dataset, GeneratorDataset)
    return {
        trial.label: trial.id for trial in make_plan(spec, generator_facts(spec.dataset)).trials
    }


def test_ids_are_what_they_were() -> None:
    """Ids of stored results never change: what a store holds stays found."""
    assert ids(tiny()) == GOLDEN


def test_an_id_is_the_hash_of_the_resolved_configuration() -> None:
    """The hashed text holds every default, resolved, and no `auto`."""
    spec = tiny()
    assert isinstance(spec.dataset, GeneratorDataset)
    plan = make_plan(spec, generator_facts(spec.dataset))
    [trial] = [trial for trial in plan.trials if trial.label == "mask-20-erm-s0"]
    text = hashed_text(resolve_config(trial.config, trial.dataset_digest, 1))
    assert text == GOLDEN_TEXT
    assert trial.id == hashlib.sha256(text.encode()).hexdigest()[:16]


def test_every_field_of_a_spec_is_hashed_or_known_not_to_be() -> None:
    """A new field of `Spec` is put on one of the two lists on purpose, and on one only."""
    fields = {field.name for field in dataclasses.fields(Spec)}
    assert fields <= {*HASHED, *NOT_HASHED}
    assert not set(HASHED) & set(NOT_HASHED)
    assert {*HASHED} == {"dataset", "axes", "balance", "rest", "negatives", "model", "train"}
    assert {*NOT_HASHED} == {
        *("name", "text", "store", "resources", "checkpoint", "embeddings", "select", "cost"),
        *("published", "overrides", "limits", "search", "explanations", "examples"),
        "keep",
    }


NOT_HASHED_CHANGES: dict[str, dict[str, Any]] = {
    "name": {"name": "other"},
    "store": {"store": "elsewhere"},
    "resources": {"resources.cpus": 2, "resources.threads": 2, "resources.gpus": 1},
    "checkpoint": {"checkpoint.every_epochs": 7, "checkpoint.keep": True},
    "embeddings": {"embeddings": True},
    "explanations": {"explanations": True},
    "examples": {"examples": 4},
    "keep": {"keep": "model"},
    "select": {
        "select.epoch": "last",
        "select.operating_point": {"sensitivity": 0.95},
        "select.margin": 0.1,
    },
    "cost": {
        "cost.wage_per_hour": 1,
        "cost.axis": ["training"],
        "cost.clicks.mask": 9,
        "cost.compute": {"node_types": {"small": {"dollars_per_hour": 1, "cpus": 2}}},
    },
    "limits": {
        "limits.trial_minutes": 1,
        "limits.cpu_hours": 2,
        "limits.trials": 3,
    },
    "published": {"published": "saab2022/figure3"},
}
"""A search is tried in `tests/sweeps/search/test_resolve.py`: its trials have other ids."""


@pytest.mark.parametrize("field", NOT_HASHED_CHANGES)
def test_what_is_not_hashed_leaves_ids_alone(field: str) -> None:
    """Prices, places, machines and rules of reading need no new trial."""
    changed = parse_spec(TEXT, overrides=NOT_HASHED_CHANGES[field])
    assert getattr(changed, field) != getattr(tiny(), field)
    assert ids(changed) == GOLDEN


def test_every_field_that_is_not_hashed_is_tried() -> None:
    """The test above covers the list, each with an override; text is tried below.

    The last does not exist yet.
    """
    assert {*NOT_HASHED_CHANGES, "text", "overrides", "search"} == {*NOT_HASHED}


def test_the_way_a_spec_is_written_leaves_ids_alone() -> None:
    """Comments, order of keys, 1 for 1.0 and a default written out change nothing."""
    text = "# a comment\ntrain: {epochs: 3, batch_size: 10, learning_rate: 0.0005, momentum: 0.9,"
    text += " weight_decay: 0, keep: auto}\n"
    other = parse_spec(text + TEXT.replace("train: {epochs: 3, batch_size: 10}\n", ""))
    assert ids(other) == GOLDEN
    assert ids(tiny(dataset__noise_sd=1)) == GOLDEN


HASHED_CHANGES: dict[str, dict[str, Any]] = {
    "dataset": {"dataset.seed": 1},
    "balance": {"balance": "natural"},
    "model": {"model.classifier.channels": 2, "model.segmenter.channels": 2},
    "train": {"train.learning_rate": 0.001},
}


@pytest.mark.parametrize("field", HASHED_CHANGES)
def test_what_is_hashed_changes_every_id(field: str) -> None:
    """Whatever may move numbers gives other trials."""
    changed = ids(parse_spec(TEXT, overrides=HASHED_CHANGES[field]))
    assert changed.keys() == GOLDEN.keys()
    assert not set(changed.values()) & set(GOLDEN.values())


@pytest.mark.parametrize(
    "overrides",
    [
        {"axes.seed": [2]},
        {"axes.budget": [18]},
        {"axes.budget": ["all"]},
        {"axes.specificity": ["box", {"r": 4}, {"box": "image"}]},
    ],
)
def test_other_axes_are_other_trials(overrides: dict[str, Any]) -> None:
    """Seed, budget and specificity are in the id, and no two cells share one."""
    spec = parse_spec(TEXT, overrides=overrides)
    changed = ids(spec)
    assert len(set(changed.values())) == len(changed)
    assert not set(changed.values()) & set(GOLDEN.values())


def test_a_read_out_is_in_the_ids_of_segmented_trials_only() -> None:
    """An option that a classifier does not have is not in its id."""
    changed = ids(tiny(model__readout="max_prob"))
    assert {label for label in GOLDEN if changed[label] != GOLDEN[label]} == {
        "mask-20-erm-s0",
        "mask-20-erm-s1",
    }


def test_a_third_class_of_pixels_is_in_the_ids_of_segmented_trials_only() -> None:
    """A classifier sees no masks, so what those of negative images are is no part of it."""
    text = TEXT[: TEXT.index("dataset:")] + "dataset: lesions\n" + TEXT[TEXT.index("axes:") :]
    facts = DatasetFacts("lesions", "5a" * 32, (16, 16, 1), None)
    before, after = (
        {
            trial.label: trial.id
            for trial in make_plan(parse_spec(text, overrides={"negatives": value}), facts).trials
        }
        for value in ("background", "lesion")
    )
    assert before == {trial.label: trial.id for trial in make_plan(parse_spec(text), facts).trials}
    changed = {label for label in before if before[label] != after[label]}
    assert changed == {"mask-20-erm-s0", "mask-20-erm-s1"}


def test_all_images_are_one_trial_under_either_balance() -> None:
    """`all` has its natural prevalence, so balance is no part of it."""
    assert ids(tiny(axes__budget=["all"])) == ids(tiny(axes__budget=["all"], balance="natural"))


def test_an_override_of_one_specificity_is_resolved_into_its_ids() -> None:
    """`per_specificity` gives the id that the value at the top gives, to that specificity alone."""
    nested = ids(tiny(train__per_specificity={"mask": {"epochs": 9}}))
    top = ids(tiny(train__epochs=9))
    assert nested["mask-20-erm-s0"] == top["mask-20-erm-s0"]
    assert nested["label-20-erm-s0"] == GOLDEN["label-20-erm-s0"]


def test_the_science_version_is_in_the_id() -> None:
    """Raising it by hand gives every trial another id."""
    spec = tiny()
    assert isinstance(spec.dataset, GeneratorDataset)
    facts = generator_facts(spec.dataset)
    cell = make_plan(spec, facts).cells[0]
    config = fit_config(spec, cell, 0)
    raised = dataclasses.replace(config, science_version=config.science_version + 1)
    of = facts.digest, facts.training_images
    assert trial_id(raised, *of) != trial_id(config, *of)


def test_a_key_added_later_is_left_out_at_its_old_value() -> None:
    """A new option keeps every earlier id; another value of it does not."""
    before = {"seed": 0, "train": {"epochs": 3}}
    later = {"train.dropout": 0.0, "cutmix": None}
    old = {"seed": 0, "train": {"epochs": 3, "dropout": 0.0}, "cutmix": None}
    new = {"seed": 0, "train": {"epochs": 3, "dropout": 0.5}, "cutmix": None}
    assert hashed_text(old, later) == hashed_text(before, later) == hashed_text(before, {})
    assert hashed_text(new, later) != hashed_text(before, later)
    assert hashed_text(old, {}) != hashed_text(before, {})


def test_what_has_been_added_later() -> None:
    """Golden: an entry goes in together with its option, and never goes out or changes again."""
    assert dict(ADDED_LATER) == {
        "method.adjust_pairs": "both",
        "method.centre_by": "class",
        "method.compared": "before_relu",
        "method.first_balance": "natural",
        "method.first_keep": "best val.auroc",
        "method.gradient_factor": "one",
        "method.scale_by": "val",
        "negatives": "background",
        "readout.area": 0,
        "rest": None,
        "revision": 1,
        "train.accumulate": 1,
        "train.channels_last": False,
        "train.compile": False,
        "train.deterministic": True,
        "train.fused": False,
        "train.score_test": "every",
    }


def test_rows_leave_out_what_was_added_since() -> None:
    """At its old value alone; a result's row of today is the one from before."""
    every, candidates = (
        resolve_config(fit_config(spec, cell, 0), "d" * 64, 1)["train"]
        for spec in (tiny(), tiny(train__score_test="candidates"))
        for cell in make_plan(spec, None).cells[:1]
    )
    assert "score_test" not in every
    assert candidates == {**every, "score_test": "candidates"}


def test_what_was_added_has_its_old_value_by_default() -> None:
    """A spec that names none of it has the ids from before."""
    train = dataclasses.asdict(Train())
    for dotted, old in ADDED_LATER.items():
        if dotted.startswith("train."):
            assert train[dotted.removeprefix("train.")] == old
    assert parse_spec(TEXT).rest is ADDED_LATER["rest"]
    assert parse_spec(TEXT).negatives == ADDED_LATER["negatives"]
    for name, option in (
        *(("george", "adjust_pairs"), ("george", "centre_by")),
        *(("lff", "gradient_factor"), ("dfr", "scale_by")),
    ):
        assert getattr(METHODS[name](), option) == ADDED_LATER[f"method.{option}"]
    for name in ("jtt", "george", "dfr"):
        first = METHODS[name]()
        assert first.first_balance == ADDED_LATER["method.first_balance"]
        assert first.first_keep == ADDED_LATER["method.first_keep"]


def test_a_number_that_is_none_has_no_id() -> None:
    """NaN has no canonical text and is refused instead of hashed."""
    with pytest.raises(ValueError, match="JSON"):
        hashed_text({"train": {"learning_rate": float("nan")}})
