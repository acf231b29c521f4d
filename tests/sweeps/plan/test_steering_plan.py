"""Plans of methods that steer: which models they take, what is kept, and what it costs."""

from __future__ import annotations

from typing import Any

import pytest
from tiny_sweeps import FACTS, FILMS

from spurious.config.methods import METHODS
from spurious.config.models import SHOWING
from sweeps.errors import SpecError
from sweeps.plan.plan import make_plan
from sweeps.spec.model import Spec, parse_spec

FOLLOWED = {
    "layers": ["small-cnn", "four-block", "resnet18-small-stem"],
    "decoder": [
        {"name": "four-block", "decoder": "autoencoder"},
        {"name": "four-block", "decoder": "unet"},
    ],
}
"""Classifiers by what they show, as the message names them."""


def spec_of(method: Any, classifier: Any, kind: str = "mask", **further: Any) -> Spec:
    """One method at one specificity, with a classifier."""
    chosen = {"axes.specificity": [kind], "axes.method": [method], "model.classifier": classifier}
    return parse_spec(FILMS, overrides={**chosen, **further})


@pytest.mark.parametrize(("method", "part"), [("actdiff", "layers"), ("reconstruct", "decoder")])
def test_models_that_hide_what_is_read_are_dropped(method: str, part: Any) -> None:
    """With the reason; every classifier that the reason names is planned."""
    kind = METHODS[method]().takes[0]
    plan = make_plan(spec_of(method, "resnet50", kind), FACTS)
    assert not plan.trials
    reason = f"{method} reads the model's {part}, which 'resnet50' as it is set does not show; use "
    assert {text for _, text in plan.skipped} == {reason + SHOWING[part]}
    for classifier in FOLLOWED[part]:
        assert make_plan(spec_of(method, classifier, kind), FACTS).trials


@pytest.mark.parametrize("method", ["xbl", "care", "exbl"])
@pytest.mark.parametrize("architecture", ["test_vit", "crossvit_9_240"])
def test_transformers_have_no_maps(method: str, architecture: str) -> None:
    """Cells that read maps are dropped; a convolutional architecture is planned."""
    vit = {"name": "timm", "architecture": architecture}
    plan = make_plan(spec_of(method, vit), FACTS)
    reason = f"{method} reads the model's maps, which 'timm' as it is set does not show; use "
    assert not plan.trials
    assert {text for _, text in plan.skipped} == {reason + SHOWING["maps"]}
    assert make_plan(spec_of(method, {**vit, "architecture": "test_convnext"}), FACTS).trials


def test_a_classifier_is_trained_whatever_is_drawn() -> None:
    """Without a read-out, and kept by its AUROC; the same masks teach ERM a segmenter."""
    [steered, *_] = make_plan(spec_of("gradmask", "small-cnn"), FACTS).trials
    [taught, *_] = make_plan(spec_of("erm", "small-cnn"), FACTS).trials
    assert (steered.config.model_name, steered.config.readout) == ("small-cnn", None)
    assert steered.config.train.keep == "best val.auroc"
    assert taught.config.model_name == "small-unet"
    assert taught.config.readout is not None
    assert taught.config.train.keep == "best val.dice"
    assert not steered.cell.segments
    assert taught.cell.segments


def test_a_sweep_without_a_segmenter_drops_cells_that_need_one() -> None:
    """ERM has labels alone then, and rules and read-outs of segmenters bind nobody."""
    axes = {"axes.specificity": ["label", "mask"], "axes.method": ["erm", "gradmask"]}
    further = {"model.segmenter": None, "train.keep": "best val.accuracy"}
    spec = parse_spec(FILMS, overrides=axes | further)
    plan = make_plan(spec, FACTS)
    assert [str(cell) for cell in plan.cells] == ["label / 20 / erm", "mask / 20 / gradmask"]
    reasons = {str(cell): reason for cell, reason in plan.skipped}
    assert reasons["mask / 20 / erm"] == "erm trains a segmenter on mask, and there is none"
    with_one = parse_spec(FILMS, overrides={**axes, "train.keep": "last"})
    without = parse_spec(FILMS, overrides={**axes, "train.keep": "last", "model.segmenter": None})
    ids = {trial.id for trial in make_plan(with_one, FACTS).trials}
    assert {trial.id for trial in make_plan(without, FACTS).trials} < ids
    with pytest.raises(SpecError, match="erm trains a segmenter on mask; name one"):
        spec.model_for(plan.skipped[-1][0].specificity, spec.axes.method[0])
    with pytest.raises(SpecError, match=r"keep: .*mask has no accuracy"):
        parse_spec(FILMS, overrides={**axes, "train.keep": "best val.accuracy"})


def test_rules_of_segmenters_are_refused() -> None:
    """A classifier has no Dice; the message's remedy is taken."""
    wrong = {"train.keep": "best val.dice"}
    with pytest.raises(SpecError, match=r"mask under gradmask has no dice.*mean 'auto'"):
        spec_of("gradmask", "small-cnn", **wrong)
    assert spec_of("gradmask", "small-cnn", **{"train.keep": "auto"})


def test_crosses_have_masks_of_both_labels() -> None:
    """So that negative ones may steer, and cost; squares have none of theirs."""
    lesions = {"negatives": "lesion"}
    assert spec_of("actdiff", "small-cnn", dataset={"name": "crosses"}, **lesions)
    with pytest.raises(SpecError, match="negative images of gaussian-squares have no masks"):
        spec_of("actdiff", "small-cnn", dataset={"name": "gaussian-squares"}, **lesions)
