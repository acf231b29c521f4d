"""One configuration on one dataset: registries, what is annotated, and what the paper found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_data import SMALL, fit_config, fitted, no_weights, squares, values, with_arrays

from spurious import methods
from spurious.config.datasets import GaussianSquares
from spurious.config.machine import Machine
from spurious.config.methods import METHODS, Dfr, GroupDro
from spurious.config.models import SmallUnet
from spurious.config.options import Budget, WeakLabels
from spurious.data.dataset import Dataset
from spurious.errors import ConfigError
from spurious.fit import annotated_rows, fit, implementation, rest_rows
from spurious.methods import erm
from spurious.methods.base import TrainingProblem
from spurious.scoring.annotations import count_annotations, image_facts
from spurious.scoring.cost import AnnotationCounts
from spurious.training.loop import Fit, Hooks

pytestmark = pytest.mark.usefixtures("torch_settings")


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Small Gaussian squares on which some positive images have two abnormalities."""
    found = squares()
    counts = np.where((found.labels == 1) & (np.arange(len(found.labels)) % 3 == 0), 2, 1)
    return replace(found, abnormalities=counts * found.labels)


def test_names_and_implementations_agree() -> None:
    """What a specification may name is what there is code for, and nothing else."""
    assert all(callable(implementation(name)) for name in METHODS)
    written = Path(methods.__file__).parent.rglob("*.py")
    found = {file.stem for file in written if "\ndef fit(" in file.read_text()}
    assert found == {name.replace("-", "_") for name in METHODS}


def test_annotated_rows_are_training_rows(dataset: Dataset) -> None:
    """Budgets count training images only, and `all` is every one of them."""
    train = dataset.rows("train")
    config = fit_config("mask")
    assert annotated_rows(dataset, config).tolist() == train.tolist()
    few = annotated_rows(dataset, replace(config, budget=Budget(6)))
    assert few.dtype == np.int64
    assert len(few) == 6
    assert set(few.tolist()) < set(train.tolist())
    assert dataset.labels[few].sum() == 3
    other = annotated_rows(dataset, replace(config, budget=Budget(6), seed=5))
    assert other.tolist() != few.tolist()


def test_a_budget_beyond_the_training_split_is_refused(dataset: Dataset) -> None:
    """Validation and test images cannot be bought for training."""
    n = len(dataset.rows("train"))
    config = replace(fit_config("mask"), budget=Budget(n + 1, "natural"))
    with pytest.raises(ConfigError, match=f"expected at most {n}"):
        annotated_rows(dataset, config)


def test_counts_of_what_is_annotated(dataset: Dataset) -> None:
    """Images, abnormalities and negatives of annotated rows and of validation, never of test."""
    config = replace(fit_config("mask"), budget=Budget(8))
    rows = annotated_rows(dataset, config)
    val = dataset.rows("val")
    found = count_annotations(image_facts(dataset), config)
    assert found == AnnotationCounts(
        train_images=8,
        train_abnormalities=int(dataset.abnormalities[rows].sum()),
        train_negatives=4,
        spurious_labels=0,
        val_images=16,
        val_abnormalities=int(dataset.abnormalities[val].sum()),
        val_negatives=int((dataset.labels[val] == 0).sum()),
        val_spurious_labels=0,
        attributes=1,
    )
    assert found.train_abnormalities > 4
    assert found.val_abnormalities > found.val_images - found.val_negatives


def test_spurious_labels_are_counted_for_methods_that_need_them(dataset: Dataset) -> None:
    """One per attribute and image of the split that the method reads; one attribute where named."""
    two = replace(
        dataset,
        attributes=np.hstack([dataset.attributes] * 2),
        attribute_names=("block", "ruler"),
        directions=(1, 1),
    )
    config = replace(fit_config("label"), budget=Budget(8))
    expected = [
        (dataset, GroupDro(), (8, 0)),
        (two, GroupDro(), (16, 0)),
        (two, GroupDro(attribute="ruler"), (8, 0)),
        (two, Dfr(), (0, 32)),
        (two, Dfr(balance="classes"), (0, 0)),
    ]
    for data, method, numbers in expected:
        found = count_annotations(image_facts(data), replace(config, method=method))
        assert (found.spurious_labels, found.val_spurious_labels) == numbers


def test_labels_of_the_rest_are_counted(dataset: Dataset) -> None:
    """Every training image beyond the budget carries one, where the configuration says so."""
    config = replace(fit_config("mask"), budget=Budget(8))
    assert count_annotations(image_facts(dataset), config).rest_labels == 0
    mixed = replace(config, rest=WeakLabels())
    assert count_annotations(image_facts(dataset), mixed).rest_labels == SMALL.n_train - 8
    rest, annotated = rest_rows(dataset, mixed), annotated_rows(dataset, mixed)
    assert np.union1d(rest, annotated).tolist() == dataset.rows("train").tolist()
    assert len(rest) + len(annotated) == SMALL.n_train


def test_only_annotated_images_train(dataset: Dataset) -> None:
    """A fit on a budget sees that many images an epoch, and spoiling the others changes nothing.

    Except for the variance measure, whose unit is the variance of all training images.
    """
    config = replace(fit_config("mask", epochs=2), budget=Budget(8))
    unused = np.setdiff1d(dataset.rows("train"), annotated_rows(dataset, config))
    images, masks = dataset.images.copy(), dataset.masks[:]
    images[unused], masks[unused] = np.nan, True
    changed = with_arrays(dataset, images=images, masks=masks)
    clean, spoilt = (fitted(data, config) for data in (dataset, changed))
    assert clean.images_trained == 16
    trained, other = (
        [row for row in outcome.rows if row.metric != "variance_measure"]
        for outcome in (clean, spoilt)
    )
    assert repr(trained) == repr(other)
    assert len(trained) == len(clean.rows) - 1


def test_what_does_not_fit_is_refused_before_training(dataset: Dataset) -> None:
    """A resolution beyond the image, a model that cannot halve it, an unknown method."""
    bad = {
        r"r=17 does not fit": fit_config("r", r=17),
        r"multiples of 32": replace(fit_config("mask"), model=SmallUnet(channels=2, levels=5)),
        r"unknown method 'magic'": replace(fit_config("mask"), method_name="magic"),
    }
    for message, config in bad.items():
        with pytest.raises(ConfigError, match=message):
            fitted(dataset, config)


def test_a_method_is_given_the_configuration(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seed, options and annotated images reach the method, its images and its evaluator."""
    given: list[tuple[TrainingProblem, object]] = []

    def method(problem: TrainingProblem, options: object, hooks: Hooks) -> Fit:
        given.append((problem, options))
        return Fit()

    monkeypatch.setattr(erm, "fit", method)
    config = fit_config("mask", seed=7, normalise="imagenet", precision="bfloat16")
    fit(dataset, config, Machine(workers=3), Hooks(), no_weights)
    ((problem, options),) = given
    assert options is config.method
    assert problem.train == problem.training.config == config.train
    assert problem.seed == problem.training.seed == 7
    assert problem.training.workers == 3
    assert problem.training.rows.tolist() == annotated_rows(dataset, config).tolist()
    assert problem.evaluator.supervision is problem.supervision
    assert problem.evaluator.train == config.train


def test_threads_are_set_and_operations_deterministic(dataset: Dataset) -> None:
    """The machine's threads are torch's; operations without a deterministic form are refused."""
    seen: list[tuple[int, bool]] = []
    hooks = Hooks(
        on_epoch=lambda *_: seen.append(
            (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())
        )
    )
    for threads in (2, 1):
        fit(dataset, fit_config("label", epochs=1), Machine(threads=threads), hooks, no_weights)
    assert seen == [(2, True), (1, True)]


PAPER = GaussianSquares(
    image_size=16,
    abnormality_size=4,
    spurious_size=5,
    prevalence=0.5,
    n_train=100,
    n_val=60,
    n_test=120,
)
"""The paper's squares, smaller: in training the block is on every positive image and no other."""


@pytest.mark.parametrize(
    ("kind", "r", "low", "high"),
    [("label", None, 0.0, 0.2), ("r", 1, 0.0, 0.4), ("r", 4, 0.9, 1.0), ("mask", None, 0.95, 1.0)],
)
def test_finer_annotation_makes_the_score_robust(
    kind: str, r: int | None, low: float, high: float
) -> None:
    """Labels and r = 1 learn the block and fail where it misleads; finer targets do not.

    Validation, drawn like training, cannot tell them apart.
    """
    config = fit_config(
        kind, r=r, epochs=12, batch_size=10, learning_rate=2e-2, evaluate_every=12, seed=0
    )
    outcome = fitted(squares(PAPER), config)
    assert values(outcome, "val", "auroc")[-1] > 0.98
    assert low <= values(outcome, "test", "robust_auroc")[-1] <= high


def test_small_data_is_what_it_says() -> None:
    """The tests of the loop rely on a single image left over, and on both labels in each split."""
    dataset = squares()
    assert SMALL.n_train % fit_config("mask").train.batch_size == 1
    for split in ("train", "val", "test"):
        assert set(dataset.labels[dataset.rows(split)].tolist()) == {0, 1}
    assert not dataset.images.flags.writeable
