"""Reweighting, resampling and conditional value at risk, and what methods of known groups share."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_data import fit_config, fitted, no_weights, squares, values

from spurious.config.datasets import GaussianSquares
from spurious.config.machine import Machine
from spurious.config.methods import METHODS, GroupWeights
from spurious.config.options import FitConfig
from spurious.data.dataset import Dataset
from spurious.data.randomness import generator
from spurious.data.training_set import TrainingSet
from spurious.errors import ConfigError
from spurious.fit import fit, group_rows
from spurious.methods.cvar import worst_share
from spurious.methods.group_weights import group_balanced, sampler_of
from spurious.methods.reweight import Weighted, image_weights
from spurious.training.loop import Fit, Hooks
from spurious.training.models import build
from spurious.training.objective import Forward
from spurious.training.supervision import Classification

pytestmark = pytest.mark.usefixtures("torch_settings")
CPU = torch.device("cpu")
KNOWN = ("group-dro", "reweight", "resample")
ALL = (*KNOWN, "cvar")


def four_groups(**changes: Any) -> Dataset:
    """Squares whose block is on 4 of 5 positive and 1 of 5 negative images."""
    return squares(spurious_given_positive=0.8, spurious_given_negative=0.2, **changes)


def by(name: str, config: FitConfig, **options: Any) -> FitConfig:
    """A configuration with another method."""
    return replace(config, method_name=name, method=METHODS[name](**options))


def numbers(outcome: Fit) -> tuple[str, bytes, bytes]:
    """What a fit decides, bit for bit, but for its count of groups; NaN equals NaN."""
    state = b"".join(tensor.numpy().tobytes() for tensor in outcome.kept_state.values())
    rows = [row for row in outcome.rows if row.metric != "absent_groups"]
    return repr(rows), state, outcome.last_scores["test"].tobytes()


def test_weights_are_one_over_the_group_s_size() -> None:
    """Groups of 8 and 2 images: .4 and 1.6, whose mean over groups is 1."""
    groups = np.array([0, 0, 1, 0, 0, 0, 0, 1, 0, 0])
    found = image_weights(groups)
    assert found.dtype == np.float32
    assert found.tolist() == pytest.approx([1.6 if group else 0.4 for group in groups])


@given(st.lists(st.integers(1, 60), min_size=1, max_size=8))
def test_every_group_weighs_the_same_in_sum(sizes: list[int]) -> None:
    """However many groups of whatever sizes; the mean over groups stays 1."""
    groups = np.repeat(np.arange(len(sizes)), sizes)
    found = image_weights(groups)
    sums = np.bincount(groups, weights=found)
    assert sums.tolist() == pytest.approx([sums[0]] * len(sizes), rel=1e-5)
    assert np.mean(sums / sizes) == pytest.approx(1.0, rel=1e-5)


def test_the_weighted_loss_is_a_mean_over_images() -> None:
    """Each loss times the weight of that image, wherever it stands in the batch."""
    dataset, config = four_groups(), fit_config("label")
    rows = dataset.rows("train")
    training = TrainingSet(dataset, rows, config.specificity, config.train, 0)
    groups = group_rows(dataset, rows, "reweight", None)
    sizes = np.bincount(groups)
    model = build("small-cnn", config.model, (16, 16, 1), 0, no_weights).eval()
    order = [np.array([20, 3, 7, 3]), np.array([1, 0])]
    for batch in training.batches(order, epoch=1):
        objective = Weighted(Classification(), image_weights(groups))
        found = objective.loss(Forward(model, CPU, False), batch)
        logits = model(batch.x).detach().numpy().astype(np.float64)
        own = batch.positions.numpy()
        weights = (1 / sizes[groups[own]]) / np.mean(1 / sizes)
        margins = logits[:, 1] - logits[:, 0]
        losses = np.log1p(np.exp(np.where(dataset.labels[rows[own]] == 1, -margins, margins)))
        assert found.item() == pytest.approx((weights * losses).mean(), rel=1e-5)


def test_reweighting_equal_groups_is_erm() -> None:
    """All weights are 1, so not a bit differs."""
    dataset = four_groups()
    train = dataset.rows("train")
    attributes = dataset.attributes.copy()
    labels = dataset.labels[train]
    count = min((labels == 0).sum(), (labels == 1).sum()) // 2
    kept = np.concatenate([train[labels == y][: 2 * count] for y in (0, 1)])
    attributes[kept, 0] = np.tile([0, 1], 2 * count)
    splits = dataset.splits.copy()
    splits[np.setdiff1d(train, kept)] = "unused"
    equal = replace(dataset, attributes=attributes, splits=splits)
    config = fit_config("label", epochs=3)
    assert numbers(fitted(equal, by("reweight", config))) == numbers(fitted(equal, config))
    assert numbers(fitted(dataset, by("reweight", config))) != numbers(fitted(dataset, config))


@pytest.mark.parametrize(("share", "loss"), [(0.5, 3.5), (0.375, 3.666667), (1.0, 2.5), (0.1, 4)])
def test_the_worst_share_of_a_batch(share: float, loss: float) -> None:
    """Losses 1, 2, 3, 4 in any order; less than one image is the worst image."""
    found = worst_share(torch.tensor([2.0, 4.0, 1.0, 3.0]), share)
    assert found.item() == pytest.approx(loss, abs=5e-7)


@given(st.lists(st.floats(0.0, 20.0, width=32), min_size=1, max_size=30), st.floats(0.01, 1.0))
def test_the_worst_share_agrees_with_counting(losses: list[float], share: float) -> None:
    """Whole images from the worst on, and a part of the next."""
    left = wanted = share * len(losses)
    total = 0.0
    for loss in sorted(losses, reverse=True):
        total += min(left, 1.0) * loss
        left = max(left - 1.0, 0.0)
    found = worst_share(torch.tensor(losses), share).item()
    assert found == pytest.approx(total / wanted, rel=1e-4, abs=1e-5)


def test_the_worst_share_alone_is_learned_from() -> None:
    """Gradients: one for a whole image, a part for the last one, none for the others."""
    losses = torch.tensor([0.5, 3.0, 1.0, 2.0], requires_grad=True)
    worst_share(losses, 0.375).backward()
    assert losses.grad is not None
    assert losses.grad.tolist() == pytest.approx([0.0, 1 / 1.5, 0.0, 0.5 / 1.5])


def test_cvar_of_everything_is_erm() -> None:
    """A share of 1 is the mean, up to rounding; a smaller share gives a larger loss."""
    config = fit_config("mask", epochs=3, optimizer="sgd")
    mean, whole, part = (
        values(fitted(squares(), found), "train", "loss")
        for found in (config, by("cvar", config, share=1.0), by("cvar", config, share=0.3))
    )
    assert whole == pytest.approx(mean, rel=1e-4)
    assert (part > mean).all()


def test_drawing_by_group_takes_every_group_equally_often() -> None:
    """As many draws as images, with replacement, any image of a group as likely as another."""
    groups = np.array([0] * 6 + [1] * 2 + [2])
    order = group_balanced(groups)
    draws = [order(generator("test", number)) for number in range(2000)]
    assert {len(found) for found in draws} == {9}
    assert draws[0].dtype == np.int64
    shares = np.bincount(np.concatenate(draws), minlength=9) / (9 * 2000)
    # the standard error of a share of 1/3 is .0035
    assert shares == pytest.approx([1 / 18] * 6 + [1 / 6] * 2 + [1 / 3], abs=0.012)
    assert any((np.bincount(found, minlength=9) == 0).any() for found in draws)


def test_draw_chooses_between_natural_and_by_group() -> None:
    """None is the loop's own order, in which every image comes once."""
    groups = np.array([0, 0, 0, 1])
    assert sampler_of(GroupWeights(draw="natural"), groups) is None
    found = sampler_of(GroupWeights(draw="groups"), groups)
    assert found is not None
    ours, theirs = (order(generator("a", 1)) for order in (found, group_balanced(groups)))
    assert ours.tolist() == theirs.tolist()


def test_resampling_trains_on_the_draw() -> None:
    """Images that an epoch's draw leaves out do not matter to it, however spoilt they are."""
    dataset, config = four_groups(), by("resample", fit_config("label", epochs=1))
    train = dataset.rows("train")
    groups = group_rows(dataset, train, "resample", None)
    drawn = group_balanced(groups)(generator("order", config.seed, 1))
    images = dataset.images.copy()
    images[np.setdiff1d(train, train[drawn])] = np.nan
    assert 0 < np.isnan(images).any(axis=(1, 2, 3)).sum() < len(train)
    clean, spoilt = (fitted(data, config) for data in (dataset, replace(dataset, images=images)))
    assert numbers(spoilt)[1:] == numbers(clean)[1:]
    assert values(spoilt, "train", "loss") == values(clean, "train", "loss")
    assert clean.images_trained == len(train)
    images[train[drawn[0]]] = 0.0
    assert numbers(fitted(replace(dataset, images=images), config))[1] != numbers(clean)[1]


def test_same_seed_same_bytes() -> None:
    """With more augmentation threads; another seed gives others."""
    dataset, config = four_groups(), by("resample", fit_config("label", epochs=3, augment="flip"))
    first = numbers(fitted(dataset, config))
    torch.manual_seed(5)
    assert numbers(fit(dataset, config, Machine(workers=2), Hooks(), no_weights)) == first
    assert numbers(fitted(dataset, replace(config, seed=1))) != first


@pytest.mark.parametrize("name", KNOWN)
def test_known_groups_need_spurious_labels(name: str) -> None:
    """Of the whole dataset, of the named attribute, and of every annotated image."""
    dataset, config = four_groups(), by(name, fit_config("label", epochs=1))
    count = len(dataset.labels)
    bare = replace(
        dataset, attribute_names=(), attributes=np.empty((count, 0), np.int8), directions=()
    )
    with pytest.raises(ConfigError, match=rf"method {name} needs spurious labels, .*has none"):
        fitted(bare, config)
    with pytest.raises(ConfigError, match=rf"method {name} .* of ruler, .*attributes are block"):
        fitted(dataset, by(name, config, attribute="ruler"))
    attributes = dataset.attributes.copy()
    attributes[dataset.rows("train")[:3]] = -1
    with pytest.raises(ConfigError, match=rf"method {name} .*3 of 21 images have none"):
        fitted(replace(dataset, attributes=attributes), config)
    unread = dataset.attributes.copy()
    unread[dataset.rows("val")] = -1
    assert fitted(replace(dataset, attributes=unread), config).kept_epoch == 1


def test_cvar_needs_no_spurious_labels() -> None:
    """It trains where the others are refused."""
    dataset = four_groups()
    attributes = np.full_like(dataset.attributes, -1)
    outcome = fitted(
        replace(dataset, attributes=attributes), by("cvar", fit_config("label", epochs=1))
    )
    assert math.isfinite(values(outcome, "train", "loss")[0])


BIASED = GaussianSquares(
    image_size=16,
    abnormality_size=4,
    spurious_size=5,
    prevalence=0.5,
    spurious_given_positive=0.8,
    spurious_given_negative=0.2,
    abnormality_mean=1.0,
    spurious_mean=-4.0,
    n_train=400,
    n_val=2,
    n_test=400,
)
"""A faint abnormality beside a plain block that goes with it in 4 of 5 images."""


@pytest.mark.slow
def test_known_groups_beat_erm_where_it_relies_on_the_block() -> None:
    """By more than .1 in robust AUROC."""
    dataset = squares(BIASED)
    config = fit_config("label", epochs=15, batch_size=16, evaluate_every=15)
    options: dict[str, dict[str, Any]] = {"group-dro": {"step_size": 0.1}}
    robust = {
        name: values(
            fitted(dataset, by(name, config, **options.get(name, {}))), "test", "robust_auroc"
        )[-1]
        for name in ("erm", *KNOWN)
    }
    assert robust["erm"] < 0.7
    assert min(robust[name] for name in KNOWN) > robust["erm"] + 0.1


@pytest.mark.parametrize(("name", "split"), [("reweight", "train"), ("dfr", "val")])
def test_groups_without_an_image_are_told(
    name: str, split: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A warning and a count: whoever reads the numbers sees that one of four groups is not in."""
    config = by(name, fit_config("label", epochs=1))
    every = four_groups(n_val=60)
    with caplog.at_level(logging.WARNING, logger="spurious.fit"):
        assert values(fitted(every, config), split, "absent_groups") == [0.0]
    assert not caplog.text
    attributes = every.attributes.copy()
    attributes[every.labels == 1] = 1
    with caplog.at_level(logging.WARNING, logger="spurious.fit"):
        found = fitted(replace(every, attributes=attributes), config)
    assert values(found, split, "absent_groups") == [1.0]
    images = len(every.rows(split))
    assert f"1 of 4 groups of label and block have no image among the {images}" in caplog.text
