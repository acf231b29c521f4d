"""Every metric once: name, function, direction, unit, words. What shows metrics reads this.

A new metric is a function and an entry in `_ENTRIES`. One of predictions alone is computed by the
report from the stored predictions of the kept and the last epoch, so trials that finished before
it was added have it, too. `per_epoch` is for metrics that training itself evaluates and stores.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from spurious.scoring.groups import count_groups, known_groups
from spurious.scoring.measures import performance_gaps
from spurious.scoring.metric import Metric, Predictions, Value
from spurious.scoring.metrics import (
    auroc,
    average_precision,
    brier_score,
    calibration_error,
    macro_auroc,
    robust_auroc,
    worst_mean,
)
from spurious.scoring.operating_point import call_rate

Scores = Callable[[NDArray[np.int64], NDArray[np.floating]], float]


def of_scores(function: Scores) -> Callable[[Predictions], Sequence[Value]]:
    """Return a metric of labels and scores alone."""
    return lambda p: [Value(function(p.labels, p.scores))]


def _robust(p: Predictions) -> list[Value]:
    results = robust_auroc(p.labels, p.scores, p.attributes, p.names, p.directions)
    return [Value(one.value, one.attribute, one.cells) for one in results]


def _gaps(p: Predictions) -> list[Value]:
    results = performance_gaps(p.labels, p.scores, p.attributes, p.names)
    return [Value(one.value, one.attribute, one.cells) for one in results]


def _accuracy(p: Predictions) -> list[Value]:
    return [Value(float(p.right.mean()) if len(p.labels) else float("nan"))]


def _macro(p: Predictions) -> list[Value]:
    if p.probabilities is None:
        return []
    return [Value(macro_auroc(p.answers, p.probabilities))]


def _worst_group(p: Predictions) -> list[Value]:
    if not len(p.names):
        return []
    return [Value(worst_mean(p.right, known_groups(p.answers, p.attributes)))]


def _rate(label: int) -> Callable[[Predictions], list[Value]]:
    """Sensitivity (label 1) or specificity (label 0) at the operating point."""
    return lambda p: [Value(call_rate(p.labels, p.scores, p.threshold, label))]


def _group_rate(label: int, having: int) -> Callable[[Predictions], list[Value]]:
    """Return the same among images with (1) or without (0) an attribute, per attribute."""

    def rates(p: Predictions) -> list[Value]:
        values = []
        for column, name in enumerate(p.names):
            mine = p.attributes[:, column] == having
            rate = call_rate(p.labels[mine], p.scores[mine], p.threshold, label)
            values.append(Value(rate, name, count_groups(p.labels, p.attributes[:, column])))
        return values

    return rates


_AT_POINT = "at the threshold that was fixed on validation"

_ENTRIES = (
    Metric(
        name="auroc",
        words="overall AUROC",
        unit="probability",
        better="higher",
        meaning="probability that an abnormal image scores above a normal one, ties one half",
        compute=of_scores(auroc),
        per_epoch=True,
        in_trials=True,
    ),
    Metric(
        name="robust_auroc",
        words="robust AUROC",
        unit="probability",
        better="higher",
        meaning="AUROC on the images whose spurious attribute contradicts their label",
        compute=_robust,
        per_epoch=True,
        needs_attributes=True,
        in_trials=True,
    ),
    Metric(
        name="auroc_gap",
        words="AUROC gap",
        unit="probability",
        better="neither",
        meaning="AUROC on images with the attribute minus AUROC on those without, best near 0",
        compute=_gaps,
        per_epoch=True,
        whole=False,
        needs_attributes=True,
    ),
    Metric(
        name="loss",
        words="loss",
        unit="nats",
        better="lower",
        meaning="mean cross-entropy, per image or per pixel",
        per_epoch=True,
    ),
    Metric(
        name="accuracy",
        words="accuracy",
        unit="share of images",
        better="higher",
        meaning="images whose predicted class is their label, or their class where there are more",
        compute=_accuracy,
        per_epoch=True,
        head="classifier",
    ),
    Metric(
        name="macro_auroc",
        words="macro AUROC",
        unit="probability",
        better="higher",
        meaning="mean over classes of the AUROC of one class against the others, by its own "
        "probability; of datasets with three classes or more",
        compute=_macro,
        per_epoch=True,
        head="classifier",
        needs_classes=True,
    ),
    Metric(
        name="worst_group_accuracy",
        words="worst-group accuracy",
        unit="share of images",
        better="higher",
        meaning="the smallest accuracy of the groups of label, or class, and attributes",
        compute=_worst_group,
        per_epoch=True,
        head="classifier",
        needs_attributes=True,
    ),
    Metric(
        name="worst_cluster_accuracy",
        words="worst-cluster accuracy",
        unit="share of images",
        better="higher",
        meaning="the smallest accuracy of the groups that george guessed, on validation",
        per_epoch=True,
        head="classifier",
    ),
    Metric(
        name="dice",
        words="Dice",
        unit="ratio",
        better="higher",
        meaning="mean overlap of predicted and annotated masks",
        per_epoch=True,
        head="segmenter",
        in_trials=True,
    ),
    Metric(
        name="average_precision",
        words="average precision",
        unit="share of images",
        better="higher",
        meaning="precision averaged over recall, in steps; chance is the share of abnormal images",
        compute=of_scores(average_precision),
    ),
    Metric(
        name="brier",
        words="Brier score",
        unit="squared probability",
        better="lower",
        meaning="mean squared difference of label and score, the score taken as a probability",
        compute=of_scores(brier_score),
    ),
    Metric(
        name="calibration_error",
        words="expected calibration error",
        unit="probability",
        better="lower",
        meaning="mean difference of score and share of abnormal images in 15 bins of equal width "
        "(Guo et al. 2017), the score taken as a probability",
        compute=of_scores(calibration_error),
    ),
    Metric(
        name="threshold",
        words="threshold",
        unit="score",
        better="neither",
        meaning="the operating point: the score from which on an image is called abnormal; just "
        "above every score where validation favours calling none",
        compute=lambda p: [Value(p.threshold)],
    ),
    Metric(
        name="sensitivity",
        words="sensitivity",
        unit="share of images",
        better="higher",
        meaning=f"abnormal images that are called abnormal, {_AT_POINT}",
        compute=_rate(1),
    ),
    Metric(
        name="specificity",
        words="specificity",
        unit="share of images",
        better="higher",
        meaning=f"normal images that are called normal, {_AT_POINT}",
        compute=_rate(0),
    ),
    *(
        Metric(
            name=f"{name}_s{having}",
            words=f"{name}, s = {having}",
            unit="share of images",
            better="higher",
            meaning=f"{name} {_AT_POINT}, on images {'with' if having else 'without'} the "
            "attribute",
            compute=_group_rate(label, having),
            whole=False,
            needs_attributes=True,
        )
        for name, label in (("sensitivity", 1), ("specificity", 0))
        for having in (0, 1)
    ),
    Metric(
        name="variance_measure",
        words="variance of abnormal pixels",
        unit="variances of all pixels",
        better="neither",
        meaning="variance of the pixels that the annotation calls abnormal",
        once="train",
        of_images=True,
        digits=2,
    ),
    Metric(
        name="mutual_information",
        words="mutual information of abnormal and spurious pixels",
        unit="nats",
        better="neither",
        meaning="information that spurious pixels of the annotated ones carry on abnormal ones; "
        "known for generated squares",
        of_images=True,
        digits=5,
    ),
    *(
        Metric(
            name=f"alignment_y{label}",
            words=f"alignment of {word} images",
            unit="cosine similarity",
            better="higher",
            meaning=f"mean similarity of embeddings of {word} images without and with the "
            "attribute, 1 where it leaves no trace",
            once="test",
            whole=False,
            needs_attributes=True,
            digits=2,
        )
        for label, word in enumerate(("normal", "abnormal"))
    ),
)

METRICS: Mapping[str, Metric] = MappingProxyType({entry.name: entry for entry in _ENTRIES})
"""Name to metric, in the order in which messages and tables have them."""


def compute_metrics(
    predictions: Predictions, segments: bool, per_epoch: bool = False
) -> list[tuple[str, Value]]:
    """Return every metric of predictions that a kind of model has, with its name.

    Args:
        predictions: Of one split and epoch.
        segments: Whether the model is a segmenter.
        per_epoch: Whether only those that training evaluates are wanted.
    """
    return [
        (metric.name, value)
        for metric in METRICS.values()
        if metric.compute is not None and metric.fits(segments)
        if metric.per_epoch or not per_epoch
        for value in metric.compute(predictions)
    ]
