"""Normalisation and packed targets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from small_data import fit_config, grey_squares, squares

from spurious.config.options import Specificity, Train
from spurious.data.inputs import PackedTargets, normalise_images, scale, standardise
from spurious.data.specificity import supervision_target
from spurious.data.training_set import TrainingSet
from spurious.training.evaluate import Evaluator
from spurious.training.supervision import supervision_for


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_unit_normalisation(dtype: Any) -> None:
    """0 becomes -2, the dtype's maximum 2, linearly between; channels come first."""
    top = np.iinfo(dtype).max
    images = np.zeros((2, 4, 6, 3), dtype)
    images[0, 1, 2] = (0, top // 3, top)
    found = normalise_images(images, "unit")
    assert found.shape == (2, 3, 4, 6)
    assert found.dtype == torch.float32
    assert found[0, :, 1, 2].tolist() == pytest.approx([-2.0, 4 / 3 - 2, 2.0])
    assert found[1].unique().tolist() == [-2.0]


def test_imagenet_normalisation() -> None:
    """Each colour has its constants; a grey image takes their mean."""
    white = np.full((1, 2, 2, 3), 255, np.uint8)
    expected = [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    assert normalise_images(white, "imagenet")[0, :, 0, 0].tolist() == pytest.approx(expected)
    grey = normalise_images(white[..., :1], "imagenet")
    assert grey.unique().tolist() == pytest.approx([(1 - 0.449) / 0.226])


@pytest.mark.parametrize("normalise", ["unit", "imagenet"])
def test_float_images_are_taken_as_they_are(normalise: str) -> None:
    """A generator's intensities have a scale of their own."""
    images = np.random.default_rng(0).normal(size=(2, 3, 5, 1)).astype(np.float32) * 10
    assert (normalise_images(images, normalise).numpy()[:, 0] == images[..., 0]).all()
    assert scale(images) is images


class Recorder(torch.nn.Module):
    """Keeps what a model would see, and answers with undecided logits."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(x.clone())
        return x.new_zeros(len(x), 2)


@pytest.mark.parametrize("normalise", ["unit", "imagenet"])
def test_training_and_evaluation_see_an_image_alike(normalise: str) -> None:
    """One pair of constants: what training is given, flipped or not, is what evaluation scores."""
    dataset = grey_squares()
    rows = dataset.rows("train")
    expected = normalise_images(dataset.images, normalise)
    order = [np.arange(len(rows))]
    for augment in ("none", "flip"):
        config = fit_config("label", augment=augment, normalise=normalise)
        training = TrainingSet(dataset, rows, config.specificity, config.train, seed=0)
        (batch,) = training.batches(order, epoch=1)
        for image, row in zip(batch.x, rows, strict=True):
            same = torch.equal(image, expected[row])
            assert same or (augment == "flip" and torch.equal(image, expected[row].flip(2)))
    model = Recorder()
    supervision = supervision_for(Specificity("label"), None)
    cpu = torch.device("cpu")
    Evaluator(dataset, Specificity("label"), supervision, Train(normalise=normalise), cpu)(model, 1)
    assert torch.equal(torch.cat(model.seen[:1]), expected[dataset.rows("val")])
    assert torch.equal(torch.cat(model.seen[1:]), expected[dataset.rows("test")])


@pytest.mark.parametrize(
    "specificity",
    [Specificity("mask"), Specificity("box"), Specificity("r", r=4), Specificity("r", r=1)],
)
def test_packing_loses_nothing(specificity: Specificity) -> None:
    """Targets come back as they went in, at the positions asked for, in any order."""
    dataset = squares(shape="ring")
    rows = dataset.rows("train")[::2]
    targets = PackedTargets(dataset.masks, rows, specificity)
    positions = np.array([5, 0, 5, 3])
    found = targets[positions]
    assert found.dtype == bool
    for target, position in zip(found, positions, strict=True):
        expected = supervision_target(dataset.masks[rows[position]], specificity)
        assert (target == expected).all()


def test_standardised_keeps_single_precision() -> None:
    """Double precision would double memory and change numbers."""
    image = np.ones((2, 2, 3), np.float32)
    for normalise in ("unit", "imagenet"):
        assert standardise(image, normalise).dtype == np.float32
