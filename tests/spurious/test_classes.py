"""Classifiers of more than two classes: loss, metrics, what is refused, what stays as it was."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from classed_images import CLASSES, classed
from plain_steering import cross_entropies, network
from sklearn.metrics import accuracy_score, roc_auc_score
from small_data import fit_config, fitted, keeping, no_weights, numbers, values, with_arrays

from spurious.config.machine import Machine
from spurious.config.methods import METHODS
from spurious.config.models import Aggregation, SmallUnet
from spurious.config.options import Budget, FitConfig, Specificity
from spurious.data.budget import draw
from spurious.data.dataset import Dataset
from spurious.errors import ConfigError, DataError, Stopped
from spurious.fit import _problem, absent_groups, annotated_rows, group_rows
from spurious.scoring.metrics import macro_auroc
from spurious.training import explained
from spurious.training.explain import explain
from spurious.training.explained import ExplanationRequest, explain_test
from spurious.training.loop import ControlSignal, Hooks
from spurious.training.model import Model
from spurious.training.objective import Objective

pytestmark = pytest.mark.usefixtures("torch_settings")


def config(name: str = "erm", kind: str = "label", **train: Any) -> FitConfig:
    """A method with its defaults on the small CNN."""
    made = fit_config("label", **train)
    return replace(
        made,
        method_name=name,
        method=METHODS[name](),
        specificity=Specificity(kind),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("batch_size", [10, 4])
def test_losses_of_training_and_evaluation_are_those_of_a_plain_network(batch_size: int) -> None:
    """With a logit per class and BatchNorm, also of the last batch, which is smaller."""
    data, chosen = classed(train=23), config(epochs=1, batch_size=batch_size)
    problem = _problem(data, chosen, Machine(), no_weights)
    model = problem.build()
    state = {name: value.double().clone() for name, value in model.state_dict().items()}
    images = torch.from_numpy(np.array(data.images)).double().permute(0, 3, 1, 2)
    images = (images / 255 - 0.5) / 0.25
    split = torch.tensor([str(name) == "train" for name in data.splits])
    x = images[split]
    true = torch.from_numpy(data.answers(by_class=True).copy())[split]
    objective = Objective(problem.supervision)
    forward = problem.loop(model, objective).forward
    model.train()
    sizes, batches = problem.batch_sampler().epoch(1)
    assert len(set(sizes)) == 2
    for batch in batches:
        of = batch.positions
        expected = cross_entropies(network(state, x[of]).logits, true[of]).mean()
        got = objective.loss(forward, batch.to(torch.device("cpu"), torch.preserve_format))
        assert got.item() == pytest.approx(expected.item(), abs=1e-6)
    model.load_state_dict({name: value.float() for name, value in state.items()})
    evaluation = problem.evaluator(model, 1)
    test = torch.tensor([str(name) == "test" for name in data.splits])
    logits = network(state, images[test], running=True).logits
    true = torch.from_numpy(data.answers(by_class=True).copy())[test]
    assert evaluation.values()["test.loss"] == pytest.approx(
        cross_entropies(logits, true).mean().item(), abs=1e-6
    )
    weights = logits.exp()
    np.testing.assert_allclose(
        evaluation.probabilities["test"], weights / weights.sum(dim=1, keepdim=True), atol=1e-6
    )


def test_metrics_equal_those_of_scikit_learn() -> None:
    """Accuracy and macro AUROC over classes; AUROC and score of the abnormal class."""
    data = classed(train=40)
    outcome = fitted(data, config(epochs=2))
    for split in ("val", "test"):
        rows = data.rows(split)
        true = data.answers(by_class=True)[rows]
        found = outcome.last_probabilities[split]
        one_by_one = [roc_auc_score(true == k, found[:, k]) for k in range(len(CLASSES))]
        assert values(outcome, split, "macro_auroc")[-1] == pytest.approx(np.mean(one_by_one))
        assert values(outcome, split, "accuracy")[-1] == accuracy_score(true, found.argmax(1))
        assert (outcome.last_scores[split] == found[:, 1]).all()
        auroc = roc_auc_score(data.labels[rows], found[:, 1])
        assert values(outcome, split, "auroc")[-1] == pytest.approx(auroc)


def test_macro_auroc_without_a_class_is_undefined() -> None:
    """As any AUROC without an image of either kind; ties count one half."""
    probabilities = np.array([[0.2, 0.5, 0.3], [0.6, 0.2, 0.2], [0.2, 0.2, 0.6]])
    assert np.isnan(macro_auroc(np.array([0, 1, 1]), probabilities))
    expected = roc_auc_score(np.array([1, 0, 2]), probabilities, multi_class="ovr")
    assert macro_auroc(np.array([1, 0, 2]), probabilities) == pytest.approx(expected)


def test_several_abnormal_classes_share_the_score() -> None:
    """It is the sum of their probabilities."""
    data = classed()
    both = tuple(replace(each, positive=each.name in ("square", "bar")) for each in CLASSES)
    labels = np.isin(data.answers(by_class=True), (1, 2)).astype(np.int64)
    data = replace(with_arrays(data, labels=labels), classes=both)
    outcome = fitted(data, config(epochs=1))
    found = outcome.last_probabilities["test"]
    np.testing.assert_allclose(outcome.last_scores["test"], found[:, 1] + found[:, 2], atol=1e-7)


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_stopped_and_continued_equals_undisturbed(stop: int) -> None:
    """Bit for bit, probabilities of the kept epoch included."""
    data, chosen = classed(), config(epochs=4, keep="best val.macro_auroc", augment="flip")
    whole = fitted(data, chosen)
    saved: list[bytes] = []
    epochs: list[int] = []
    hooks = Hooks(
        save=keeping(saved),
        on_epoch=lambda epoch, *_: epochs.append(epoch),
        poll=lambda: ControlSignal.STOP if len(epochs) == stop else ControlSignal.CONTINUE,
    )
    with pytest.raises(Stopped):
        fitted(data, chosen, hooks)
    again = fitted(data, chosen, Hooks(resume=saved[-1]))
    assert numbers(again) == numbers(whole)
    assert again.kept_probabilities.keys() == {"val", "test"}
    for split, expected in whole.kept_probabilities.items():
        assert (again.kept_probabilities[split] == expected).all()


def test_segmenters_do_not_see_classes() -> None:
    """Masks of the abnormality against everything else, with every bit as without classes."""
    segmenting = replace(
        fit_config("mask", epochs=2),
        model_name="small-unet",
        model=SmallUnet(channels=4, levels=1),
        readout=Aggregation(),
    )
    assert numbers(fitted(classed(), segmenting)) == numbers(
        fitted(classed(labels_alone=True), segmenting)
    )


@pytest.mark.parametrize(("balance", "images"), [("equal", 8), ("natural", 10), ("natural", None)])
def test_budgets_are_drawn_by_labels(balance: Any, images: int | None) -> None:
    """So that a purchase of a size holds the same images with and without classes."""
    budget = Budget(images, balance)
    chosen = replace(config(), budget=budget)
    data = classed(train=40)
    rows = annotated_rows(data, chosen)
    expected = draw(data.labels[data.rows("train")], budget, data.digest, 0)
    assert (rows == data.rows("train")[expected]).all()


def test_groups_are_of_class_and_attribute() -> None:
    """Eight of four classes and one attribute; those without an image are counted."""
    data = classed(train=40)
    rows = data.rows("train")
    groups = group_rows(data, rows, "group-dro", None, by_class=True)
    pairs = {
        (int(c), int(s))
        for c, s in zip(data.answers(by_class=True)[rows], data.attributes[rows, 0], strict=True)
    }
    assert len(np.unique(groups)) == len(pairs)
    chosen = config("group-dro")
    assert absent_groups(data, chosen, groups).value == 8 - len(pairs)
    few = absent_groups(data, chosen, np.zeros(3, np.int64))
    assert few.value == 7


def refuse(name: str, kind: str) -> str:
    """What fitting a method of two classes raises."""
    with pytest.raises(ConfigError) as raised:
        fitted(classed(), config(name, kind, epochs=1))
    return str(raised.value)


def test_a_method_of_two_classes_is_refused() -> None:
    """Before it trains, with the classes that there are."""
    assert refuse("dfr", "label") == (
        "method dfr fits one logistic regression, which tells two classes apart, and this dataset "
        "has 4 classes (dot, square, bar, Nothing at all); stage it without them, or use another "
        "method"
    )
    assert "the contrast of two logits" in refuse("gradmask", "mask")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (classed(labels_alone=True), "the dataset has labels alone, and macro_auroc needs three"),
        (classed(val=3), "the validation split has no image of class Nothing at all"),
    ],
)
def test_a_rule_by_classes_needs_all_of_them(data: Dataset, words: str) -> None:
    """Refused before anything trains."""
    with pytest.raises(ConfigError, match=words):
        fitted(data, config(epochs=1, keep="best val.macro_auroc"))


def test_a_dataset_has_classes_and_numbers_or_neither() -> None:
    """One without the other is refused, and labels alone have no class to answer."""
    with pytest.raises(DataError, match="with classes has their numbers"):
        replace(classed(), class_numbers=None)
    with pytest.raises(DataError, match="labels alone"):
        classed(labels_alone=True).answers(by_class=True)


def test_the_model_has_a_logit_per_class() -> None:
    """And two on labels alone."""
    sizes = [
        len(_problem(data, config(), Machine(), no_weights).build().head.bias)  # type: ignore[arg-type]
        for data in (classed(), classed(labels_alone=True))
    ]
    assert sizes == [4, 2]


@pytest.mark.parametrize("positive", [(1,), (0, 3)])
def test_saliency_is_of_the_abnormal_classes(positive: tuple[int, ...]) -> None:
    """The gradient of their log-odds, whichever place among the classes they have."""
    data = classed(test=6)
    classes = tuple(replace(each, positive=n in positive) for n, each in enumerate(CLASSES))
    labels = np.isin(data.answers(by_class=True), positive).astype(np.int64)
    data = replace(with_arrays(data, labels=labels), classes=classes)
    problem = _problem(data, config(), Machine(), no_weights)
    model = problem.build().eval()
    asked: list[torch.Tensor] = []

    def listen(of: Model, x: torch.Tensor, **options: Any) -> dict[str, torch.Tensor]:
        maps = explain(of, x, **options)
        weights = {name: value.double() for name, value in model.state_dict().items()}
        shown = x.double().requires_grad_()
        p = network(weights, shown, running=True).logits.softmax(dim=1)[:, list(positive)].sum(1)
        expected = torch.autograd.grad((p.log() - (1 - p).log()).sum(), shown)[0].abs().sum(dim=1)
        torch.testing.assert_close(maps["saliency"].double(), expected, atol=1e-6, rtol=1e-4)
        asked.append(expected)
        return maps

    with mock.patch.object(explained, "explain", listen):
        explain_test(problem.evaluator, model, ExplanationRequest())
    assert sum(len(part) for part in asked) == 6
