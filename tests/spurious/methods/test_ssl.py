"""Seg-SSL: two views of unlabelled images, the teacher, and its pseudo-masks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_data import (
    copy_array,
    fit_config,
    fitted,
    grey_squares,
    keeping,
    no_weights,
    numbers,
    squares,
    values,
    weights,
    with_arrays,
)

from spurious.config.machine import Machine
from spurious.config.methods import Ssl
from spurious.config.models import SmallUnet
from spurious.config.options import Budget, FitConfig, WeakLabels
from spurious.data.dataset import Dataset
from spurious.data.sampling import BatchSampler
from spurious.data.training_set import TrainingSet
from spurious.errors import ConfigError
from spurious.fit import _problem, rest_rows
from spurious.methods.base import TrainingProblem
from spurious.methods.ssl import PseudoMasks, TwoViews, predicted_masks, view_losses
from spurious.training import checkpoint
from spurious.training.loop import Hooks
from spurious.training.objective import Forward
from spurious.training.shared_models import SharedModel

CPU = torch.device("cpu")
BUDGET = Budget(8, "natural")
"""Drawn without a look at labels, so that these may be spoilt."""


@pytest.fixture(autouse=True)
def one_thread(torch_settings: None) -> None:
    """As fits run here."""
    torch.set_num_threads(1)


def with_ssl(config: FitConfig, labels: bool = False, **options: Any) -> FitConfig:
    """A configuration with this method on a budget, flips as views; with labels of the rest."""
    options = {"views": "flip", **options}
    rest = WeakLabels() if labels else None
    return replace(config, method_name="ssl", method=Ssl(**options), budget=BUDGET, rest=rest)


def problem_of(dataset: Dataset, config: FitConfig) -> TrainingProblem:
    """What a fit gives the method."""
    return _problem(dataset, config, Machine(), no_weights)


def rest_of(problem: TrainingProblem) -> TrainingSet:
    """Images beyond the budget."""
    assert problem.rest is not None
    return problem.rest


class Kept:
    """Stages that are made once and kept, as a store keeps them."""

    def __init__(self) -> None:
        self.results: dict[SharedModel, bytes] = {}
        self.made: list[str] = []

    def __call__(self, stage: SharedModel, make: Callable[[Hooks], bytes]) -> bytes:
        if stage not in self.results:
            self.made.append(stage.kind)
            self.results[stage] = make(Hooks())
        return self.results[stage]


def test_the_loss_of_two_views_by_hand() -> None:
    """45 degrees cost .292893, the same direction nothing, the opposite one 2."""
    first = torch.tensor([[1.0, 0.0], [2.0, 2.0], [1.0, 0.0]])
    second = torch.tensor([[1.0, 1.0], [5.0, 5.0], [-3.0, 0.0]])
    found = view_losses(first, second).tolist()
    assert found == pytest.approx([0.292893, 0.0, 2.0], abs=1e-6)


@settings(max_examples=30)
@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3), st.integers(0, 99))
def test_lengths_do_not_matter(a: float, b: float, seed: int) -> None:
    """Embeddings of other lengths cost the same; bfloat16 ones are compared in float32."""
    first, second = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(seed))
    expected = view_losses(first, second)
    torch.testing.assert_close(view_losses(a * first, b * second), expected, rtol=0, atol=1e-5)
    assert view_losses(first.bfloat16(), second.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize("views", ["flip", "paper"])
def test_companions_come_in_two_views(views: Any) -> None:
    """The same images augmented by other draws; the first view is what it is without the second."""
    problem = problem_of(grey_squares(), with_ssl(fit_config("mask", augment="flip")))
    rest = rest_of(problem).under(views)

    def drawn(two_views: bool) -> list[Any]:
        _, batches = BatchSampler(problem.training, 3, 0, rest=rest, two_views=two_views).epoch(2)
        return list(batches)

    differing = 0
    for batch, alone in zip(drawn(True), drawn(False), strict=True):
        assert torch.equal(batch.x, alone.x)
        assert torch.equal(batch.rest.x, alone.rest.x)
        assert torch.equal(batch.rest.positions, alone.rest.positions)
        assert alone.rest.second is None
        assert batch.rest.second.x.shape == batch.rest.x.shape
        again = next(iter(rest.batches([batch.rest.positions.numpy()], 2, view=1)))
        assert torch.equal(batch.rest.second.x, again.x)
        differing += int((batch.rest.second.x != batch.rest.x).flatten(1).any(dim=1).sum())
    assert differing > 0
    moved = batch.to(CPU, torch.channels_last).rest.second
    assert moved.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(moved, batch.rest.second.x)


def test_pseudo_masks_are_packed_and_unpacked() -> None:
    """Sides that fill no whole bytes too; empty ones are known."""
    rng = np.random.default_rng(0)
    parts = [rng.random((n, 5, 7)) < 0.3 for n in (3, 2)]
    parts[1][0] = False
    found = PseudoMasks(parts)
    assert (found[np.array([4, 0, 3])] == np.concatenate(parts)[[4, 0, 3]]).all()
    assert found.positive.tolist() == [True, True, True, False, True]


def test_pseudo_masks_are_augmented_with_their_image() -> None:
    """A flipped image has the flipped mask; the set that they came from stays as it was."""
    rest = rest_of(problem_of(squares(), with_ssl(fit_config("mask"))))
    masks = np.random.default_rng(0).random((len(rest), 16, 16)) < 0.5
    given_masks = rest.under("flip", PseudoMasks([masks]))
    (batch,) = given_masks.batches([np.arange(len(rest))], epoch=1)
    (clean,) = given_masks.clean(99)
    assert (clean.targets.numpy() == masks).all()
    flipped = 0
    for image, target, stored, mask in zip(batch.x, batch.targets, clean.x, masks, strict=True):
        mirrored = not torch.equal(image, stored)
        flipped += mirrored
        assert (target.numpy() == (mask[:, ::-1] if mirrored else mask)).all()
    assert 0 < flipped < len(rest)
    assert (rest.targets, rest.config.augment) == (None, "none")


@pytest.mark.parametrize("pseudo", [False, True])
def test_the_loss_of_a_step(pseudo: bool) -> None:
    """Cross-entropy over annotated images, with pseudo-masks over both, plus the similarity."""
    problem = problem_of(squares(), with_ssl(fit_config("mask")))
    rest = rest_of(problem)
    masks = np.random.default_rng(0).random((len(rest), 16, 16)) < 0.2
    rest = rest.under("flip", PseudoMasks([masks]) if pseudo else None)
    _, batches = BatchSampler(problem.training, 5, 0, rest=rest, two_views=True).epoch(1)
    batch = next(batches).to(CPU, torch.preserve_format)
    model = problem.build()
    with torch.no_grad():
        found = TwoViews(problem.supervision, 0.7, pseudo).loss(Forward(model, CPU, False), batch)
        assert batch.rest is not None
        assert batch.rest.second is not None
        output = model.embedded(torch.cat([batch.x, batch.rest.x, batch.rest.second]))
        logits, deep = output.logits, output.deep
    values_ = logits.double().numpy()
    log_p = values_ - np.log(np.exp(values_).sum(axis=1, keepdims=True))
    targets = batch.targets.numpy()
    if pseudo:
        targets = np.concatenate([targets, batch.rest.targets.numpy()])
    supervised = -np.take_along_axis(log_p[: len(targets)], targets[:, None], axis=1).mean()
    z = deep.double().numpy().mean(axis=(2, 3))
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    apart = [1 - z[len(batch) + i] @ z[2 * len(batch) + i] for i in range(len(batch))]
    assert found.item() == pytest.approx(supervised + 0.7 * np.mean(apart), rel=1e-5)


def spoilt(dataset: Dataset, config: FitConfig) -> Dataset:
    """The dataset with other labels, masks and attributes where nothing is annotated."""
    rows = rest_rows(dataset, config)
    changed = {name: copy_array(dataset, name) for name in ("labels", "masks", "attributes")}
    for array in changed.values():
        array[rows] = 1 - array[rows]
    return with_arrays(dataset, **changed)


def test_hidden_labels_do_not_matter() -> None:
    """Labels, masks and attributes beyond the budget may be anything: the same bytes."""
    dataset, config = squares(), with_ssl(fit_config("mask", epochs=2))
    first = numbers(fitted(dataset, config))
    assert numbers(fitted(spoilt(dataset, config), config)) == first


def test_labels_of_the_rest_are_for_the_filter_alone() -> None:
    """Without it they change nothing; with it they decide."""
    dataset, config = squares(), fit_config("mask", epochs=2)
    hidden, unread, read = (
        with_ssl(config, labels, filter_by_label=filtered)
        for labels, filtered in ((False, False), (True, False), (True, True))
    )
    state = problem_of(dataset, hidden).build().state_dict()
    state["head.bias"].copy_(torch.tensor([0.0, 5.0]))  # a teacher to whom all is abnormal
    hooks = Hooks(shared_models=lambda stage, make: checkpoint.pack({"kept": state}))
    changed = spoilt(dataset, hidden)
    plain = fitted(dataset, hidden, hooks)
    assert numbers(fitted(changed, unread, hooks)) == numbers(plain)
    filtered = [fitted(data, read, hooks) for data in (dataset, changed)]
    assert len({weights(outcome) for outcome in (plain, *filtered)}) == 3
    shares = [values(outcome, "train", "ssl_positive_pseudo_masks")[0] for outcome in filtered]
    labels = dataset.labels[rest_rows(dataset, hidden)]
    assert shares == pytest.approx([labels.mean(), 1 - labels.mean()])


def test_masks_are_the_kept_teacher_s_on_clean_images() -> None:
    """Its more probable class; a negative label empties the mask and a positive one leaves it."""
    problem = problem_of(squares(), with_ssl(fit_config("mask"), labels=True, views="flip"))
    rest = rest_of(problem)
    assert set(rest.labels.tolist()) == {0, 1}
    state = problem.build().state_dict()
    state["head.bias"].copy_(torch.tensor([0.0, 0.05]))
    plain, filtered = (
        np.concatenate(list(predicted_masks(problem, state, rest.under("flip"), by_label)))
        for by_label in (False, True)
    )
    model = problem.build()
    model.load_state_dict(state)
    images = torch.from_numpy(np.array(rest.images[rest.rows]).transpose(0, 3, 1, 2))
    with torch.no_grad():
        logits = model.eval()(images).numpy()
    assert (plain == (logits[:, 1] > logits[:, 0])).all()
    assert plain.any(axis=(1, 2)).all()
    assert not plain.all()
    assert not filtered[rest.labels == 0].any()
    assert (filtered[rest.labels == 1] == plain[rest.labels == 1]).all()


def test_the_share_of_positive_pseudo_masks_is_told() -> None:
    """With the filter it is at most the share of positive labels."""
    dataset = squares()
    config = with_ssl(fit_config("mask", epochs=2), labels=True, filter_by_label=True)
    share = values(fitted(dataset, config), "train", "ssl_positive_pseudo_masks")
    assert len(share) == 1
    assert 0 <= share[0] <= dataset.labels[rest_rows(dataset, config)].mean()


def test_trials_share_a_teacher() -> None:
    """It is made once, is asked for again, and labels of the rest do not part it."""
    dataset, config, kept = squares(), fit_config("mask", epochs=2), Kept()
    hooks = Hooks(shared_models=kept)
    alone = numbers(fitted(dataset, with_ssl(config)))
    assert numbers(fitted(dataset, with_ssl(config), hooks)) == alone
    fitted(dataset, with_ssl(config, labels=True, filter_by_label=True), hooks)
    assert kept.made == ["ssl-teacher"]
    fitted(dataset, with_ssl(config, weight=0.5), hooks)
    assert kept.made == ["ssl-teacher"] * 2


def test_the_model_learns_from_its_teacher() -> None:
    """Another teacher gives another model, which begins anew and not from the teacher."""
    dataset, config, kept = squares(), with_ssl(fit_config("mask", epochs=2)), Kept()
    own = fitted(dataset, config, Hooks(shared_models=kept))
    ((stage, data),) = kept.results.items()
    state = checkpoint.unpack(data)
    state["kept"]["head.bias"] += torch.tensor([-5.0, 5.0])
    kept.results[stage] = checkpoint.pack(state)
    other = fitted(dataset, config, Hooks(shared_models=kept))
    assert weights(other) != weights(own)
    assert values(other, "train", "ssl_positive_pseudo_masks").tolist() == [1.0]


def test_it_resumes_bit_for_bit_with_the_papers_views() -> None:
    """Both stages continue from any epoch as if never stopped."""
    dataset = grey_squares()
    config = with_ssl(fit_config("mask", epochs=3), views="paper")
    saved: list[bytes] = []
    early: list[bytes] = []

    def recorded(stage: SharedModel, make: Callable[[Hooks], bytes]) -> bytes:
        return make(Hooks(save=keeping(early)))

    def resumed(stage: SharedModel, make: Callable[[Hooks], bytes]) -> bytes:
        return make(Hooks(resume=early[0]))

    undisturbed = fitted(dataset, config, Hooks(save=keeping(saved), shared_models=recorded))
    assert (len(saved), len(early)) == (2, 2)
    for data in saved:
        continued = fitted(dataset, config, Hooks(resume=data, shared_models=resumed))
        assert continued.resumed_from_epoch > 0
        assert numbers(continued) == numbers(undisturbed)


def test_what_it_cannot_learn_from_is_refused() -> None:
    """No image beyond the budget, no labels to filter by, or views that need integer images."""
    dataset, config = squares(), fit_config("mask", epochs=1)
    bad = {
        "this budget leaves none; lower it": replace(with_ssl(config), budget=Budget(None)),
        "filter_by_label needs image labels .*add `rest: label`": with_ssl(
            config, filter_by_label=True
        ),
        "augment 'paper' .*needs integer images": with_ssl(config, views="paper"),
    }
    kept = Kept()
    for message, own in bad.items():
        with pytest.raises(ConfigError, match=message):
            fitted(dataset, own, Hooks(shared_models=kept))
    assert kept.made == []


def test_it_learns() -> None:
    """From twenty masks and the other images, most of which get a mask where they should."""
    dataset = grey_squares(n_train=80, abnormality_mean=5.0)
    config = fit_config("mask", epochs=20, augment="flip", batch_size=10, keep="best val.dice")
    config = replace(with_ssl(config), model=SmallUnet(channels=8, levels=1))
    config = replace(config, budget=Budget(20, "natural"))
    outcome = fitted(dataset, config)
    share = values(outcome, "train", "ssl_positive_pseudo_masks")[0]
    positive = dataset.labels[rest_rows(dataset, config)].mean()
    assert positive - 0.15 < share < positive + 0.25
    assert outcome.kept_value > 0.7
    assert values(outcome, "test", "robust_auroc")[-1] > 0.95
    assert outcome.images_trained == 20 * 20


def test_it_fits_under_bfloat16() -> None:
    """Finite losses and metrics."""
    outcome = fitted(squares(), with_ssl(fit_config("mask", epochs=2, precision="bfloat16")))
    assert np.isfinite(values(outcome, "train", "loss")).all()
    assert np.isfinite(values(outcome, "test", "auroc")).all()
