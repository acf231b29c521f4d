"""AUROC, robust AUROC and Dice."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu
from sklearn.metrics import average_precision_score, brier_score_loss

from spurious.data.attributes import UNKNOWN, GroupCounts
from spurious.scoring.metrics import (
    auroc,
    average_precision,
    brier_score,
    calibration_error,
    dice,
    mean_dice,
    robust_auroc,
)

SCORED = st.lists(
    st.tuples(st.integers(0, 1), st.integers(-1, 1), st.integers(-3, 3)), min_size=1, max_size=30
)
"""(y, s, score) per image; few values, so that ties are common."""


def columns(
    rows: list[tuple[int, int, float]],
) -> tuple[NDArray[np.int64], NDArray[np.int8], NDArray[np.float64]]:
    """Labels (N,), one attribute (N, 1) and scores (N,)."""
    y, s, scores = zip(*rows, strict=True)
    return (
        np.array(y, dtype=np.int64),
        np.array(s, dtype=np.int8)[:, None],
        np.array(scores, dtype=np.float64),
    )


def pairs_won(labels: NDArray[np.int64], scores: NDArray[np.float64]) -> float:
    """Share of (positive, negative) pairs in the right order, ties one half; NaN without pairs."""
    positive, negative = scores[labels == 1], scores[labels == 0]
    won = [(p > n) + 0.5 * (p == n) for p in positive for n in negative]
    return float(np.mean(won)) if won else math.nan


@given(SCORED)
def test_auroc_is_the_share_of_pairs_in_order(rows: list[tuple[int, int, float]]) -> None:
    """Brute force over pairs and scipy's U statistic agree, with ties and absent classes."""
    labels, _, scores = columns(rows)
    expected = pairs_won(labels, scores)
    assert auroc(labels, scores) == pytest.approx(expected, abs=1e-12, nan_ok=True)
    if not math.isnan(expected):
        positive, negative = scores[labels == 1], scores[labels == 0]
        u = mannwhitneyu(positive, negative).statistic
        assert auroc(labels, scores) == pytest.approx(u / len(positive) / len(negative))


@given(SCORED, st.integers(0, 2**31))
def test_auroc_reads_ranks_only(rows: list[tuple[int, int, float]], seed: int) -> None:
    """Order of images and increasing transforms of the score do not matter; negation mirrors."""
    labels, _, scores = columns(rows)
    value = auroc(labels, scores)
    order = np.random.default_rng(seed).permutation(len(labels))
    for same in (
        auroc(labels[order], scores[order]),
        auroc(labels, np.exp(scores) - 7),
        auroc(labels, scores.astype(np.float32)),
        1 - auroc(labels, -scores),
        1 - auroc(1 - labels, scores),
    ):
        assert same == pytest.approx(value, abs=1e-12, nan_ok=True)


def test_undefined_is_nan() -> None:
    """An absent class, no image or a NaN score have no AUROC, which is not 0."""
    for labels, scores in (([1, 1], [0.1, 0.2]), ([0], [0.5]), ([], []), ([0, 1], [0.1, math.nan])):
        assert math.isnan(auroc(np.array(labels, np.int64), np.array(scores, np.float64)))


def test_robust_auroc_by_hand() -> None:
    """Four images, one per group: overall 2 of 4 pairs, on the contradicting pair 0."""
    y, s, scores = columns([(0, 0, 0.1), (0, 1, 0.9), (1, 0, 0.4), (1, 1, 0.8)])
    assert auroc(y, scores) == 0.5
    together, single = robust_auroc(y, scores, s, ["tube"], [1])
    assert together.attribute is None
    assert single.attribute == "tube"
    assert together.value == single.value == 0.0
    assert together.cells == single.cells == GroupCounts(1, 1, 1, 1, 0, 0)
    turned = robust_auroc(y, scores, s, ["hair"], [-1])
    assert [found.value for found in turned] == [1.0, 1.0]  # 0.8 over 0.1


@given(SCORED)
def test_a_shortcut_has_robust_auroc_0(rows: list[tuple[int, int, float]]) -> None:
    """A score that is the attribute fails on every contradicting image; the label wins on all."""
    y, s, _ = columns(rows)
    shortcut = robust_auroc(y, s[:, 0].astype(np.float64), s, ["s"], [1])
    perfect = robust_auroc(y, y.astype(np.float64), s, ["s"], [1])
    counted = shortcut[0].cells
    if counted.y0_s1 and counted.y1_s0:
        assert {found.value for found in shortcut} == {0.0}
        assert {found.value for found in perfect} == {1.0}
    else:
        assert all(math.isnan(found.value) for found in shortcut + perfect)


@given(SCORED, st.sampled_from([1, -1]))
def test_robust_auroc_is_auroc_on_two_groups(rows: list[tuple[int, int, float]], sign: int) -> None:
    """Brute force: pairs among {y=0, s=1} and {y=1, s=0}, s flipped where it goes against y."""
    y, s, scores = columns(rows)
    turned = s[:, 0] if sign == 1 else np.where(s[:, 0] == UNKNOWN, UNKNOWN, 1 - s[:, 0])
    kept = (turned != UNKNOWN) & (turned != y)
    for found in robust_auroc(y, scores, s, ["s"], [sign]):
        assert found.value == pytest.approx(
            pairs_won(y[kept], scores[kept]), abs=1e-12, nan_ok=True
        )


def test_several_attributes() -> None:
    """One value together and one for each; together counts images, each counts its own cells."""
    y = np.array([0, 0, 1, 1, 1], dtype=np.int64)
    attributes = np.array([[1, 1], [1, 0], [0, 0], [0, 1], [1, UNKNOWN]], dtype=np.int8)
    scores = np.array([0.6, 0.1, 0.5, 0.9, 0.2])
    together, first, second = robust_auroc(y, scores, attributes, ["a", "b"], [1, 1])
    assert (together.attribute, first.attribute, second.attribute) == (None, "a", "b")
    assert together.value == 0.0  # image 2 (0.5) against image 0 (0.6)
    assert together.cells == GroupCounts(0, 1, 1, 0, 0, 0)
    assert first.value == 3 / 4  # images 2, 3 (0.5, 0.9) against 0, 1 (0.6, 0.1)
    assert first.cells == GroupCounts(0, 2, 2, 1, 0, 0)
    assert second.value == 0.0
    assert second.cells == GroupCounts(1, 1, 1, 1, 0, 1)


def test_without_attributes_there_is_no_robust_auroc() -> None:
    """A dataset without spurious attributes has no such value, not even NaN."""
    y = np.array([0, 1], dtype=np.int64)
    assert robust_auroc(y, np.array([0.1, 0.2]), np.empty((2, 0), np.int8), [], []) == []


def image(*pixels: int) -> NDArray[np.bool_]:
    """A 3 x 3 image with some pixels True."""
    mask = np.zeros(9, bool)
    mask[list(pixels)] = True
    return mask.reshape(3, 3)


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([(image(0, 1, 2, 3), image(0, 1, 2, 3))], 1.0),
        ([(image(0, 1, 2, 3), image(2, 3, 4, 5))], 0.5),
        ([(image(), image()), (image(4), image(4))], 1.0),
        ([(image(8), image()), (image(4), image(4))], 0.5),
        ([(image(), image(8)), (image(4), image(4))], 0.5),
        ([(image(), image())], math.nan),
        ([(image(0), image(1))], 0.0),
    ],
)
def test_dice(pairs: list[tuple[NDArray[np.bool_], NDArray[np.bool_]]], expected: float) -> None:
    """Mean over images that are not empty twice; an empty target with a false positive is 0."""
    predicted, target = (np.stack(masks) for masks in zip(*pairs, strict=True))
    assert dice(predicted, target) == pytest.approx(expected, nan_ok=True)
    assert dice(target, predicted) == pytest.approx(expected, nan_ok=True)


def test_dice_from_counts() -> None:
    """|P| = |T| = 4 with 2 in common is 1/2; the mean is over images, not pixels."""
    counts = (np.array([2, 100, 0]), np.array([4, 100, 0]), np.array([4, 100, 0]))
    assert mean_dice(*counts) == 0.75
    assert math.isnan(mean_dice(*(np.array([], dtype=np.int64),) * 3))


@given(st.lists(st.integers(1, 40), min_size=4, max_size=4))
def test_a_pure_shortcut_scores_as_counts_dictate(counts: list[int]) -> None:
    """Overall AUROC is the share of pairs that s puts in order, ties half; robust AUROC is 0."""
    labels, attribute = np.repeat([0, 0, 1, 1], counts), np.repeat([0, 1, 0, 1], counts)
    n00, n01, n10, n11 = counts
    concordant = n11 * n00 + 0.5 * (n11 * n01 + n10 * n00)
    scores = attribute.astype(np.float64)
    assert auroc(labels, scores) == pytest.approx(concordant / ((n10 + n11) * (n00 + n01)))
    [one] = robust_auroc(labels, scores, attribute.astype(np.int8)[:, None], ("tube",), (1,))[-1:]
    assert one.value == 0.0


PROBABILITIES = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 15)), min_size=1, max_size=40)
"""(y, score in fifteenths) per image: ties, ends of the range and ends of bins are common."""


@given(PROBABILITIES)
def test_scores_of_probabilities_are_those_of_scikit_learn(rows: list[tuple[int, int]]) -> None:
    """Average precision and Brier score, with ties; the calibration error image by image."""
    labels, fifteenths = np.array(rows, dtype=np.int64).T
    scores = fifteenths / 15
    if 0 < labels.sum() < len(labels):
        expected = average_precision_score(labels, scores)
        assert average_precision(labels, scores) == pytest.approx(expected, abs=1e-12)
    else:
        assert math.isnan(average_precision(labels, scores))
    expected = brier_score_loss(labels, scores, pos_label=1)
    assert brier_score(labels, scores) == pytest.approx(expected, abs=1e-12)
    bins = [max(1, fifteenth) for fifteenth in fifteenths]  # bin m is ((m - 1) / 15, m / 15]
    total = 0.0
    for one in set(bins):
        mine = np.array([index == one for index in bins])
        total += mine.sum() * abs(labels[mine].mean() - scores[mine].mean())
    assert calibration_error(labels, scores) == pytest.approx(total / len(labels), abs=1e-12)


def test_what_is_not_a_probability_has_no_calibration() -> None:
    """NaN, never 0: without images, with a NaN score, and with logits; ranks need no range."""
    labels = np.array([0, 1])
    for scores in (np.array([0.1, math.nan]), np.array([-0.1, 0.5]), np.array([0.5, 1.1])):
        assert math.isnan(brier_score(labels, scores))
        assert math.isnan(calibration_error(labels, scores))
    assert math.isnan(brier_score(labels[:0], np.empty(0)))
    assert math.isnan(calibration_error(labels[:0], np.empty(0)))
    assert math.isnan(average_precision(labels, np.array([0.1, math.nan])))
    assert average_precision(labels, np.array([-3.0, 5.0])) == 1.0
