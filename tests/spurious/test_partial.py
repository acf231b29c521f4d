"""Datasets in which somebody drew on some images only: targets, losses, Dice and counts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_data import fit_config, fitted, read_only, squares

from spurious.config.options import Budget, Specificity
from spurious.data.dataset import Dataset
from spurious.data.drawn import BOXES, MASK, carries, fill_boxes, rank_by_detail
from spurious.data.inputs import PackedTargets
from spurious.data.masks import PackedMasks
from spurious.errors import ConfigError
from spurious.fit import annotated_rows, rest_rows
from spurious.scoring.annotations import count_annotations, image_facts
from spurious.scoring.metrics import mean_dice
from spurious.training.evaluate import Evaluator
from spurious.training.supervision import supervision_for


def partial(keep: int = 2) -> Dataset:
    """Squares of which one in `keep` of each label has its mask, the next boxes of its own."""
    whole = squares(n_train=40)
    turn = np.zeros(len(whole.labels), int)
    for split in ("train", "val", "test"):
        for label in (0, 1):
            at = np.flatnonzero((whole.splits == split) & (whole.labels == label))
            turn[at] = np.arange(len(at)) % (keep + 1)
    drawn = np.select([turn == 0, turn == 1], [MASK, BOXES], 0).astype(np.uint8)
    bits = np.where((drawn & MASK)[:, None].astype(bool), whole.masks.bits, 0).astype(np.uint8)
    corners = fill_boxes(np.array([[2, 3, 9, 8]], np.int32), 16, 16)
    boxes = np.stack(
        [corners & bool(of & BOXES) & bool(y) for of, y in zip(drawn, whole.labels, strict=True)]
    )
    return read_only(
        replace(
            whole,
            masks=PackedMasks(bits, 16, 16),
            drawn=drawn,
            boxes=PackedMasks.pack(boxes),
            abnormalities=np.where(drawn > 0, whole.abnormalities, 0),
        )
    )


def test_what_carries_an_annotation() -> None:
    """A box is had of boxes or of a mask, a mask of a mask alone, a label always."""
    drawn = np.array([0, MASK, BOXES, MASK | BOXES], np.uint8)
    assert carries(drawn, "label").all()
    assert carries(drawn, "box").tolist() == [False, True, True, True]
    assert carries(drawn, "mask").tolist() == [False, True, False, True]
    both = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    assert rank_by_detail(np.tile(drawn, 2), both).tolist() == [2, 0, 1, 0] * 2
    assert rank_by_detail(drawn, np.array([0, 1, 0, 1])).tolist() == [2, 1, 1, 1]


def test_box_targets_are_the_boxes_that_were_drawn() -> None:
    """Where there are none, those of the mask; masks are never taken from boxes."""
    dataset = partial()
    for kind in ("box", "mask"):
        rows = np.flatnonzero((dataset.labels == 1) & carries(dataset.drawn, kind))  # type: ignore[arg-type]
        targets = PackedTargets(dataset.masks, rows, Specificity(kind), None, dataset.boxes)  # type: ignore[arg-type]
        for position, row in enumerate(rows):
            target = targets[np.array([position])][0]
            own = dataset.drawn[row] == BOXES  # type: ignore[index]
            assert target.sum() == (35 if own else 16)
            assert not own or target[3:8, 2:9].all()


@pytest.mark.parametrize("kind", ["label", "box", "mask"])
def test_every_specificity_of_a_seed_sees_images_with_masks(kind: str) -> None:
    """Also a cell of labels; the others are the unannotated rest."""
    dataset = partial()
    config = replace(fit_config(kind), budget=Budget(8))
    rows = annotated_rows(dataset, config)
    assert (
        rows.tolist()
        == annotated_rows(dataset, replace(config, specificity=Specificity("mask"))).tolist()
    )
    assert (dataset.drawn[rows] & MASK).all()  # type: ignore[index]
    assert len(rest_rows(dataset, config)) == 32


def test_masks_that_nobody_drew_are_in_no_loss_and_no_dice() -> None:
    """Both are means over the drawn ones, and change with no other image's bits."""
    dataset = partial()
    rows = dataset.rows("val")
    drawn = carries(dataset.drawn_on(rows), "mask")
    assert 0 < drawn.sum() < len(rows)
    torch.manual_seed(0)
    model = torch.nn.Conv2d(1, 2, 3, padding=1)
    config = fit_config("mask")
    specificity = Specificity("mask")
    evaluate = Evaluator(
        dataset, specificity, supervision_for(specificity, None), config.train, torch.device("cpu")
    )
    values = evaluate(model, 1).values()
    with torch.no_grad():
        logits = model(
            torch.from_numpy(np.ascontiguousarray(dataset.images[rows].transpose(0, 3, 1, 2)))
        )
    target = dataset.masks[rows] & (dataset.labels[rows] == 1)[:, None, None]
    losses = torch.nn.functional.cross_entropy(
        logits, torch.from_numpy(target).long(), reduction="none"
    )
    assert values["val.loss"] == pytest.approx(float(losses.mean((1, 2))[drawn].mean()), rel=1e-6)
    called = logits.argmax(1).bool().numpy()
    sums = [(called & target).sum((1, 2)), called.sum((1, 2)), target.sum((1, 2))]
    assert values["val.dice"] == pytest.approx(mean_dice(*(each[drawn] for each in sums)))
    assert values["val.dice"] != mean_dice(*sums)


def test_images_without_an_annotation_cost_a_label() -> None:
    """Of validation, which is scored at the specificity where it can be; budgets cost as ever."""
    dataset = partial()
    config = replace(fit_config("mask"), budget=Budget(8))
    counts = count_annotations(image_facts(dataset), config)
    val = dataset.rows("val")
    with_mask = carries(dataset.drawn_on(val), "mask") & (dataset.labels[val] == 1)
    assert (counts.train_images, counts.train_abnormalities, counts.train_negatives) == (8, 4, 4)
    assert counts.val_abnormalities == with_mask.sum()
    assert counts.val_negatives == len(val) - with_mask.sum()


def test_a_fit_at_every_specificity() -> None:
    """Trains where the masks suffice, and names the maximum where they do not."""
    dataset = partial()
    for kind in ("label", "box", "mask"):
        config = replace(fit_config(kind, epochs=2), budget=Budget(8))
        assert fitted(dataset, config).kept_epoch
    with pytest.raises(ConfigError, match=r"with masks .*: expected at most"):
        fitted(dataset, replace(fit_config("mask"), budget=Budget(20)))
