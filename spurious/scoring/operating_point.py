"""The operating point of a clinic: a threshold fixed on validation, and what it does on a split.

Shape legend: N images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le
from numpy.typing import NDArray

Sensitivity = Annotated[float, Ge(0.01), Le(1.0)]


@dataclass(frozen=True)
class OperatingPoint:
    """How the threshold is chosen on validation; an image is called abnormal from it on.

    Attributes:
        sensitivity: The highest threshold that reaches this sensitivity is taken. Without it, it is
            the one of the highest Youden's J, sensitivity + specificity - 1; of equals the highest.
    """

    sensitivity: Sensitivity | None = None

    def __str__(self) -> str:
        if self.sensitivity is None:
            return "the highest Youden's J on validation"
        return f"a sensitivity of at least {self.sensitivity:g} on validation"

    def threshold(self, labels: NDArray[np.int64], scores: NDArray[np.floating]) -> float:
        """Return the threshold on validation images.

        Args:
            labels: (N,) in {0, 1}.
            scores: (N,), higher is more abnormal.

        Returns:
            One of the scores, or the next number above all of them where no score has a positive
            J; NaN where a class is absent or a score is NaN.
        """
        positive = labels == 1
        n_positive, n_negative = int(positive.sum()), int((~positive).sum())
        if n_positive == 0 or n_negative == 0 or bool(np.isnan(scores).any()):
            return float("nan")
        rising, inverse = np.unique(scores, return_inverse=True)
        hits = np.bincount(inverse, weights=positive, minlength=len(rising))
        alarms = np.bincount(inverse, weights=~positive, minlength=len(rising))
        sensitivity = np.cumsum(hits[::-1]) / n_positive  # from the highest score down
        if self.sensitivity is not None:
            reached = int(np.argmax(sensitivity >= self.sensitivity))
            return float(rising[::-1][reached])
        # as integers, since equal J must tie exactly
        gain = np.cumsum(hits[::-1]) * n_negative - np.cumsum(alarms[::-1]) * n_positive
        best = int(np.argmax(gain))
        if gain[best] <= 0:
            return float(np.nextafter(rising[-1], np.inf))
        return float(rising[::-1][best])


def call_rate(
    labels: NDArray[np.int64], scores: NDArray[np.floating], threshold: float, label: int
) -> float:
    """Return the share of the images of one label that a threshold calls right.

    Args:
        labels: (N,) in {0, 1}.
        scores: (N,).
        threshold: Scores from it on are called abnormal.
        label: 1 for the sensitivity, 0 for the specificity.

    Returns:
        In [0, 1]; NaN where the label has no image, or the threshold or a score is NaN.
    """
    mine = scores[labels == label]
    if not len(mine) or np.isnan(threshold) or bool(np.isnan(mine).any()):
        return float("nan")
    return float(((mine >= threshold) == (label == 1)).mean())
