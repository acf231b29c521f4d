"""Just train twice: errors of the first model, the up-sampled images, and the second model."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from small_data import fit_config, fitted, grey_squares, keeping, no_weights, squares, values

from spurious.config.fields import problems
from spurious.config.methods import Jtt
from spurious.config.options import FitConfig
from spurious.data.batches import Batch
from spurious.data.dataset import Dataset
from spurious.data.inputs import normalise_images
from spurious.data.randomness import generator
from spurious.data.training_set import TrainingSet
from spurious.methods import jtt
from spurious.methods.base import TrainingProblem
from spurious.training import checkpoint
from spurious.training.evaluate import Evaluator
from spurious.training.loop import Fit, Hooks
from spurious.training.models import build
from spurious.training.shared_models import SharedModel
from spurious.training.supervision import Classification

pytestmark = pytest.mark.usefixtures("torch_settings")
CPU = torch.device("cpu")
RULES = ("groups", "append", "weight", "balance")


class Recorded(TrainingSet):
    """A training set that keeps which positions each epoch was given."""

    drawn: list[list[int]]

    def batches(
        self, order: Sequence[NDArray[np.int64]], epoch: int, view: int = 0
    ) -> Iterator[Batch]:
        self.drawn.append(np.concatenate(order).tolist())
        return super().batches(order, epoch, view)


def problem_of(dataset: Dataset, config: FitConfig) -> tuple[TrainingProblem, Recorded]:
    """What a fit gives the method, with a training set that records; on one thread, as a fit."""
    torch.set_num_threads(1)
    of = config.specificity, config.train, config.seed
    training = Recorded(dataset, dataset.rows("train"), *of)
    training.drawn = []
    supervision = Classification()
    problem = TrainingProblem(
        config=config,
        training=training,
        rest=None,
        validation=TrainingSet(dataset, dataset.rows("val"), *of),
        evaluator=Evaluator(dataset, config.specificity, supervision, config.train, CPU),
        supervision=supervision,
        device=CPU,
        build=lambda: build("small-cnn", config.model, (16, 16, 1), config.seed, no_weights),
    )
    return problem, training


def by_jtt(config: FitConfig, **options: Any) -> FitConfig:
    """Just train twice, the first model of two epochs."""
    return replace(config, method_name="jtt", method=Jtt(**{"first_epochs": 2, **options}))


def stored(first: dict[str, Any]) -> Hooks:
    """Hooks that hold a first model and train none."""
    return Hooks(shared_models=lambda stage, make: checkpoint.pack(first))


def numbers(outcome: Fit) -> tuple[str, bytes, bytes]:
    """What a fit decides, bit for bit, but for what it tells of errors; NaN equals NaN."""
    rows = [row for row in outcome.rows if not row.metric.startswith("jtt")]
    state = b"".join(tensor.numpy().tobytes() for tensor in outcome.kept_state.values())
    return repr(rows), state, outcome.last_scores["test"].tobytes()


def times(labels: Sequence[int], wrong: Sequence[bool], rule: str, factor: int) -> list[list[int]]:
    """How often each image may come in an epoch: the fewest times, and the most."""
    count, errors = len(labels), sum(wrong)
    if rule == "groups":
        sizes = Counter(zip(labels, wrong, strict=True))
        largest = max(sizes.values())
        own = [sizes[key] for key in zip(labels, wrong, strict=True)]
        return [[largest // n for n in own], [-(-largest // n) for n in own]]
    of_an_error = {
        "append": 1 + factor,
        "weight": factor,
        "balance": 1 + max(int((count - errors) / errors) - 1, 0),
    }[rule]
    often = [of_an_error if error else 1 for error in wrong]
    return [often, often]


def check_epoch(
    drawn: Sequence[int], labels: Sequence[int], wrong: Sequence[bool], rule: str, factor: int
) -> None:
    """The multiset of an epoch's positions is the one that the rule says."""
    found = [Counter(drawn)[position] for position in range(len(labels))]
    fewest, most = times(labels, wrong, rule, factor)
    assert len(drawn) == sum(found)
    assert all(a <= n <= b for a, n, b in zip(fewest, found, most, strict=True))
    if rule == "groups":
        sizes = Counter(zip(labels, wrong, strict=True))
        totals: Counter[tuple[int, bool]] = Counter()
        for key, often in zip(zip(labels, wrong, strict=True), found, strict=True):
            totals[key] += often
        assert dict(totals) == dict.fromkeys(sizes, max(sizes.values()))


TEN = np.array([0, 1, 1, 0, 1, 0, 0, 1, 0, 1])
TWO = np.isin(np.arange(10), [2, 8])


@pytest.mark.parametrize(
    ("options", "length", "share"),
    [
        ({"upsample": "append", "factor": 5}, 20, 0.60),
        ({"upsample": "weight", "factor": 5}, 18, 0.5556),
        ({"upsample": "balance"}, 16, 0.5),
        ({"upsample": "groups"}, 16, 0.5),
    ],
)
def test_ten_images_with_two_errors(options: dict[str, Any], length: int, share: float) -> None:
    """Images an epoch and the errors' share of them."""
    drawn = jtt.upsample_errors(TEN, TWO, Jtt(**options))(generator("a", 1))
    assert len(drawn) == length
    assert TWO[drawn].mean() == pytest.approx(share, abs=5e-5)


def test_appending_is_all_images_and_factor_times_the_errors() -> None:
    """As a multiset, in another order each epoch."""
    order = jtt.upsample_errors(TEN, TWO, Jtt(upsample="append", factor=5))
    epochs = [order(generator("a", epoch)).tolist() for epoch in (1, 2)]
    assert [sorted(drawn) for drawn in epochs] == [sorted([*range(10), *[2, 8] * 5])] * 2
    assert epochs[0] != epochs[1]


def test_most_images_wrong_are_not_up_sampled_to_balance() -> None:
    """There is nothing to append, and nothing is taken away."""
    order = jtt.upsample_errors(TEN, ~TWO, Jtt(upsample="balance"))
    assert sorted(order(generator("a", 1)).tolist()) == list(range(10))


def test_remainders_of_groups_are_drawn_anew_each_epoch() -> None:
    """Three errors beside seven images: twice each, and one of them a third time."""
    labels, wrong = np.ones(10, dtype=np.int64), np.arange(10) < 3
    order = jtt.upsample_errors(labels, wrong, Jtt(upsample="groups"))
    thrice = set()
    for epoch in range(30):
        found = np.bincount(order(generator("a", epoch)), minlength=10)
        assert sorted(found[:3].tolist()) == [2, 2, 3]
        assert found[3:].tolist() == [1] * 7
        thrice.add(int(found[:3].argmax()))
    assert thrice == {0, 1, 2}


@given(
    st.lists(st.tuples(st.integers(0, 1), st.booleans()), min_size=1, max_size=40).filter(
        lambda drawn: any(wrong for _, wrong in drawn)
    ),
    st.sampled_from(RULES),
    st.integers(1, 7),
    st.integers(0, 99),
)
def test_any_errors_are_up_sampled_as_the_rule_says(
    drawn: list[tuple[int, bool]], rule: Any, factor: int, epoch: int
) -> None:
    """Classes without errors, with nothing but errors, or without images too."""
    labels, wrong = [y for y, _ in drawn], [error for _, error in drawn]
    options = Jtt(upsample=rule, factor=factor)
    order = jtt.upsample_errors(np.array(labels), np.array(wrong), options)
    found = order(generator("a", epoch))
    assert found.dtype == np.int64
    check_epoch(found.tolist(), labels, wrong, rule, factor)


def convolved(x: NDArray[Any], weight: NDArray[Any]) -> NDArray[Any]:
    """3 x 3 convolution with a border of zeros: (B, C, H, W) and (O, C, 3, 3) to (B, O, H, W)."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    return np.einsum("bchwij,ocij->bohw", windows, weight)


def numpy_logits(state: dict[str, torch.Tensor], x: NDArray[Any]) -> NDArray[Any]:
    """The small CNN with one halving in evaluation mode, (B, C, H, W) to (B, 2)."""
    of = {key: value.numpy().astype(np.float64) for key, value in state.items()}
    for level in (0, 1):
        if level:
            batch, channels, height, width = x.shape
            x = x.reshape(batch, channels, height // 2, 2, width // 2, 2).max(axis=(3, 5))
        for layer in (0, 3):
            block = f"encoder.blocks.{level}."
            x = convolved(x, of[f"{block}{layer}.weight"])
            norm = [
                of[f"{block}{layer + 1}.{name}"][None, :, None, None]
                for name in ("running_mean", "running_var", "weight", "bias")
            ]
            x = (x - norm[0]) / np.sqrt(norm[1] + 1e-5) * norm[2] + norm[3]
            x = np.maximum(x, 0.0)
    return x.mean(axis=(2, 3)) @ of["head.weight"].T + of["head.bias"]


@pytest.mark.parametrize("rule", RULES)
def test_a_fit_agrees_with_plain_numpy(rule: Any) -> None:
    """Errors of the last first model on clean images, and the multiset of every epoch."""
    dataset = grey_squares(spurious_given_positive=0.8, spurious_given_negative=0.2)
    config = fit_config("label", epochs=3, augment="flip")
    factor = 3 if rule in ("append", "weight") else Jtt.factor
    config = by_jtt(config, upsample=rule, factor=factor)
    problem, training = problem_of(dataset, config)
    shared_models: list[dict[str, Any]] = []

    def keep(stage: SharedModel, make: Any) -> bytes:
        data: bytes = make(Hooks())
        shared_models.append(checkpoint.unpack(data))
        return data

    outcome = jtt.fit(problem, config.method, Hooks(shared_models=keep))
    x = normalise_images(dataset.images[training.rows], "unit").numpy().astype(np.float64)
    logits = numpy_logits(shared_models[0]["last"], x)
    assert np.abs(logits[:, 1] - logits[:, 0]).min() > 1e-5  # no prediction hangs on rounding
    labels = dataset.labels[training.rows]
    wrong = logits.argmax(axis=1) != labels
    assert 0 < wrong.sum() < len(labels)
    first, second = training.drawn[:2], training.drawn[2:]
    assert [sorted(drawn) for drawn in first] == [list(range(21))] * 2
    assert len(second) == 3
    for drawn in second:
        check_epoch(drawn, labels.tolist(), wrong.tolist(), rule, factor)
    assert second[0] != second[1]
    assert outcome.images_trained == sum(len(drawn) for drawn in second)
    for label in (0, 1):
        found = values(outcome, "train", f"jtt_errors_y{label}")
        assert found.tolist() == [(wrong & (labels == label)).sum()]


def trained_states(dataset: Dataset) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Two models that differ in what they get wrong."""
    late, early = (
        fitted(dataset, fit_config("label", epochs=epochs, seed=seed)).kept_state
        for epochs, seed in ((2, 0), (1, 3))
    )
    return late, early


def test_which_predictions_count_as_errors() -> None:
    """`evaluation` looks with the last epoch's model, `training` at what that epoch logged."""
    dataset = squares(spurious_given_positive=0.8, spurious_given_negative=0.2)
    last, kept = trained_states(dataset)
    labels = dataset.labels[dataset.rows("train")]
    logged = np.where(np.arange(21) % 7 == 0, 1 - labels, labels)
    first = {"kept": kept, "last": last, "predicted": torch.from_numpy(logged)}
    images = dataset.images[dataset.rows("train")].transpose(0, 3, 1, 2)
    seen, other = (numpy_logits(state, images).argmax(axis=1) != labels for state in (last, kept))
    assert 0 < seen.sum() < 21
    assert len({seen.tobytes(), other.tobytes(), (logged != labels).tobytes()}) == 3
    for errors, wrong in (("evaluation", seen), ("training", logged != labels)):
        config = by_jtt(fit_config("label", epochs=1), errors=errors, upsample="append", factor=2)
        problem, training = problem_of(dataset, config)
        jtt.fit(problem, config.method, stored(first))
        (drawn,) = training.drawn
        assert sorted(drawn) == sorted([*range(21), *np.flatnonzero(wrong).tolist() * 2])


def test_without_errors_it_is_erm(caplog: pytest.LogCaptureFixture) -> None:
    """A warning, and the bytes of ERM: the second model begins where any model begins."""
    dataset, config = squares(), fit_config("label", epochs=3)
    labels = torch.from_numpy(dataset.labels[dataset.rows("train")])
    state = trained_states(dataset)[0]
    first = {"kept": state, "last": state, "predicted": labels}
    with caplog.at_level(logging.WARNING, logger="spurious.methods.jtt"):
        outcome = fitted(dataset, by_jtt(config, errors="training"), stored(first))
    assert "no error on the 21 training images" in caplog.text
    assert numbers(outcome) == numbers(fitted(dataset, config))
    for label in (0, 1):
        assert values(outcome, "train", f"jtt_errors_y{label}").tolist() == [0.0]
    caplog.clear()
    first["predicted"] = torch.where(torch.arange(21) % 2 == 0, labels, 1 - labels)
    other = fitted(dataset, by_jtt(config, errors="training"), stored(first))
    assert not caplog.text
    assert values(other, "train", "jtt_wrong_classes").tolist() == [0.0]
    assert numbers(other) != numbers(outcome)


def test_the_first_model_trains_by_its_own_options() -> None:
    """They make the stage that trials share; the second model's options do not."""
    asked: list[FitConfig] = []

    def keep(stage: SharedModel, make: Any) -> bytes:
        asked.append(stage.config)
        data: bytes = make(Hooks())
        return data

    config = fit_config("label", epochs=2)
    for options in ({}, {"upsample": "append", "factor": 3}, {"first_optimizer": "sgd"}):
        fitted(squares(), by_jtt(config, **options), Hooks(shared_models=keep))
    assert [found.method_name for found in asked] == ["erm"] * 3
    assert [found.train.epochs for found in asked] == [2] * 3
    assert asked[0] == asked[1]
    assert asked[2].train.optimizer == "sgd"
    assert Jtt().first_epochs == 30


def test_continuing_the_second_stage_equals_never_stopping() -> None:
    """From its last epoch, in bfloat16, with the first model trained again."""
    train = {"precision": "bfloat16", "channels_last": True, "keep": "best val.loss"}
    dataset = grey_squares(spurious_given_positive=0.8, spurious_given_negative=0.2)
    config = by_jtt(fit_config("label", epochs=4, **train), upsample="append", factor=4)
    saved: list[bytes] = []
    undisturbed = fitted(dataset, config, Hooks(save=keeping(saved)))
    assert undisturbed.images_trained > 4 * 21
    assert len(saved) == 3
    torch.manual_seed(7)
    continued = fitted(dataset, config, Hooks(resume=saved[2]))
    assert continued.resumed_from_epoch == 3
    assert numbers(continued) == numbers(undisturbed)
    assert numbers(fitted(dataset, replace(config, seed=1))) != numbers(undisturbed)


def test_an_error_set_that_is_a_class_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """Above 95 % of a class the errors are that class: a warning and a count, no refusal."""
    dataset, config = squares(), fit_config("label", epochs=1)
    labels = dataset.labels[dataset.rows("train")]
    state = trained_states(dataset)[0]
    for predicted, told in ((np.zeros(21), ["1"]), (1 - labels, ["0", "1"])):
        caplog.clear()
        first = {"kept": state, "last": state, "predicted": torch.from_numpy(predicted).long()}
        with caplog.at_level(logging.WARNING, logger="spurious.methods.jtt"):
            outcome = fitted(dataset, by_jtt(config, errors="training"), stored(first))
        assert f"more than 95 % wrong of the images of class {' and '.join(told)}" in caplog.text
        assert values(outcome, "train", "jtt_wrong_classes").tolist() == [len(told)]


def test_almost_a_whole_class_is_more_than_95_percent() -> None:
    """19 of 20 are not, 20 of 20 are; a class without an image is not wrong."""
    labels = np.repeat([0, 1], [40, 20])
    wrong = np.arange(60) >= 41
    assert jtt.wrong_classes(labels, wrong) == []
    wrong[40] = True
    assert jtt.wrong_classes(labels, wrong) == [1]
    assert jtt.wrong_classes(labels[:40], wrong[:40]) == []


@pytest.mark.parametrize("options", [{}, {"first_balance": "classes"}])
def test_a_first_model_may_see_classes_equally_often(options: dict[str, Any]) -> None:
    """Every epoch as many of each class as the larger has, and every image; a stage of its own."""
    dataset = squares(prevalence=0.3)
    problem, training = problem_of(dataset, by_jtt(fit_config("label", epochs=1), **options))
    kinds: list[str] = []

    def keep(stage: SharedModel, make: Any) -> bytes:
        kinds.append(stage.kind)
        data: bytes = make(Hooks())
        return data

    jtt.fit(problem, problem.config.method, Hooks(shared_models=keep))
    counts = np.bincount(training.labels)
    expected = [max(counts)] * 2 if options else counts.tolist()
    assert counts[0] != counts[1]
    for drawn in training.drawn[:2]:
        assert np.bincount(training.labels[drawn]).tolist() == expected
        assert set(drawn) == set(range(21))
    assert kinds == (["erm-classes"] if options else ["erm"])


def test_errors_are_of_the_last_epoch_alone() -> None:
    """So a rule for the first model's epoch would not be read, and is refused."""
    assert problems(Jtt()) == []
    [found] = problems(Jtt(first_keep="best val.loss"))
    assert found.startswith("first_keep is not read")
