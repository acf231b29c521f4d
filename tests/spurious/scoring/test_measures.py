"""Variance, mutual information, alignment and gaps by attribute, alone and of a fit."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from small_data import fit_config, fitted, grey_squares, no_weights, squares, values

from spurious.after_fit import iterate_annotated
from spurious.config.options import Budget, Specificity, Train
from spurious.data.attributes import UNKNOWN, GroupCounts
from spurious.data.dataset import Dataset
from spurious.data.inputs import normalise_images
from spurious.data.specificity import supervision_target
from spurious.data.training_set import TrainingSet
from spurious.fit import annotated_rows
from spurious.scoring.measures import (
    alignment,
    empirical_variance,
    mutual_information,
    performance_gaps,
)
from spurious.scoring.metrics import auroc
from spurious.training.loop import Fit
from spurious.training.models import build

pytestmark = pytest.mark.usefixtures("torch_settings")


def test_mutual_information_of_known_tables() -> None:
    """Independence has none, a copy of a fair bit has ln 2."""
    assert mutual_information(np.outer([0.3, 0.7], [0.2, 0.8])) == pytest.approx(0.0, abs=1e-15)
    assert mutual_information(np.array([[0.5, 0.0], [0.0, 0.5]])) == pytest.approx(math.log(2))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_the_variance_is_that_of_standardised_pixels(dtype: str) -> None:
    """By channel over all images, then pooled over the targets' pixels and averaged."""
    rng = np.random.default_rng(5)
    images = (rng.random((6, 9, 7, 3)) * [200, 100, 50]).astype(dtype)
    targets = rng.random((6, 9, 7)) < 0.3
    targets[4] = False
    wide = images.astype(np.float64)
    standardised = (wide - wide.mean(axis=(0, 1, 2))) / wide.std(axis=(0, 1, 2))
    expected = standardised[:4][targets[:4]].var(axis=0).mean()
    given = [*zip(images[:5], targets, strict=False), (images[5], None)]
    assert empirical_variance(given) == pytest.approx(expected, rel=1e-6)


def test_a_variance_of_nothing_is_undefined() -> None:
    """No abnormal pixel, or images of one value: NaN, never 0."""
    image, nothing = np.arange(16.0).reshape(4, 4, 1), np.zeros((4, 4), dtype=bool)
    assert math.isnan(empirical_variance([(image, nothing), (image, None)]))
    assert math.isnan(empirical_variance([(np.ones_like(image), ~nothing)]))
    assert empirical_variance([(image, ~nothing)]) == pytest.approx(1.0)


def test_alignment_of_known_vectors() -> None:
    """(1, 0) and (0, 1) against (1, 1); within a group i = j does not count."""
    pair, diagonal = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[1.0, 1.0]])
    assert alignment(pair, diagonal) == pytest.approx(0.70711, abs=5e-6)
    assert alignment(pair) == pytest.approx(0.0)
    assert alignment(np.vstack([pair, diagonal])) == pytest.approx(2 * 0.70711 / 3, abs=5e-6)


def test_alignment_is_the_mean_over_all_pairs() -> None:
    """Pair by pair the same, whatever the lengths; a zero vector has similarity 0."""
    rng = np.random.default_rng(2)
    first = rng.standard_normal((7, 5)).astype(np.float32) * 100
    second = rng.standard_normal((4, 5)).astype(np.float32)
    second[2] = 0

    def cosine(a: NDArray[Any], b: NDArray[Any]) -> float:
        lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
        return float(a @ b) / lengths if lengths else 0.0

    every = [cosine(a, b) for a in first for b in second]
    assert alignment(first, second) == pytest.approx(np.mean(every), abs=1e-6)
    within = [cosine(a, b) for i, a in enumerate(second) for j, b in enumerate(second) if i != j]
    assert alignment(second) == pytest.approx(np.mean(within), abs=1e-6)


def test_alignment_without_a_pair_is_undefined() -> None:
    """An empty group, or a single member of its own group."""
    one = np.ones((1, 3))
    assert math.isnan(alignment(one, one[:0]))
    assert math.isnan(alignment(one[:0], one))
    assert math.isnan(alignment(one))


def test_gaps_by_attribute() -> None:
    """AUROC with the attribute minus without it; unknown images count on neither side."""
    labels = np.array([0, 1, 0, 1, 0, 1])
    scores = np.array([0.1, 0.9, 0.8, 0.2, 0.9, 0.1])
    attributes = np.array([[1, 1, 0, 0, UNKNOWN, UNKNOWN], [1, 1, 1, 0, 1, 1]], np.int8).T
    tube, ink = performance_gaps(labels, scores, attributes, ("tube", "ink"))
    assert (tube.attribute, tube.value) == ("tube", 1.0)
    assert tube.cells == GroupCounts(1, 1, 1, 1, y0_unknown=1, y1_unknown=1)
    assert math.isnan(ink.value)
    assert performance_gaps(labels, scores, attributes[:, :0], ()) == []


def rows_of(outcome: Fit, metric: str) -> dict[Any, tuple[float, tuple[int, ...]]]:
    """(epoch, split, attribute) to value and cells."""
    return {
        (row.epoch, row.split, row.attribute): (row.value, row.cells)
        for row in outcome.rows
        if row.metric == metric
    }


@pytest.fixture(scope="module")
def outcome() -> tuple[Dataset, Fit]:
    """A segmenter on 12 of 21 images, kept at the epoch with the best Dice."""
    dataset = squares(n_test=40, test_prevalence=0.5)
    config = replace(fit_config("mask", epochs=4, keep="best val.dice"), budget=Budget(12))
    return dataset, fitted(dataset, config)


def test_a_fit_has_the_embeddings_of_its_kept_model(outcome: tuple[Dataset, Fit]) -> None:
    """Rebuilt from the kept weights, the model gives them image by image."""
    dataset, fit = outcome
    config = fit_config("mask")
    model = build("small-unet", config.model, (16, 16, 1), 0, no_weights)
    model.load_state_dict(fit.kept_state)
    model.eval()
    assert fit.embeddings is not None
    assert fit.embeddings.shape == (40, 8)
    for row, found in zip(dataset.rows("test"), fit.embeddings, strict=True):
        x = normalise_images(dataset.images[row][None].copy(), "unit")
        np.testing.assert_allclose(
            model.embedded(x).images.detach().numpy()[0], found, rtol=1e-4, atol=1e-6
        )


def test_a_fit_has_its_alignment(outcome: tuple[Dataset, Fit]) -> None:
    """At the kept epoch, on test, per label between the images without and with the block."""
    dataset, fit = outcome
    rows = dataset.rows("test")
    y, s = dataset.labels[rows], dataset.attributes[rows, 0]
    cells = tuple(int(((y == a) & (s == b)).sum()) for a in (0, 1) for b in (0, 1))
    assert fit.embeddings is not None
    for label in (0, 1):
        [(where, (value, counted))] = rows_of(fit, f"alignment_y{label}").items()
        of = [fit.embeddings[(y == label) & (s == side)] for side in (0, 1)]
        assert where == (fit.kept_epoch, "test", "block")
        assert value == pytest.approx(alignment(*of))
        assert counted == cells


def test_a_fit_has_gaps_wherever_it_has_an_auroc(outcome: tuple[Dataset, Fit]) -> None:
    """Every epoch, on validation and test; by hand from the kept scores."""
    dataset, fit = outcome
    found = rows_of(fit, "auroc_gap")
    assert set(found) == {(e, split, "block") for e in range(1, 5) for split in ("val", "test")}
    rows = dataset.rows("test")
    y, s, scores = dataset.labels[rows], dataset.attributes[rows, 0], fit.kept_scores["test"]
    expected = auroc(y[s == 1], scores[s == 1]) - auroc(y[s == 0], scores[s == 0])
    assert found[fit.kept_epoch, "test", "block"][0] == pytest.approx(expected)
    assert math.isnan(found[1, "val", "block"][0])  # there the block is on every positive alone


def test_a_dataset_without_attributes_has_no_group_to_compare() -> None:
    """No alignment and no gap; an attribute nobody labelled has undefined ones."""
    dataset = squares()
    none = replace(dataset, attributes=dataset.attributes[:, :0], attribute_names=(), directions=())
    metrics = {row.metric for row in fitted(none, fit_config("label", epochs=1)).rows}
    assert not metrics & {"alignment_y0", "alignment_y1", "auroc_gap"}
    assert "variance_measure" in metrics
    nobody = replace(dataset, attributes=np.full_like(dataset.attributes, UNKNOWN))
    unknown = fitted(nobody, fit_config("label", epochs=1))
    for metric in ("alignment_y0", "alignment_y1", "auroc_gap"):
        assert {math.isnan(value) for value, _ in rows_of(unknown, metric).values()} == {True}


@pytest.mark.parametrize("specificity", ["label", "box", "mask"])
def test_the_variance_of_a_trial_is_over_its_annotated_positives(specificity: str) -> None:
    """Standardised by the whole training split, over the pixels that the annotation marks."""
    dataset = grey_squares(shape="ring")
    config = replace(fit_config(specificity, epochs=1), budget=Budget(8))
    [variance] = values(fitted(dataset, config), "train", "variance_measure")
    images = dataset.images.astype(np.float64)
    train = images[dataset.rows("train")]
    standardised = (images - train.mean()) / train.std()
    rows = annotated_rows(dataset, config)
    pixels = []
    for row in rows[dataset.labels[rows] == 1]:
        target = dataset.masks[row]
        if specificity == "box":
            target = supervision_target(target, Specificity("box"))
        pixels.append(standardised[row, :, :, 0][target | (specificity == "label")])
    assert variance == pytest.approx(np.concatenate(pixels).var(), rel=1e-9)


def test_images_are_looked_at_one_by_one() -> None:
    """The pass over the training split is lazy: nothing is held but the image at hand."""
    dataset = squares()
    rows = dataset.rows("train")[3:9]
    training = TrainingSet(dataset, rows, Specificity("mask"), Train(), seed=0)
    first, _ = next(iterate_annotated(dataset, training))
    assert np.shares_memory(first, dataset.images)
    seen = [target for _, target in iterate_annotated(dataset, training)]
    assert len(seen) == len(dataset.rows("train"))
    positives = [at for at in range(3, 9) if dataset.labels[dataset.rows("train")[at]]]
    assert [at for at, target in enumerate(seen) if target is not None] == positives
