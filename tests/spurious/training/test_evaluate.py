"""Metrics of a model on validation and test."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from small_data import no_weights, squares

from spurious.config.models import Aggregation, SmallCnn, SmallUnet
from spurious.config.options import Specificity, Train
from spurious.data.attributes import UNKNOWN
from spurious.data.dataset import Dataset
from spurious.data.specificity import supervision_target
from spurious.scoring.metrics import auroc
from spurious.training.evaluate import Evaluation, Evaluator
from spurious.training.models import build
from spurious.training.supervision import supervision_for

CPU = torch.device("cpu")
MASK = Specificity("mask")


def evaluator(dataset: Dataset, specificity: Specificity, precision: str = "float32") -> Evaluator:
    """With the default read-out."""
    supervision = supervision_for(
        specificity, None if specificity.kind == "label" else Aggregation()
    )
    train = Train(precision=precision)  # type: ignore[arg-type]
    return Evaluator(dataset, specificity, supervision, train, CPU)


def value(evaluation: Evaluation, split: str, metric: str, attribute: str | None = None) -> float:
    """One row's value; exactly one row must have that name."""
    (row,) = [
        r for r in evaluation.rows if (r.split, r.metric, r.attribute) == (split, metric, attribute)
    ]
    return row.value


class Bright(torch.nn.Module):
    """Calls every pixel abnormal that is brighter than a threshold: margin +4 or -4."""

    def __init__(self, threshold: float = 1.0, sign: float = 1.0) -> None:
        super().__init__()
        self.threshold, self.sign = threshold, sign

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        margin = torch.where(self.sign * x[:, 0] > self.threshold, 4.0, -4.0)
        return torch.stack([torch.zeros_like(margin), margin], dim=1)


QUIET: dict[str, Any] = {"noise_sd": 1e-3, "test_prevalence": 0.5, "n_val": 70, "n_test": 100}


def test_a_perfect_segmenter() -> None:
    """A model that sees the abnormality alone has AUROC, robust AUROC and Dice 1, in every part."""
    dataset = squares(**QUIET)
    found = evaluator(dataset, MASK)(Bright(), epoch=3)
    assert {row.epoch for row in found.rows} == {3}
    for split in ("val", "test"):
        assert value(found, split, "auroc") == 1.0
        assert value(found, split, "dice") == 1.0
        assert value(found, split, "loss") == pytest.approx(math.log(1 + math.exp(-4)), rel=1e-5)
    assert value(found, "test", "robust_auroc") == 1.0
    assert value(found, "test", "robust_auroc", "block") == 1.0
    assert math.isnan(value(found, "val", "robust_auroc"))  # s = y: no image contradicts


def test_a_shortcut() -> None:
    """A model that sees the spurious block alone has robust AUROC 0 and Dice 0."""
    dataset = squares(**QUIET)
    found = evaluator(dataset, MASK)(Bright(5.0, sign=-1.0), epoch=1)
    assert value(found, "val", "auroc") == 1.0
    assert value(found, "test", "robust_auroc") == 0.0
    assert value(found, "test", "dice") == 0.0
    assert 0.2 < value(found, "test", "auroc") < 0.8


def test_cells_are_published() -> None:
    """The sizes of the four groups stand beside each robust AUROC and each gap."""
    dataset = squares(**QUIET)
    found = evaluator(dataset, MASK)(Bright(), epoch=1)
    rows = dataset.rows("test")
    y, s = dataset.labels[rows], dataset.attributes[rows, 0]
    expected = tuple(int(((y == a) & (s == b)).sum()) for a in (0, 1) for b in (0, 1))
    assert min(expected) > 0
    for row in found.rows:
        if row.split == "test":
            grouped = row.metric in ("robust_auroc", "auroc_gap")
            assert row.cells == (expected if grouped else (0, 0, 0, 0))


def test_directions_and_unknown_attributes_are_heeded() -> None:
    """A flipped direction turns the robust groups over; unannotated images leave them."""
    dataset = squares(**QUIET)
    shortcut = Bright(5.0, sign=-1.0)
    turned = evaluator(replace(dataset, directions=(-1,)), MASK)(shortcut, epoch=1)
    assert value(turned, "test", "robust_auroc") == 1.0
    nobody = np.full_like(dataset.attributes, UNKNOWN)
    unknown = evaluator(replace(dataset, attributes=nobody), MASK)(shortcut, epoch=1)
    assert math.isnan(value(unknown, "test", "robust_auroc"))


@pytest.mark.parametrize(
    "specificity", [Specificity("label"), MASK, Specificity("box"), Specificity("r", r=2)]
)
def test_scores_and_losses_are_those_of_single_images(specificity: Specificity) -> None:
    """Batches of the evaluator change nothing: image by image the same scores and mean loss."""
    dataset = squares(n_val=70, n_test=8)
    labels = specificity.kind == "label"
    options = SmallCnn(channels=4) if labels else SmallUnet(channels=4)
    name = "small-cnn" if labels else "small-unet"
    model = build(name, options, (16, 16, 1), 0, no_weights).eval()
    found = evaluator(dataset, specificity)(model, epoch=1)
    supervision = supervision_for(specificity, Aggregation())
    losses = []
    for split in ("val", "test"):
        rows = dataset.rows(split)
        assert found.scores[split].dtype == np.float64
        assert found.scores[split].shape == (len(rows),)
        losses.clear()
        for row, score in zip(rows, found.scores[split], strict=True):
            target = torch.tensor(dataset.labels[row]) if labels else torch.from_numpy(
                supervision_target(dataset.masks[row], specificity).astype(np.int64)
            )  # fmt: skip
            with torch.no_grad():
                logits = model(torch.from_numpy(dataset.images[row].copy()).permute(2, 0, 1)[None])
            assert supervision.scores(logits).item() == pytest.approx(score, abs=1e-6)
            losses.append(supervision.losses(logits, target[None]).item())
        assert value(found, split, "loss") == pytest.approx(np.mean(losses), abs=1e-6)
        assert value(found, split, "auroc") == auroc(dataset.labels[rows], found.scores[split])
    assert any(row.metric == "dice" for row in found.rows) != labels


def test_dice_is_against_the_target_of_the_specificity() -> None:
    """A model that finds the ring is perfect for masks, and short of the filled boxes."""
    dataset = squares(shape="ring", **QUIET)
    for kind, expected in (("mask", 1.0), ("box", 2 * 8 / (8 + 16))):
        found = evaluator(dataset, Specificity(kind))(Bright(), epoch=1)  # type: ignore[arg-type]
        assert value(found, "test", "dice") == pytest.approx(expected)


@pytest.mark.parametrize("training", [True, False])
def test_evaluation_never_changes_the_model(training: bool) -> None:
    """Weights, batch-norm buffers, gradients and mode are as before."""
    dataset = squares()
    model = build("small-unet", SmallUnet(channels=4), (16, 16, 1), 0, no_weights)
    model.train(training)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    evaluator(dataset, MASK)(model, epoch=1)
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(module.training == training for module in model.modules())


def test_values_are_named_for_rules() -> None:
    """`val.auroc`-like keys, without the rows of single attributes."""
    dataset = squares(**QUIET)
    nobody = np.full_like(dataset.attributes, UNKNOWN)
    two = replace(
        dataset,
        attributes=np.hstack([dataset.attributes, nobody]),
        attribute_names=("block", "ruler"),
        directions=(1, 1),
    )
    found = evaluator(two, MASK)(Bright(), epoch=1)
    metrics = ("auroc", "robust_auroc", "dice", "loss")
    assert set(found.values()) == {f"{split}.{m}" for split in ("val", "test") for m in metrics}
    assert math.isnan(value(found, "test", "robust_auroc", "ruler"))
    assert found.values()["test.robust_auroc"] == value(found, "test", "robust_auroc") == 1.0
    names = [row.attribute for row in found.rows if row.metric == "robust_auroc"]
    assert names == [None, "block", "ruler"] * 2


def test_an_empty_split_is_undefined() -> None:
    """A dataset without validation images gives NaN there, and the test split as usual."""
    dataset = squares(**QUIET)
    splits = np.where(dataset.splits == "val", "train", dataset.splits)
    found = evaluator(replace(dataset, splits=splits), MASK)(Bright(), epoch=1)
    assert {row.metric for row in found.rows if row.split == "val"} >= {"loss", "auroc", "dice"}
    assert all(math.isnan(row.value) for row in found.rows if row.split == "val")
    assert value(found, "test", "auroc") == 1.0


def test_a_nan_score_is_no_auroc() -> None:
    """A model that broke down is undefined, not average."""

    class Broken(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.new_full((len(x), 2), math.nan)

    found = evaluator(squares(), Specificity("label"))(Broken(), epoch=1)
    assert math.isnan(value(found, "test", "auroc"))


def test_bfloat16_evaluation_is_close_and_not_equal() -> None:
    """The forward pass is rounded; scores stay within a few per cent."""
    dataset = squares()
    model = build("small-unet", SmallUnet(channels=4), (16, 16, 1), 0, no_weights)
    exact, rounded = (
        evaluator(dataset, MASK, precision)(model, epoch=1).scores["test"]
        for precision in ("float32", "bfloat16")
    )
    assert (exact != rounded).any()
    np.testing.assert_allclose(exact, rounded, atol=0.02)
