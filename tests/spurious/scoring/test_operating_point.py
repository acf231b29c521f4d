"""Thresholds fixed on validation, and what they do elsewhere."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import recall_score, roc_curve

from spurious.scoring.metric import Predictions
from spurious.scoring.operating_point import OperatingPoint, call_rate
from spurious.scoring.registry import METRICS, compute_metrics

SCORED = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 8)), min_size=1, max_size=30)
"""(y, score in eighths) per image; few values, so that ties are common."""


@given(SCORED, st.sampled_from([0.01, 0.5, 0.9, 1.0]))
def test_thresholds_are_those_of_the_roc_curve(
    rows: list[tuple[int, int]], sensitivity: float
) -> None:
    """Youden's J is the highest that the curve has; a sensitivity is reached, and just so."""
    labels, eighths = np.array(rows, dtype=np.int64).T
    scores = eighths / 8
    youden = OperatingPoint().threshold(labels, scores)
    asked = OperatingPoint(sensitivity).threshold(labels, scores)
    if not 0 < labels.sum() < len(labels):
        assert math.isnan(youden)
        assert math.isnan(asked)
        return
    alarms, hits, thresholds = roc_curve(labels, scores, drop_intermediate=False)
    rate = [call_rate(labels, scores, youden, label) for label in (1, 0)]
    assert sum(rate) - 1 == pytest.approx((hits - alarms).max(), abs=1e-12)
    assert rate[0] == pytest.approx(recall_score(labels, scores >= youden, zero_division=0))
    assert asked == thresholds[hits >= sensitivity].max()


def test_a_score_that_says_nothing_calls_nothing_abnormal() -> None:
    """Without a positive J the threshold is above every score, and finite."""
    labels, scores = np.array([1, 0]), np.array([0.2, 0.7])
    threshold = OperatingPoint().threshold(labels, scores)
    assert 0.7 < threshold < 0.71
    assert math.isnan(OperatingPoint().threshold(labels, np.array([0.2, math.nan])))


def test_rates_by_group_by_hand() -> None:
    """Sensitivity and specificity with and without the attribute; unknown ones are in neither."""
    predictions = Predictions(
        labels=np.array([1, 1, 1, 1, 0, 0, 0]),
        scores=np.array([0.9, 0.1, 0.5, 0.4, 0.6, 0.2, 0.3]),
        attributes=np.array([[1], [1], [0], [-1], [1], [0], [0]], dtype=np.int8),
        names=("tube",),
        directions=(1,),
        threshold=0.5,
    )
    values = {(name, value.attribute): value for name, value in compute_metrics(predictions, False)}
    assert values["sensitivity", None].value == 0.5
    assert values["specificity", None].value == pytest.approx(2 / 3)
    rates = {name: values[name, "tube"].value for name in METRICS if name[-3:] in ("_s0", "_s1")}
    assert rates == {
        "sensitivity_s0": 1.0,
        "sensitivity_s1": 0.5,
        "specificity_s0": 1.0,
        "specificity_s1": 0.0,
    }
    counts = values["sensitivity_s0", "tube"].cells
    assert counts is not None
    assert (counts.y0_s0, counts.y0_s1, counts.y1_s0, counts.y1_s1) == (2, 1, 1, 2)
