"""What is measured once per fit: the kept model's embeddings, and the annotation's variance."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spurious.config.options import Specificity
from spurious.data.dataset import Dataset
from spurious.data.splits import TEST
from spurious.data.training_set import TrainingSet
from spurious.methods.base import TrainingProblem
from spurious.methods.covering import covering_rows
from spurious.methods.first_model import load_first_model
from spurious.scoring.groups import count_groups
from spurious.scoring.measures import (
    alignment,
    empirical_variance,
    pool_moments,
    relative_variance,
)
from spurious.training.evaluate import MetricRow
from spurious.training.explained import ExplanationRequest, explain_test
from spurious.training.image_moments import derive_moments
from spurious.training.loop import Fit

EMBEDDED = TEST
"""The split whose images are embedded."""


def measure(problem: TrainingProblem, fitted: Fit, request: ExplanationRequest | None) -> None:
    """Add embeddings, explanations that are requested, and rows of the kept epoch to a fit.

    The rows: `alignment_y0` and `alignment_y1` on the test split, per attribute the mean cosine
    similarity between a label's images without and with it; and `variance_measure` on train, of
    the pixels that the annotated images' targets call abnormal, standardised by the whole training
    split. `covering_regions` on train is there where it says something.
    """
    fitted.rows += covering_rows(problem)
    if not fitted.kept_epoch:
        return
    data, epoch = problem.evaluator.dataset, fitted.kept_epoch
    if fitted.embeddings is None or request is not None:
        model = load_first_model(problem, fitted.kept_state)
        if fitted.embeddings is None:
            fitted.embeddings = problem.evaluator.embeddings(model, EMBEDDED)
        if request is not None:
            fitted.explanations = explain_test(problem.evaluator, model, request)
    fitted.rows += alignments(data, data.rows(EMBEDDED), fitted.embeddings, epoch)
    variance = variance_measure(data, problem.training, problem.config.specificity)
    fitted.rows.append(MetricRow(epoch, "train", "variance_measure", None, variance))


def variance_measure(data: Dataset, training: TrainingSet, specificity: Specificity) -> float:
    """Return the variance of the annotated positives' targets, from kept moments of each image.

    Where these can be kept the pixels of a split are read once a dataset and specificity; the
    value has the same bits.
    """
    moments = None if data.derived is None else derive_moments(data, specificity, data.derived)
    if moments is None:
        return empirical_variance(iterate_annotated(data, training))
    everything, abnormal = moments
    chosen = np.isin(data.rows("train"), training.rows[_annotated(training)])
    return relative_variance(pool_moments(everything), pool_moments(abnormal[chosen]))


def alignments(
    data: Dataset, rows: NDArray[np.int64], embeddings: NDArray[np.float32], epoch: int
) -> list[MetricRow]:
    """Return the rows of the alignment; NaN where a group is empty.

    Args:
        data: Gives labels and attributes.
        rows: (n,) rows of the split.
        embeddings: (n, D) of these images.
        epoch: The kept epoch.
    """
    metric_rows, labels = [], data.labels[rows]
    for column, name in enumerate(data.attribute_names):
        attribute = data.attributes[rows, column]
        sizes = count_groups(labels, attribute).annotated
        for label in (0, 1):
            lacking, having = (embeddings[(labels == label) & (attribute == s)] for s in (0, 1))
            value = alignment(lacking, having)
            metric_rows.append(
                MetricRow(epoch, EMBEDDED, f"alignment_y{label}", name, value, sizes)
            )
    return metric_rows


def iterate_annotated(
    data: Dataset, training: TrainingSet
) -> Iterator[tuple[NDArray[Any], NDArray[np.bool_] | None]]:
    """Yield every training image with its target where it is annotated and positive; one at a time.

    The target of a label is the whole image.
    """
    position = {int(training.rows[at]): at for at in np.flatnonzero(_annotated(training))}
    whole = np.ones(data.images.shape[1:3], dtype=bool)
    for row in data.rows("train"):
        at, target = position.get(int(row)), None
        if at is not None:
            target = whole if training.targets is None else training.targets[np.array([at])][0]
        yield np.asarray(data.images[row]), target


def _annotated(training: TrainingSet) -> NDArray[np.bool_]:
    """(n,) bool: which training images are positive and have a target."""
    annotated = training.positive.copy()
    if training.steered and training.targets is not None:
        annotated &= training.targets.classes > 0
    return annotated
