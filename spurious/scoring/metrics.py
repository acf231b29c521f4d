"""AUROC, robust AUROC, Dice and scores of probabilities, with numpy; undefined is NaN, never 0.

Shape legend: N images, H height, W width, A spurious attributes, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spurious.data.attributes import GroupCounts
from spurious.scoring.groups import contradicts, count_groups, mostly_contradicts


def auroc(labels: NDArray[np.int64], scores: NDArray[np.floating]) -> float:
    """Probability that a positive scores above a negative, ties counting one half.

    Args:
        labels: (N,) in {0, 1}.
        scores: (N,), higher is more abnormal.

    Returns:
        The rank statistic in [0, 1]; NaN where a class is absent or a score is NaN.
    """
    positive = labels == 1
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if n_positive == 0 or n_negative == 0 or bool(np.isnan(scores).any()):
        return float("nan")
    order = scores.argsort()
    rising = scores[order]
    if (rising[1:] != rising[:-1]).all():  # no ties: ranks are places
        rank_sum = float(np.flatnonzero(positive[order]).sum() + n_positive)
    else:
        _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
        mid_ranks = np.cumsum(counts) - (counts - 1) / 2.0
        rank_sum = float(mid_ranks[inverse][positive].sum())
    return (rank_sum - n_positive * (n_positive + 1) / 2.0) / (n_positive * n_negative)


def macro_auroc(class_numbers: NDArray[np.int64], probabilities: NDArray[np.floating]) -> float:
    """Mean over classes of the AUROC of a class's probability, one class against the others.

    Args:
        class_numbers: (N,) in 0 to K - 1.
        probabilities: (N, K).

    Returns:
        In [0, 1]; NaN where a class is absent, or the only one, or a probability is NaN.
    """
    columns = enumerate(probabilities.T)
    return float(np.mean([auroc((class_numbers == of).astype(int), p) for of, p in columns]))


@dataclass(frozen=True)
class RobustAuroc:
    """A robust AUROC with the sizes of the groups behind it.

    `attribute` is None for the value over all attributes together. Its cells are those of a single
    attribute; of several, they count the images on which more attributes contradict the label than
    agree with it, as (y=0, s=1) and (y=1, s=0).
    """

    attribute: str | None
    value: float
    cells: GroupCounts


def robust_auroc(
    labels: NDArray[np.int64],
    scores: NDArray[np.floating],
    attributes: NDArray[np.int8],
    names: Sequence[str],
    directions: Sequence[int],
) -> list[RobustAuroc]:
    """AUROC on the images whose spurious attribute contradicts the label (Saab et al. 2022).

    Args:
        labels: (N,) in {0, 1}.
        scores: (N,).
        attributes: (N, A) in {0, 1, UNKNOWN}.
        names: A attribute names.
        directions: A signs, -1 where the attribute goes against the label in training.

    Returns:
        First the value over all attributes together, then one per attribute; NaN where a class
        has no contradicting image. Empty where the dataset has no attribute.
    """
    if len(names) == 0:
        return []
    together = mostly_contradicts(labels, attributes, directions)
    contradicting = labels[together]
    counted = count_groups(labels, attributes[:, 0])
    if len(names) > 1:  # with several attributes s means "the attributes suggest abnormal"
        counted = GroupCounts(
            0, int((contradicting == 0).sum()), int((contradicting == 1).sum()), 0, 0, 0
        )
    results = [RobustAuroc(None, auroc(contradicting, scores[together]), counted)]
    for column, (name, sign) in enumerate(zip(names, directions, strict=True)):
        rows = contradicts(labels, attributes[:, column], sign)
        value = results[0].value  # of one attribute alone, both are of the same images
        if len(names) > 1:
            value = auroc(labels[rows], scores[rows])
        counts = count_groups(labels, attributes[:, column])
        results.append(RobustAuroc(name, value, counts))
    return results


def dice(predicted: NDArray[np.bool_], target: NDArray[np.bool_]) -> float:
    """Return mean over images of 2 |P and T| / (|P| + |T|); images with both empty are left out.

    Args:
        predicted: (N, H, W) bool.
        target: (N, H, W) bool.

    Returns:
        The mean in [0, 1]; an empty target with any predicted pixel counts 0; NaN where every
        image is left out.
    """
    both = np.logical_and(predicted, target).sum(axis=(1, 2))
    return mean_dice(both, predicted.sum(axis=(1, 2)), target.sum(axis=(1, 2)))


def mean_dice(
    intersection: NDArray[np.int64], predicted: NDArray[np.int64], target: NDArray[np.int64]
) -> float:
    """`dice` from pixel counts per image, each (N,)."""
    total = predicted + target
    defined = total > 0
    if not defined.any():
        return float("nan")
    return float((2.0 * intersection[defined] / total[defined]).mean())


def worst_mean(values: NDArray[Any], groups: NDArray[np.int64]) -> float:
    """The smallest of the groups' means; groups below 0 are left out, NaN where none is left.

    Args:
        values: (N,), e.g. whether each image is right.
        groups: (N,) int64.
    """
    means = [float(values[groups == group].mean()) for group in np.unique(groups) if group >= 0]
    return min(means, default=float("nan"))


def average_precision(labels: NDArray[np.int64], scores: NDArray[np.floating]) -> float:
    """Area under the precision-recall steps, without interpolation; ties share one step.

    Args:
        labels: (N,) in {0, 1}.
        scores: (N,), higher is more abnormal.

    Returns:
        The sum over thresholds of precision times gained recall, in [0, 1]; NaN where a class is
        absent or a score is NaN.
    """
    positive = labels == 1
    if not positive.any() or positive.all() or bool(np.isnan(scores).any()):
        return float("nan")
    _, inverse, counts = np.unique(-scores, return_inverse=True, return_counts=True)
    hits = np.bincount(inverse, weights=positive, minlength=len(counts))
    precision = np.cumsum(hits) / np.cumsum(counts)
    return float((precision * hits).sum() / positive.sum())


def brier_score(labels: NDArray[np.int64], scores: NDArray[np.floating]) -> float:
    """Return the mean squared difference between score and label (Brier 1950).

    Args:
        labels: (N,) in {0, 1}.
        scores: (N,) in [0, 1], taken as probabilities of label 1.

    Returns:
        In [0, 1]; NaN without images or where a score is not in [0, 1].
    """
    if not _are_probabilities(scores):
        return float("nan")
    return float(np.square(scores - labels).mean())


def calibration_error(
    labels: NDArray[np.int64], scores: NDArray[np.floating], bins: int = 15
) -> float:
    """Expected calibration error in equal-width bins (Guo et al. 2017, eq. 3) of label 1.

    The paper bins the confidence in the predicted class; here it is the probability of label 1
    that is binned, so that too high and too low scores do not share a bin.

    Args:
        labels: (N,) in {0, 1}.
        scores: (N,) in [0, 1], taken as probabilities of label 1.
        bins: Number M of bins ((m - 1) / M, m / M]; the first has 0, too.

    Returns:
        Mean over images of |share of label 1 - mean score| of their bin, in [0, 1]; NaN
        without images or where a score is not in [0, 1].
    """
    if not _are_probabilities(scores):
        return float("nan")
    index = np.searchsorted(np.linspace(0.0, 1.0, bins + 1)[1:-1], scores, side="left")
    excess = np.bincount(index, weights=scores - labels, minlength=bins)
    return float(np.abs(excess).sum() / len(scores))


def _are_probabilities(scores: NDArray[np.floating]) -> bool:
    return len(scores) > 0 and bool(((scores >= 0.0) & (scores <= 1.0)).all())
