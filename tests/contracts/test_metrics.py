"""What every metric that is computed from predictions owes: its values by hand."""

from __future__ import annotations

import numpy as np
import pytest
from contract_values import (
    CLASS_NUMBERS,
    CLASS_PROBABILITIES,
    CLASS_VALUES,
    METRIC_ATTRIBUTE,
    METRIC_LABELS,
    METRIC_SCORES,
    METRIC_THRESHOLD,
    METRIC_VALUES,
)

from spurious.scoring.metric import Predictions
from spurious.scoring.registry import METRICS


@pytest.mark.parametrize("name", METRIC_VALUES)
def test_a_metric_has_the_values_computed_by_hand(name: str) -> None:
    """On six images with one attribute, which goes with the label in training."""
    compute = METRICS[name].compute
    assert compute is not None
    values = compute(
        Predictions(
            np.array(METRIC_LABELS),
            np.array(METRIC_SCORES),
            np.array(METRIC_ATTRIBUTE, np.int8)[:, None],
            ("tube",),
            (1,),
            METRIC_THRESHOLD,
        )
    )
    shown = {value.attribute: value.value for value in values}
    assert shown == pytest.approx(METRIC_VALUES[name])


@pytest.mark.parametrize("name", CLASS_VALUES)
def test_a_metric_of_classes_has_the_value_computed_by_hand(name: str) -> None:
    """Groups are of class and attribute; the score is the probability of class 0."""
    compute = METRICS[name].compute
    assert compute is not None
    numbers, probabilities = np.array(CLASS_NUMBERS), np.array(CLASS_PROBABILITIES)
    predictions = Predictions(
        (numbers == 0).astype(np.int64),
        probabilities[:, 0],
        np.ones((6, 1), np.int8),
        ("tube",),
        (1,),
        probabilities=probabilities,
        class_numbers=numbers,
    )
    [value] = compute(predictions)
    assert value.value == pytest.approx(CLASS_VALUES[name])
