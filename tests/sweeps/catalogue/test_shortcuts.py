"""The AUROC that attributes alone reach, on the released trap split where it is at hand."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from spurious.data.attributes import GroupCounts
from spurious.readers.isic.isic_files import ATTRIBUTES
from spurious.scoring.expected_width import expected_half_width, robust_groups
from sweeps.catalogue.shortcuts import measure_attribute_only, measure_correlation

RELEASED = Path(__file__).parents[4] / "shared/data/isic"


@pytest.mark.skipif(not RELEASED.exists(), reason="reads the tables of Bissoto et al. 2020")
def test_the_first_trap_split() -> None:
    """1,563, 259 and 772 images; artefacts alone find melanoma in train and are wrong on test."""
    rows: dict[str, tuple[str, list[int], int]] = {}
    for split in ("val", "train", "test"):
        with (RELEASED / f"isic_annotated_{split}1.csv").open() as file:
            for row in csv.DictReader(file):
                values = [int(row[name]) for name in ATTRIBUTES]
                rows.setdefault(row["image"], (split, values, int(row["label"])))
    splits, attributes, labels = (np.array(column) for column in zip(*rows.values(), strict=True))
    measured = measure_attribute_only(splits, labels, attributes.astype(np.int8))
    assert measured is not None
    assert measured.images == {"train": 1563, "val": 259, "test": 772}
    assert measured.auroc["train"] == pytest.approx(0.875, abs=0.002)
    assert measured.auroc["test"] == pytest.approx(0.016, abs=0.002)


def test_what_cannot_be_measured() -> None:
    """No attribute, one class, or nothing annotated."""
    splits, labels = np.array(["train"] * 4), np.array([0, 1, 0, 1])
    assert measure_attribute_only(splits, labels, np.zeros((4, 0), np.int8)) is None
    assert measure_attribute_only(splits, labels, np.full((4, 1), -1, np.int8)) is None
    half = np.array([[-1], [1], [-1], [0]], np.int8)
    assert measure_attribute_only(splits, labels, half) is None
    whole = measure_attribute_only(splits, labels, np.array([[0], [1], [0], [1]], np.int8))
    assert whole is not None
    assert whole.auroc["train"] == 1.0
    assert math.isnan(whole.auroc["test"])


def test_correlation() -> None:
    """The phi coefficient; images without an annotation do not count."""
    assert measure_correlation(GroupCounts(5, 0, 0, 5, 9, 9)) == 1.0
    assert measure_correlation(GroupCounts(0, 5, 5, 0, 0, 0)) == -1.0
    assert measure_correlation(GroupCounts(5, 5, 5, 5, 0, 0)) == 0.0
    assert math.isnan(measure_correlation(GroupCounts(5, 0, 5, 0, 0, 0)))


def test_expected_half_width_is_that_of_drawn_scores() -> None:
    """Of exponential scores, for which the formula is exact; within the error of 4,000 draws."""
    rng = np.random.default_rng(0)
    # P(X1 > X0) = 0.8 for means 4 and 1
    x1, x0 = rng.exponential(4.0, (4000, 30)), rng.exponential(1.0, (4000, 40))
    areas = (x1[:, :, None] > x0[:, None, :]).mean(axis=(1, 2))
    assert 1.96 * areas.std() == pytest.approx(expected_half_width(30, 40), rel=0.03)
    assert math.isnan(expected_half_width(0, 40))
    counts = GroupCounts(1, 2, 3, 4, 0, 0)
    assert robust_groups(counts, +1) == (3, 2)
    assert robust_groups(counts, -1) == (4, 1)
