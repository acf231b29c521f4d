"""Losses per image and read-outs of pixel logits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from spurious.config.fields import problems
from spurious.config.models import Aggregation
from spurious.config.options import Specificity
from spurious.training.supervision import Classification, Segmentation, aggregate, supervision_for

READOUTS = ["mean_prob", "mean_logit", "max_prob", "area_fraction", "top_fraction"]


def logits_of(margins: Any, offset: float = 0.0) -> torch.Tensor:
    """(B, 2, H, W) logits whose class-1 minus class-0 margin is given as (B, H, W)."""
    margin = torch.as_tensor(margins, dtype=torch.float32)
    return torch.stack([torch.full_like(margin, offset), margin + offset], dim=1)


@pytest.mark.parametrize(
    ("readout", "expected"),
    [
        (Aggregation(), 0.620503),
        (Aggregation(name="mean_logit"), 0.731059),
        (Aggregation(name="max_prob"), 0.982014),
        (Aggregation(name="area_fraction"), 0.75),  # p = 0.5 counts
        (Aggregation(name="area_fraction", threshold=0.51), 0.5),
        (Aggregation(name="top_fraction", fraction=0.5), (0.982014 + 0.880797) / 2),
        (Aggregation(name="top_fraction", fraction=0.01), 0.982014),  # at least one pixel
        (Aggregation(name="top_fraction", fraction=1.0), 0.620503),
    ],
)
def test_read_outs_by_hand(readout: Aggregation, expected: float) -> None:
    """Four pixels with margins 2, -2, 0 and 4."""
    for offset in (0.0, -30.0):
        found = aggregate(logits_of([[[2.0, -2.0], [0.0, 4.0]]], offset), readout)
        assert found.shape == (1,)
        assert found.item() == pytest.approx(expected, abs=1e-6)


def test_read_outs_of_probabilities() -> None:
    """p = .9, .1, .2, .4: mean .4, maximum .9, a quarter at or above one half."""
    p = np.array([[[0.9, 0.1], [0.2, 0.4]]])
    logits = logits_of(np.log(p / (1 - p)))
    found = [
        aggregate(logits, Aggregation(name=name)).item() for name in READOUTS[:1] + READOUTS[2:4]
    ]  # type: ignore[arg-type]
    assert found == pytest.approx([0.4, 0.9, 0.25])


@pytest.mark.parametrize(("area", "positive"), [(0, 1.0), (1, 0.0)])
def test_an_area_is_counted_in_pixels(area: int, positive: float) -> None:
    """One of .9, .1, .2, .4 is above one half: more than 0 pixels, and no more than 1.

    Pixels at the threshold do not count, and twice the resolution has four times the pixels.
    """
    p = np.array([[[0.9, 0.1], [0.2, 0.4]]])
    logits = logits_of(np.log(p / (1 - p)))
    readout = Aggregation(name="area_count", area=area)
    assert aggregate(logits, readout).tolist() == [positive]
    fine = logits.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    assert aggregate(fine, readout).tolist() == [1.0]
    assert aggregate(logits_of(np.zeros((2, 3, 3))), readout).tolist() == [0.0, 0.0]
    low = Aggregation(name="area_count", area=area, threshold=0.15)
    assert aggregate(logits, low).tolist() == [1.0]


def test_options_that_a_read_out_does_not_read_are_refused() -> None:
    """With the read-outs that do."""
    assert problems(Aggregation(name="area_count", area=3, threshold=0.4)) == []
    assert problems(Aggregation(area=3)) == [
        "area is not read by mean_prob; remove it, or use area_count"
    ]
    [found] = problems(Aggregation(name="max_prob", threshold=0.4))
    assert found.endswith("remove it, or use area_fraction or area_count")


@pytest.mark.parametrize("name", READOUTS)
def test_scores_do_not_depend_on_resolution(name: Any) -> None:
    """Nearest-neighbour up-sampling by two leaves every read-out as it is."""
    margins = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 10, 12))) * 3
    readout = Aggregation(name=name)
    fine = margins.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    np.testing.assert_allclose(
        aggregate(logits_of(margins), readout), aggregate(logits_of(fine), readout), rtol=1e-5
    )


def test_the_score_is_the_softmax_probability() -> None:
    """The margin's sigmoid is the softmax of two logits, without overflow at extremes."""
    logits = torch.tensor([[1.0, 3.0], [0.0, 0.0], [500.0, -500.0]])
    expected = [1 / (1 + math.exp(-2.0)), 0.5, 0.0]
    assert Classification().scores(logits).tolist() == pytest.approx(expected)
    pixels = logits[:, :, None, None].expand(3, 2, 4, 4)
    assert Segmentation(Aggregation()).scores(pixels).tolist() == pytest.approx(expected)


def test_cross_entropy_by_hand() -> None:
    """Undecided logits lose ln 2 whatever the target; else -log of the target's probability."""
    labels = Classification().losses(torch.zeros(2, 2), torch.tensor([0, 1]))
    assert labels.tolist() == pytest.approx([math.log(2)] * 2, abs=1e-6)
    pixels = Segmentation(Aggregation()).losses(torch.zeros(1, 2, 3, 5), torch.ones(1, 3, 5).long())
    assert pixels.tolist() == pytest.approx([0.693147], abs=1e-6)
    found = Classification().losses(torch.tensor([[0.0, 2.0]] * 2), torch.tensor([0, 1]))
    assert found.tolist() == pytest.approx([math.log(1 + math.exp(2)), math.log(1 + math.exp(-2))])


def test_an_image_s_loss_is_the_mean_over_its_pixels() -> None:
    """(B,) losses: half the pixels wrong by margin 2, half right by it; images stay apart."""
    target = torch.tensor([[[1, 1], [0, 0]]] * 2)
    logits = logits_of([[[2.0, 2.0], [2.0, 2.0]], [[2.0, 2.0], [-2.0, -2.0]]])
    right, wrong = math.log(1 + math.exp(-2)), math.log(1 + math.exp(2))
    found = Segmentation(Aggregation()).losses(logits, target)
    assert found.tolist() == pytest.approx([(right + wrong) / 2, right])


def test_half_precision_logits_are_scored_in_single() -> None:
    """Scores of bfloat16 logits are float32: at eight bits of mantissa many images would tie."""
    logits = torch.randn(2, 2, 4, 4, generator=torch.Generator().manual_seed(0)).bfloat16()
    supervision = Segmentation(Aggregation())
    assert supervision.scores(logits).dtype == torch.float32
    assert supervision.losses(logits, torch.zeros(2, 4, 4).long()).dtype == torch.float32
    assert Classification().scores(logits[:, :, 0, 0]).dtype == torch.float32
    expected = logits.double().softmax(dim=1)[:, 1].mean(dim=(1, 2))
    np.testing.assert_allclose(supervision.scores(logits), expected, rtol=1e-6)


def test_task_of_each_specificity() -> None:
    """Labels are classified, everything else is segmented with the given read-out."""
    assert not supervision_for(Specificity("label"), None).segments
    readout = Aggregation(name="max_prob")
    for specificity in (Specificity("box"), Specificity("mask"), Specificity("r", r=1)):
        supervision = supervision_for(specificity, readout)
        assert isinstance(supervision, Segmentation)
        assert supervision.segments
        assert supervision.readout == readout
    default = supervision_for(Specificity("mask"), None)
    assert isinstance(default, Segmentation)
    assert default.readout == Aggregation()
