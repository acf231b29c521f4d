"""What annotation costs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spurious.config.options import Prices, Specificity
from spurious.data.mask_of import MaskOf
from spurious.scoring.cost import PARTS, AnnotationCounts, cost, drawn_items, price, trial_items

LABEL, BOX, MASK = Specificity("label"), Specificity("box"), Specificity("mask")
PRICES = Prices()
POSITIVES = AnnotationCounts(10_000, 10_000, 0, 0, 0, 0, 0)
"""10,000 training images with one abnormality each, nothing else annotated."""


def test_the_paper_s_additional_dollars() -> None:
    """For 10,000 positives boxes cost $280 and masks $12,200 more than labels, as printed."""
    label, box, mask = (cost(s, POSITIVES, PRICES).total for s in (LABEL, BOX, MASK))
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
    dollar_a_click = replace(PRICES, wage_per_hour=3600.0)
    assert price(drawn_items(specificity, 100, 70, 60), dollar_a_click) == expected


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
            before, after = (cost(bought, counts, prices).total for prices in (PRICES, dearer))
            # $1 a unit more: 6 abnormalities, 5 negatives or 10 labels, 20 spurious labels
            units = {"spurious_label": 20, "label": 10 if bought is LABEL else 5}.get(name, 6)
            applies = name in (other, "label", "spurious_label")
            assert after - before == pytest.approx(units if applies else 0), (name, other)


@pytest.mark.parametrize(
    ("mask_of", "expected"),
    [
        ("lungs", {"mask": 100 + 100 * 90, "box": 100 + 100 * 4, "r=4": 100 + 100 * 4}),
        ("heart", {"mask": 100 + 100 * 45, "box": 100 + 100 * 2, "box=image": 100 + 100 * 2}),
        ("region", {"mask": 100 + 100 * 45, "r=4": 100 + 100 * 2}),
        ("circle", {"mask": 100, "box": 100, "box=image": 100, "r=4": 100}),
        ("lungs", {"label": 100, "r=1": 100, "box=image": 100 + 100 * 2}),
    ],
)
def test_regions_have_prices_of_their_own(mask_of: MaskOf, expected: dict[str, int]) -> None:
    """Of 100 images each costs its label and its outlines, whatever is abnormal on it."""
    counts = AnnotationCounts(100, 70, 60, 0, 20, 0, 20, rest_labels=7, mask_of=mask_of)
    kinds = {
        "label": LABEL,
        "box": BOX,
        "mask": MASK,
        "box=image": Specificity("box", box_per="image"),
        "r=4": Specificity("r", r=4),
        "r=1": Specificity("r", r=1),
    }
    dollar_a_click = replace(PRICES, wage_per_hour=3600.0)
    for name, amount in expected.items():
        found = cost(kinds[name], counts, dollar_a_click)
        assert found.training == pytest.approx(amount + 7), name
        assert found.validation == pytest.approx(20)
    dearer = cost(MASK, counts, replace(dollar_a_click, region=46.0)).training
    outlines = {"lungs": 2, "circle": 0}.get(mask_of, 1)
    assert dearer == pytest.approx(107 + 100 * 46 * outlines)


def test_ranked_explanations() -> None:
    """A pair costs two clicks, and each explanation that is shown for it a label."""
    counts = AnnotationCounts(100, 50, 50, 0, 0, 0, 0, ranked_pairs=1, explanations=20)
    prices = replace(PRICES, wage_per_hour=3600.0)
    assert cost(LABEL, counts, prices).training == pytest.approx(100 + 20 + 2)
    dearer = replace(prices, ranked_pair=12.0)
    assert cost(LABEL, counts, dearer).training == pytest.approx(100 + 20 + 12)
    named = replace(counts, explanations=0)
    assert cost(LABEL, named, prices).training == pytest.approx(100 + 2)


def test_items() -> None:
    """Training, spurious labels and validation are apart; an axis counts what it names."""
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
    assert found.on(["training", "compute"]) == found.training
    assert found.on(["validation", "training"]) == found.training + found.validation
    assert found.total == found.training + found.spurious_labels + found.validation
    items = trial_items(MASK, counts)
    assert items == {
        "training": {"mask": 50, "label": 50},
        "spurious_labels": {"spurious_label": 240},
        "validation": {"mask": 12, "label": 10},
    }
    assert [price(items[part], prices) for part in PARTS] == pytest.approx(
        [found.training, found.spurious_labels, found.validation]
    )


def test_validation_images_that_are_trained_on_count_once() -> None:
    """Their annotation moves to training, at the price of the same specificity; the total stays."""
    counts = AnnotationCounts(100, 50, 50, 0, 20, 12, 10)
    apart = cost(MASK, counts, PRICES)
    together = cost(MASK, replace(counts, trains_on_validation=True), PRICES)
    assert together.training == pytest.approx(apart.training + apart.validation)
    assert together.validation == 0
    assert together.total == pytest.approx(apart.total)
