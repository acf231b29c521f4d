"""What annotation costs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spurious.config.options import Prices, Specificity
from spurious.scoring.cost import AnnotationCounts, clicks, cost

LABEL, BOX, MASK = Specificity("label"), Specificity("box"), Specificity("mask")
PRICES = Prices()
POSITIVES = AnnotationCounts(10_000, 10_000, 0, 0, 0, 0, 0)
"""10,000 training images with one abnormality each, nothing else annotated."""


def test_the_paper_s_additional_dollars() -> None:
    """For 10,000 positives boxes cost $280 and masks $12,200 more than labels, as printed."""
    label, box, mask = (cost(s, POSITIVES, PRICES).axis for s in (LABEL, BOX, MASK))
    assert label == pytest.approx(10_000 / 36)
    assert box - label == pytest.approx(277.78, abs=0.01)
    assert round(box - label, -1) == 280
    assert mask - label == pytest.approx(12_222.22, abs=0.01)
    assert round(mask - label, -2) == 12_200


@pytest.mark.parametrize(
    ("specificity", "expected"),
    [
        (LABEL, 100),
        (BOX, 2 * 70 + 60),
        (Specificity("box", box_per="image"), 2 * 40 + 60),
        (MASK, 45 * 70 + 60),
        (Specificity("r", r=4), 2 * 70 + 60),
        (Specificity("r", r=2), 2 * 70 + 60),
        (Specificity("r", r=1), 100),
    ],
)
def test_clicks(specificity: Specificity, expected: float) -> None:
    """100 images, 40 positive with 70 abnormalities: a negative image always costs a label."""
    assert clicks(specificity, 100, 70, 60, PRICES) == expected


def test_every_price_is_its_own() -> None:
    """Changing one price moves exactly what is bought at that price."""
    counts = AnnotationCounts(10, 6, 5, 20, 0, 0, 0)
    cases = {
        "box": BOX,
        "mask": MASK,
        "r": Specificity("r", r=3),
        "label": LABEL,
        "spurious_label": None,
    }
    for name in cases:
        dearer = replace(PRICES, **{name: getattr(PRICES, name) + 36.0})
        for other, specificity in cases.items():
            bought = specificity or LABEL
            before, after = (cost(bought, counts, prices).axis for prices in (PRICES, dearer))
            # $1 a unit more: 6 abnormalities, 5 negatives or 10 labels, 20 spurious labels
            units = {"spurious_label": 20, "label": 10 if bought is LABEL else 5}.get(name, 6)
            applies = name in (other, "label", "spurious_label")
            assert after - before == pytest.approx(units if applies else 0), (name, other)


def test_items() -> None:
    """Training, spurious labels and validation are apart; the axis leaves validation out."""
    prices = Prices(wage_per_hour=72.0, seconds_per_click=5.0)  # 10 cents a click
    counts = AnnotationCounts(
        train_images=100,
        train_abnormalities=50,
        train_negatives=50,
        spurious_labels=200,
        val_images=20,
        val_abnormalities=12,
        val_negatives=10,
        val_spurious_labels=40,
    )
    found = cost(MASK, counts, prices)
    assert found.training == pytest.approx((50 * 45 + 50) * 0.1)
    assert found.spurious_labels == pytest.approx(240 * 0.1)
    assert found.validation == pytest.approx((12 * 45 + 10) * 0.1)
    assert found.axis == found.training + found.spurious_labels
    assert found.total == found.axis + found.validation


def test_validation_images_that_are_trained_on_count_once() -> None:
    """Their annotation moves to training, at the price of the same specificity; the total stays."""
    counts = AnnotationCounts(100, 50, 50, 0, 20, 12, 10)
    apart = cost(MASK, counts, PRICES)
    together = cost(MASK, replace(counts, trains_on_validation=True), PRICES)
    assert together.training == pytest.approx(apart.training + apart.validation)
    assert together.validation == 0
    assert together.total == pytest.approx(apart.total)
