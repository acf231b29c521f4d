"""The training loop."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_data import (
    SMALL,
    fit_config,
    fitted,
    grey_squares,
    no_weights,
    numbers,
    squares,
    values,
    weights,
)

from spurious.config.datasets import GaussianSquares
from spurious.config.machine import Machine
from spurious.config.models import SmallCnn
from spurious.config.options import Train
from spurious.data.randomness import generator
from spurious.data.sampling import BatchSampler, in_batches
from spurious.data.training_set import TrainingSet
from spurious.errors import NumericalError
from spurious.fit import fit
from spurious.scoring.selection import parse_rule, select_epoch
from spurious.training.evaluate import Evaluation, Evaluator, MetricRow
from spurious.training.loop import Fit, Hooks, Loop, make_optimizer
from spurious.training.model import Embedded, Model
from spurious.training.models import build
from spurious.training.objective import Objective
from spurious.training.supervision import Classification

pytestmark = pytest.mark.usefixtures("torch_settings")
CPU = torch.device("cpu")


@given(st.integers(1, 60), st.integers(1, 20), st.integers(0, 9))
def test_batches_hold_every_image_once(count: int, size: int, seed: int) -> None:
    """Full batches, the rest in a last smaller one; a single image is never left alone."""
    found = list(in_batches(np.random.default_rng(seed).permutation(count), size))
    assert sorted(np.concatenate(found).tolist()) == list(range(count))
    sizes = [len(positions) for positions in found]
    assert all(n == size for n in sizes[:-1])
    if count % size == 1 and count > size > 1:
        assert sizes[-1] == size + 1
    elif size > 1:
        assert sizes[-1] == (count % size or size)
    assert sizes[-1] > 1 or count == 1


def test_batches_are_shuffled() -> None:
    """Each epoch and seed has another order, the same one the same order."""
    dataset, config = squares(), fit_config("label")
    images = TrainingSet(dataset, dataset.rows("train"), config.specificity, config.train, 0)

    def order(seed: int, epoch: int) -> list[int]:
        _, found = BatchSampler(images, 7, seed).epoch(epoch)
        return torch.cat([batch.positions for batch in found]).tolist()

    assert order(0, 1) == order(0, 1)
    assert len({tuple(order(*at)) for at in ((0, 1), (0, 2), (1, 1))}) == 3
    assert sorted(order(0, 1)) == list(range(21))
    assert order(0, 1) != list(range(21))


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_optimizer_options(optimizer: Any) -> None:
    """The named optimizer with its learning rate, decay and, for SGD, momentum."""
    config = Train(optimizer=optimizer, learning_rate=0.3, weight_decay=0.2, momentum=0.7)
    found = make_optimizer(torch.nn.Linear(2, 2).parameters(), config)
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
    assert type(found) is kinds[optimizer]
    (group,) = found.param_groups
    assert (group["lr"], group["weight_decay"]) == (0.3, 0.2)
    assert optimizer != "sgd" or group["momentum"] == 0.7


@pytest.mark.parametrize("kind", ["label", "mask"])
@pytest.mark.parametrize("augment", ["flip", "paper"])
def test_same_seed_same_bytes(kind: str, augment: str) -> None:
    """Twice the same numbers, with more augmentation threads too; another seed gives others."""
    dataset = grey_squares()
    config = fit_config(kind, augment=augment, epochs=2)
    torch.manual_seed(1)
    first = numbers(fitted(dataset, config))
    torch.manual_seed(2)
    np.random.seed(3)  # noqa: NPY002 (a fit may not read the global generators)
    again = fit(dataset, config, Machine(workers=3), Hooks(), no_weights)
    assert numbers(again) == first
    other = numbers(fitted(dataset, replace(config, seed=1)))
    assert other[0] != first[0]
    assert other[3] != first[3]


def test_rows_of_every_epoch() -> None:
    """A training loss each epoch; validation and test metrics each evaluated epoch and the last."""
    outcome = fitted(squares(), fit_config("mask", epochs=5, evaluate_every=2))
    train = [row for row in outcome.rows if row.split == "train"]
    losses = [(e, "loss") for e in range(1, 6)]
    assert [(row.epoch, row.metric) for row in train] == [*losses, (5, "variance_measure")]
    for split in ("val", "test"):
        for metric in ("loss", "auroc", "dice"):
            found = [r.epoch for r in outcome.rows if (r.split, r.metric) == (split, metric)]
            assert found == [2, 4, 5], (split, metric)
    assert outcome.images_trained == 5 * SMALL.n_train
    assert outcome.seconds_training > 0
    assert outcome.resumed_from_epoch == 0


def test_evaluating_does_not_change_training() -> None:
    """However often a fit is evaluated, the weights at its end are the same bytes."""
    dataset = squares()
    each, last = (
        weights(fitted(dataset, fit_config("mask", epochs=4, evaluate_every=every)))
        for every in (1, 4)
    )
    assert each == last


def test_progress_is_told() -> None:
    """Each epoch with its number, the number of epochs, and what was measured."""
    told: list[tuple[int, int, dict[str, float]]] = []
    hooks = Hooks(on_epoch=lambda *news: told.append(news))
    outcome = fitted(squares(), fit_config("label", epochs=3, evaluate_every=2), hooks)
    assert [(epoch, epochs) for epoch, epochs, _ in told] == [(1, 3), (2, 3), (3, 3)]
    assert set(told[0][2]) == {"train.loss", "train.images_per_second"}
    assert told[1][2]["val.auroc"] == values(outcome, "val", "auroc")[0]
    assert told[2][2]["train.loss"] == values(outcome, "train", "loss")[2]


def test_the_training_loss_is_the_mean_over_images() -> None:
    """Batches of other sizes weigh as many images as they hold."""
    dataset = squares(n_train=7)
    config = fit_config("label", epochs=1, batch_size=5, optimizer="sgd", learning_rate=1e-9)
    outcome = fitted(dataset, config)
    model = small_cnn()
    rows, losses = dataset.rows("train"), []
    with torch.no_grad():  # in training mode: batch statistics, as the loop has them
        for positions in in_batches(generator("order", 0, 1).permutation(7), 5):
            x = torch.from_numpy(dataset.images[rows[positions]]).permute(0, 3, 1, 2)
            y = torch.from_numpy(dataset.labels[rows[positions]])
            losses += Classification().losses(model(x), y).tolist()
    assert values(outcome, "train", "loss").tolist() == pytest.approx([np.mean(losses)], rel=1e-4)
    assert len(losses) == 7


class Line(Model):
    """A model with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Linear(1, 1)

    def embedded(self, x: torch.Tensor) -> Embedded:
        return Embedded(self.head(x), x, None)


SCORES = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, math.nan]), min_size=1, max_size=8)


@given(SCORES, st.sampled_from(["best val.auroc", "best val.loss", "best test.auroc", "last"]))
def test_the_kept_epoch_is_the_rule_s(scores: list[float], rule: str) -> None:
    """The loop keeps what `select_epoch` picks from the same rows; the first while undefined."""
    loop = Loop(Line(), Objective(Classification()), Train(keep=rule), 0, CPU)
    split, metric = rule.removeprefix("best ").split(".") if rule != "last" else ("val", "auroc")
    rows = []
    for epoch, value in enumerate(scores, start=1):
        loop.epoch = epoch
        with torch.no_grad():
            loop.model.head.weight.fill_(epoch)
        marked = {"val": np.array([float(epoch)])}
        loop._keep(Evaluation([MetricRow(epoch, split, metric, None, value)], marked))
        rows.append({"epoch": float(epoch), f"{split}.{metric}": value})
    expected = select_epoch(parse_rule(rule), rows) or 1
    assert loop.fit.kept_epoch == expected
    assert loop.fit.kept_state["head.weight"].item() == expected
    assert loop.fit.kept_scores["val"].tolist() == [expected]
    assert loop.fit.last_scores["val"].tolist() == [len(scores)]
    if rule != "last":
        assert loop.fit.kept_value == pytest.approx(scores[expected - 1], nan_ok=True)


def test_the_kept_state_is_that_epoch_s() -> None:
    """Keeping the first epoch of a long fit gives the weights and scores of a one-epoch fit."""
    dataset = squares()
    short = fitted(dataset, fit_config("mask", epochs=1))
    long = fitted(dataset, fit_config("mask", epochs=4, keep="best val.dice"))
    assert (values(long, "val", "dice") == 0).all()  # so the first one stays
    assert long.kept_epoch == 1
    assert weights(long) == weights(short)
    assert long.kept_scores["test"].tobytes() == short.last_scores["test"].tobytes()
    assert long.last_scores["test"].tobytes() != short.last_scores["test"].tobytes()


def small_cnn() -> Model:
    """An untrained classifier of the small images."""
    return build("small-cnn", SmallCnn(channels=4, levels=1), (16, 16, 1), 0, no_weights)


def train_labels(model: Model, epochs: int) -> Fit:
    """Run the loop on a given model."""
    dataset, config, supervision = squares(), fit_config("label", epochs=epochs), Classification()
    training = TrainingSet(dataset, dataset.rows("train"), config.specificity, config.train, 0)
    evaluator = Evaluator(dataset, config.specificity, supervision, config.train, CPU)
    loop = Loop(model, Objective(supervision), config.train, 0, CPU)
    return loop.run(BatchSampler(training, config.train.batch_size, 0), evaluator, Hooks())


def test_the_loop_trains_in_training_mode() -> None:
    """Whatever mode a model comes in: a second stage gets one that was just evaluated."""
    assert numbers(train_labels(small_cnn().eval(), 2)) == numbers(train_labels(small_cnn(), 2))


@pytest.mark.parametrize("at", [1, 3])
def test_a_nan_loss_is_a_numerical_error(at: int) -> None:
    """Training stops in the epoch where the loss breaks, and the error names it."""

    class Breaks(Model):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.steps = small_cnn(), 0

        def embedded(self, x: torch.Tensor) -> Embedded:
            self.steps += self.training
            whole: Embedded = self.model.embedded(x)
            # 21 images are four batches
            broken = self.steps > 4 * (at - 1)
            return whole._replace(logits=whole.logits * math.nan) if broken else whole

    with pytest.raises(NumericalError, match=rf"became nan in epoch {at}: .*learning rate"):
        train_labels(Breaks(), epochs=5)


def test_a_diverging_fit_is_a_numerical_error() -> None:
    """An absurd learning rate ends in an error, not in a result row."""
    config = fit_config("mask", epochs=30, optimizer="sgd", learning_rate=100.0, weight_decay=1.0)
    with pytest.raises(NumericalError):
        fitted(squares(), config)


@pytest.mark.parametrize("kind", ["label", "mask"])
def test_bfloat16_trains(kind: str) -> None:
    """Other numbers than float32, weights kept in float32, finite metrics."""
    dataset = squares()
    exact = fitted(dataset, fit_config(kind, epochs=2))
    rounded = fitted(dataset, fit_config(kind, epochs=2, precision="bfloat16"))
    assert np.isfinite(values(rounded, "train", "loss")).all()
    assert (values(rounded, "train", "loss") != values(exact, "train", "loss")).all()
    floats = {t.dtype for t in rounded.kept_state.values() if t.is_floating_point()}
    assert floats == {torch.float32}


@pytest.mark.parametrize("kind", ["label", "box"])
def test_erm_learns(kind: str) -> None:
    """On squares without a spurious feature a few epochs reach a validation AUROC above .95."""
    easy = GaussianSquares(
        image_size=16,
        abnormality_size=4,
        spurious_size=5,
        prevalence=0.5,
        spurious_given_positive=0.0,
        test_spurious=0.0,
        abnormality_mean=4.0,
        n_train=60,
        n_val=60,
        n_test=60,
    )
    config = fit_config(kind, epochs=20, evaluate_every=20, learning_rate=2e-2)
    outcome = fitted(squares(easy), config)
    assert values(outcome, "val", "auroc")[-1] > 0.95
    assert values(outcome, "test", "auroc")[-1] > 0.95
    losses = values(outcome, "train", "loss")
    assert losses[-1] < 0.7 * losses[0]
    if kind == "mask":
        assert values(outcome, "val", "dice")[-1] > 0.8
