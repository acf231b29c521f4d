"""Correct-n-contrast: the contrastive loss, the batches that it needs, and the two stages."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from small_data import fit_config, fitted, no_weights, numbers, squares, values, weights

from spurious.config.machine import Machine
from spurious.config.methods import Cnc
from spurious.config.options import FitConfig
from spurious.data.dataset import Dataset
from spurious.data.sampling import in_batches
from spurious.fit import _problem
from spurious.methods.base import TrainingProblem
from spurious.methods.cnc import (
    CorrectNContrast,
    anchors,
    at_most,
    contrastive_loss,
    draw_contrasts,
    equal_parts,
)
from spurious.training import checkpoint
from spurious.training.loop import Hooks
from spurious.training.objective import Forward
from spurious.training.shared_models import SharedModel

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread(torch_settings: None) -> None:
    """As fits run here."""
    torch.set_num_threads(1)


def with_cnc(config: FitConfig, **options: Any) -> FitConfig:
    """A configuration with this method."""
    return replace(config, method_name="cnc", method=Cnc(**options))


def problem_of(dataset: Dataset, config: FitConfig) -> TrainingProblem:
    """What a fit gives the method."""
    return _problem(dataset, config, Machine(), no_weights)


def naive(
    z: NDArray[np.float64], positive: NDArray[np.bool_], negative: NDArray[np.bool_], t: float
) -> float:
    """The loss anchor by anchor, as the paper writes it."""
    losses = []
    for i in range(len(z)):
        plus, minus = np.flatnonzero(positive[i]), np.flatnonzero(negative[i])
        if not len(plus) or not len(minus):
            continue
        cosines = [z[i] @ x / (np.linalg.norm(z[i]) * np.linalg.norm(x)) for x in z]
        below = sum(math.exp(cosines[j] / t) for j in (*plus, *minus))
        terms = [-math.log(math.exp(cosines[j] / t) / below) for j in plus]
        losses.append(sum(terms) / len(terms))
    return sum(losses) / len(losses) if losses else 0.0


@settings(max_examples=40)
@given(st.integers(1, 14), st.integers(1, 6), st.integers(0, 999), st.sampled_from([0.05, 0.1, 1]))
def test_the_loss_equals_a_plain_computation(
    count: int, width: int, seed: int, temperature: float
) -> None:
    """For any labels and predictions, to 1e-6 where similarities, which are over t, are about 1."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(count, width)).astype(np.float32).astype(np.float64)
    y, p = rng.integers(0, 2, size=(2, count))
    positive = (y[:, None] == y) & (p[:, None] != p)
    negative = (y[:, None] != y) & (p[:, None] == p)
    found = contrastive_loss(
        torch.from_numpy(z), torch.from_numpy(positive), torch.from_numpy(negative), temperature
    )
    expected = naive(z, positive, negative, temperature)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(expected, rel=1e-6, abs=1e-6 / temperature)


def test_the_loss_by_hand() -> None:
    """A positive of the same direction and a negative at a right angle, at temperature 1."""
    z = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 0.5]])
    positive, negative = torch.zeros(2, 3, 3, dtype=torch.bool)
    positive[0, 1] = negative[0, 2] = True
    found = contrastive_loss(z, positive, negative, 1.0)
    assert found.item() == pytest.approx(-math.log(math.e / (math.e + 1)))


def test_an_image_without_positive_or_negative_is_no_anchor() -> None:
    """It counts in no mean, and without any anchor loss and gradient are zero, not NaN."""
    z = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    positive, negative = torch.zeros(2, 4, 4, dtype=torch.bool)
    positive[0, 1] = positive[2, 3] = negative[1, 2] = True
    loss = contrastive_loss(z, positive, negative, 1.0)
    loss.backward()
    assert loss.item() == 0.0
    assert z.grad is not None
    assert (z.grad == 0).all()
    negative[0, 3] = True
    alone = contrastive_loss(z, positive, negative, 1.0)
    expected = naive(z.detach().double().numpy(), positive.numpy(), negative.numpy(), 1.0)
    assert alone.item() == pytest.approx(expected, rel=1e-5)


def test_marks_beyond_the_limit_are_dropped() -> None:
    """The first ones of each row stay."""
    pairs = torch.tensor([[1, 0, 1, 1], [0, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1]]).bool()
    kept = at_most(pairs, 2).int().tolist()
    assert kept == [[1, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0], [1, 1, 0, 0]]
    assert torch.equal(at_most(pairs, 4), pairs)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=4), st.integers(1, 90))
def test_parts_are_as_equal_as_cells_allow(sizes: list[int], wanted: int) -> None:
    """All that is wanted or there is; a cell gets clearly less than another only where it ends."""
    parts = equal_parts(sizes, wanted)
    assert sum(parts) == min(wanted, sum(sizes))
    assert all(0 <= part <= size for part, size in zip(parts, sizes, strict=True))
    for part, size in zip(parts, sizes, strict=True):
        assert part == size or part >= max(parts) - 1


@given(st.integers(2, 60), st.integers(1, 20), st.integers(0, 99))
def test_batches_hold_cells_in_equal_parts(count: int, size: int, seed: int) -> None:
    """Without an image twice; an epoch draws as many as there are, each epoch others."""
    rng = np.random.default_rng(seed)
    cells = rng.choice(4, size=count, p=[0.6, 0.3, 0.06, 0.04])
    order = draw_contrasts(cells, size)
    drawn = order(np.random.default_rng(seed))
    assert drawn.dtype == np.int64
    assert len(drawn) == count
    assert drawn.tolist() == order(np.random.default_rng(seed)).tolist()
    counts = {cell: (cells == cell).sum() for cell in set(cells.tolist())}
    for start in range(0, count, size):
        batch = drawn[start : start + size]
        assert len(set(batch.tolist())) == len(batch)
        parts = {cell: (cells[batch] == cell).sum() for cell in counts}
        assert all(parts[c] == counts[c] or parts[c] >= max(parts.values()) - 1 for c in counts)


def test_anchors_have_a_positive_and_a_negative() -> None:
    """With one kind of error only the errors have both; without errors nobody has."""
    labels = np.array([0, 0, 0, 1, 1, 1])
    one_sided = np.array([0, 0, 1, 1, 1, 1])
    assert anchors(labels, one_sided).tolist() == [False, False, True, False, False, False]
    assert anchors(labels, np.array([0, 0, 1, 0, 1, 1])).all()
    assert not anchors(labels, labels).any()
    assert not anchors(labels, 1 - labels).any()
    assert not anchors(labels, np.zeros(6, dtype=np.int64)).any()


def test_the_loss_of_a_batch() -> None:
    """Cells are of labels and predictions by position; limits and weight are the options'."""
    dataset = squares()
    options = Cnc(contrast_weight=0.6, temperature=0.2, positives=2, negatives=1)
    problem = problem_of(dataset, replace(fit_config("label"), method_name="cnc", method=options))
    labels = problem.training.labels
    predicted = np.where(np.arange(21) % 3 == 0, 1 - labels, labels)
    positions = np.random.default_rng(0).permutation(21)[:12]
    (batch,) = problem.training.batches([positions], epoch=1)
    model = problem.build()
    with torch.no_grad():
        found = CorrectNContrast(problem.supervision, options, predicted).loss(
            Forward(model, CPU, False), batch
        )
        embedded = model.embedded(batch.x)
    y, p = labels[positions], predicted[positions]
    positive, negative = np.zeros((2, 12, 12), dtype=bool)
    for i in range(12):
        alike = [j for j in range(12) if y[j] == y[i] and p[j] != p[i]]
        unlike = [j for j in range(12) if y[j] != y[i] and p[j] == p[i]]
        positive[i, alike[:2]] = negative[i, unlike[:1]] = True
    contrast = naive(embedded.images.double().numpy(), positive, negative, 0.2)
    logits = embedded.logits.double().numpy()
    supervised = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(12), y]
    assert positive.any(axis=1).sum() > 6
    assert found.item() == pytest.approx(0.6 * contrast + 0.4 * supervised.mean(), rel=1e-5)


def confounded(**changes: Any) -> Dataset:
    """Squares whose block almost tells the label."""
    options = {"spurious_given_positive": 0.9, "spurious_given_negative": 0.1, **changes}
    return squares(n_train=60, **options)


def stored(shared_models: list[SharedModel], state: dict[str, Any]) -> Hooks:
    """Hooks that have the first model already."""

    def give(stage: SharedModel, make: Any) -> bytes:
        shared_models.append(stage)
        return checkpoint.pack(state)

    return Hooks(shared_models=give)


def test_predictions_are_the_kept_model_s() -> None:
    """Neither those of the last epoch nor those made while training."""
    dataset, config = confounded(), with_cnc(fit_config("label", epochs=1), first_epochs=3)
    labels = dataset.labels[dataset.rows("train")]
    kept, last = (problem_of(dataset, config).build().state_dict() for _ in range(2))
    for state, cls in ((kept, 1), (last, 0)):
        state["head.weight"].zero_()
        state["head.bias"].copy_(torch.tensor([1.0 - cls, float(cls)]))
    shared_models: list[SharedModel] = []
    state = {"kept": kept, "last": last, "predicted": torch.from_numpy(labels)}
    outcome = fitted(dataset, config, stored(shared_models, state))
    assert [stage.kind for stage in shared_models] == ["erm"]
    assert shared_models[0].config.train.epochs == 3
    told = {row.metric: row.value for row in outcome.rows if row.metric.startswith("cnc_")}
    wrong = float((labels == 0).sum())
    assert told == {"cnc_errors_y0": wrong, "cnc_errors_y1": 0.0, "cnc_anchors": 0.0}


@pytest.mark.parametrize("keep", ["best val.loss", "best val.auroc", "last"])
def test_the_first_model_s_epoch_is_chosen_by_a_rule(keep: str) -> None:
    """By default the smallest loss, which judges the threshold that predictions are taken at."""
    assert Cnc().first_keep == "best val.loss"
    shared_models: list[SharedModel] = []
    dataset, config = confounded(), fit_config("label", epochs=1)
    problem = problem_of(dataset, config)
    state = {"kept": problem.build().state_dict(), "last": {}, "predicted": torch.zeros(60)}
    fitted(dataset, with_cnc(config, first_keep=keep), stored(shared_models, state))
    assert [stage.config.train.keep for stage in shared_models] == [keep]


def test_the_second_model_contrasts_by_these_predictions() -> None:
    """It begins anew, on batches of equal cells; a first model at hand decides the cells."""
    dataset, config = confounded(), with_cnc(fit_config("label", epochs=2, batch_size=8))
    problem = problem_of(dataset, config)
    first = problem.build().eval()
    with torch.no_grad():
        (images,) = problem.training.clean(60)
        logits = first(images.x)
        first.head.bias[1] -= (logits[:, 1] - logits[:, 0]).median()  # half of either class
        predicted = first(images.x).argmax(dim=1).numpy()
    labels = problem.training.labels
    assert anchors(labels, predicted).all()
    own = CorrectNContrast(problem.supervision, problem.config.method, predicted)
    order = draw_contrasts(2 * labels + predicted, 8)
    expected = problem.run(problem.build(), own, Hooks(), order)
    state = {"kept": first.state_dict(), "last": {}, "predicted": torch.zeros(60)}
    outcome = fitted(dataset, config, stored([], state))
    assert weights(outcome) == weights(expected)
    losses = [values(fit, "train", "loss").tolist() for fit in (outcome, expected)]
    assert losses[0] == losses[1]


def test_without_anchors_it_is_erm_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """The same bytes as ERM, and a remedy."""
    dataset, config = confounded(), fit_config("label", epochs=2)
    model = problem_of(dataset, config).build().state_dict()
    model["head.weight"].zero_()  # one class for every image
    state = {"kept": model, "last": model, "predicted": torch.zeros(60, dtype=torch.int64)}
    with caplog.at_level(logging.WARNING):
        outcome = fitted(dataset, with_cnc(config), stored([], state))
    assert "cnc is plain ERM here; lower first_epochs" in caplog.text
    outcome.rows = [row for row in outcome.rows if not row.metric.startswith("cnc_")]
    assert numbers(outcome) == numbers(fitted(dataset, config))


def test_it_fits_under_bfloat16() -> None:
    """Finite losses and metrics, an epoch of as many images as there are."""
    config = fit_config("label", epochs=3, batch_size=7, precision="bfloat16")
    outcome = fitted(confounded(), with_cnc(config, first_epochs=2))
    assert np.isfinite(values(outcome, "train", "loss")).all()
    assert np.isfinite(values(outcome, "test", "auroc")).all()
    assert outcome.images_trained == 3 * 60


def test_contrasting_by_the_block_makes_the_score_robust() -> None:
    """Where predictions are the block itself, the test's robust AUROC is well above ERM's."""
    dataset = squares(
        spurious_given_positive=0.97, spurious_given_negative=0.03, n_train=200, n_test=200
    )
    config = fit_config("label", epochs=12, batch_size=20, learning_rate=2e-2, evaluate_every=12)
    problem = problem_of(dataset, with_cnc(config))
    rows = dataset.rows("train")
    block = dataset.attributes[rows][:, 0].astype(np.int64)
    order = draw_contrasts(2 * dataset.labels[rows] + block, config.train.batch_size)
    sizes = [len(part) for part in in_batches(order(np.random.default_rng(0)), 20)]
    assert sizes == [20] * 10
    objective = CorrectNContrast(problem.supervision, problem.config.method, block)
    contrast = problem.run(problem.build(), objective, Hooks(), order)
    erm = fitted(dataset, config)
    robust = [values(outcome, "test", "robust_auroc")[-1] for outcome in (erm, contrast)]
    assert robust[1] > robust[0] + 0.3
