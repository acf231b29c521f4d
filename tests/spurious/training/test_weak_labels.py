"""Mixed supervision: masks for some training images, labels for the rest."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from small_data import (
    copy_array,
    fit_config,
    fitted,
    keeping,
    numbers,
    squares,
    values,
    with_arrays,
)

from spurious.config.datasets import GaussianSquares
from spurious.config.options import Budget, WeakLabels
from spurious.data.dataset import Dataset
from spurious.fit import annotated_rows, rest_rows
from spurious.training.loop import Fit, Hooks
from spurious.training.weak_labels import rest_losses

pytestmark = pytest.mark.usefixtures("torch_settings")
MIXED = replace(fit_config("mask", epochs=2), budget=Budget(8, "natural"), rest=WeakLabels())


def test_a_negative_label_is_an_empty_mask() -> None:
    """Its loss is the mean pixel cross-entropy against all pixels normal."""
    logits = torch.randn(3, 2, 4, 5, generator=torch.Generator().manual_seed(0))
    found = rest_losses(logits, torch.zeros(3, dtype=torch.int64), 0.1)
    margin = (logits[:, 1] - logits[:, 0]).double().numpy()
    expected = np.log1p(np.exp(margin)).mean(axis=(1, 2))
    assert found.tolist() == pytest.approx(expected.tolist(), rel=1e-6)


@pytest.mark.parametrize(("fraction", "kept"), [(0.05, 1), (0.25, 5), (1.0, 20), (0.001, 1)])
def test_a_positive_label_asks_for_the_most_abnormal_pixels(fraction: float, kept: int) -> None:
    """Its loss is the mean cross-entropy of the largest margins against abnormal."""
    margin = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(1))
    logits = torch.stack([torch.zeros_like(margin), margin], dim=1)
    found = rest_losses(logits, torch.ones(2, dtype=torch.int64), fraction)
    top = np.sort(margin.double().numpy().reshape(2, -1), axis=1)[:, -kept:]
    expected = np.log1p(np.exp(-top)).mean(axis=1)
    assert found.tolist() == pytest.approx(expected.tolist(), rel=1e-6)


def test_labels_decide_which_loss_counts() -> None:
    """A logit margin of zero costs ln 2 either way; a large one only one of them."""
    margin = torch.tensor([0.0, 0.0, 30.0, 30.0])[:, None, None].expand(4, 2, 2)
    logits = torch.stack([torch.zeros_like(margin), margin], dim=1)
    found = rest_losses(logits, torch.tensor([0, 1, 0, 1]), 0.5)
    assert found.tolist() == pytest.approx([math.log(2), math.log(2), 30.0, 0.0], abs=1e-6)


def spoilt(dataset: Dataset, name: str, value: float) -> Dataset:
    """The dataset with one column overwritten where the rest of the training split is."""
    array = copy_array(dataset, name)
    rows = rest_rows(dataset, MIXED)
    array[rows] = 1 - array[rows] if name == "labels" else value
    return with_arrays(dataset, **{name: array})


def test_the_rest_gives_its_labels_and_no_masks() -> None:
    """Other labels there change the fit; other masks there do not."""
    dataset = squares()
    before = numbers(fitted(dataset, MIXED))
    assert numbers(fitted(spoilt(dataset, "masks", True), MIXED)) == before
    assert numbers(fitted(spoilt(dataset, "labels", 0), MIXED)) != before


def trained(outcome: Fit) -> tuple[Any, ...]:
    """`numbers` without the variance measure, whose unit is the variance of all images."""
    rows = [row for row in outcome.rows if row.metric != "variance_measure"]
    return numbers(replace(outcome, rows=rows))


def test_without_labels_the_rest_is_not_looked_at() -> None:
    """Its images, labels and masks may be anything."""
    dataset, config = squares(), replace(MIXED, rest=None)
    before = trained(fitted(dataset, config))
    for name, value in (("images", np.nan), ("masks", True), ("labels", 0)):
        assert trained(fitted(spoilt(dataset, name, value), config)) == before
    assert set(annotated_rows(dataset, config)).isdisjoint(rest_rows(dataset, config))


def test_a_mixed_fit_resumes_bit_for_bit() -> None:
    """Continuing after the first epoch gives the bytes of never having stopped."""
    dataset, config = squares(), replace(MIXED, train=replace(MIXED.train, epochs=3))
    saved: list[bytes] = []
    whole = fitted(dataset, config, Hooks(save=keeping(saved)))
    resumed = fitted(dataset, config, Hooks(resume=saved[0]))
    assert resumed.resumed_from_epoch == 1
    assert numbers(resumed) == numbers(whole)


def test_labels_of_the_rest_help_where_masks_are_few() -> None:
    """With eight masks among two hundred images, the others' labels raise the test AUROC."""
    clean = GaussianSquares(
        image_size=16,
        abnormality_size=4,
        spurious_size=5,
        prevalence=0.5,
        spurious_given_positive=0.0,
        test_spurious=0.0,
        abnormality_mean=1.0,
        n_train=200,
        n_val=60,
        n_test=200,
    )
    dataset = squares(clean)
    few = fit_config("mask", epochs=40, learning_rate=3e-3, evaluate_every=40, seed=1)
    few = replace(few, budget=Budget(8))
    masks = values(fitted(dataset, few), "test", "auroc")[-1]
    mixed = replace(few, rest=WeakLabels(fraction=16 / 256))
    assert values(fitted(dataset, mixed), "test", "auroc")[-1] > masks + 0.1
