"""What a metric is, what it is computed from, and what it gives.

Shape legend: N images, A spurious attributes, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spurious.data.attributes import GroupCounts


@dataclass(frozen=True)
class Predictions:
    """Scored images of one split and epoch.

    Attributes:
        labels: (N,) in {0, 1}.
        scores: (N,) in [0, 1]: a classifier's probability, or a segmenter's read-out of its
            probability map, which need not be calibrated (an area is not a probability).
        attributes: (N, A) in {0, 1, UNKNOWN}.
        names: A attribute names.
        directions: A signs, -1 where the attribute goes against the label in training.
        threshold: The operating point, fixed on validation; NaN where there is none.
        calls: (N,) bool, the classes that the model predicts; None for scores above 0.5.
        probabilities: (N, K), of a classifier of at least three classes; else None.
        class_numbers: (N,) in 0 to K - 1, the true ones, where there are probabilities; else None.
    """

    labels: NDArray[np.int64]
    scores: NDArray[np.floating]
    attributes: NDArray[np.int8]
    names: Sequence[str]
    directions: Sequence[int]
    threshold: float = float("nan")
    calls: NDArray[np.bool_] | None = None
    probabilities: NDArray[np.floating] | None = None
    class_numbers: NDArray[np.int64] | None = None

    @property
    def answers(self) -> NDArray[np.int64]:
        """(N,): the true classes, or the labels where labels are all that is told apart."""
        return self.labels if self.class_numbers is None else self.class_numbers

    @property
    def right(self) -> NDArray[np.bool_]:
        """(N,) bool: the predicted class, the most probable one, is the true one."""
        if self.probabilities is not None:
            return np.asarray(self.probabilities.argmax(axis=1) == self.answers)
        calls = self.scores > 0.5 if self.calls is None else self.calls
        return np.asarray(calls == (self.labels == 1))


@dataclass(frozen=True)
class Value:
    """One value; `attribute` is None for all images, or all attributes together."""

    value: float
    attribute: str | None = None
    cells: GroupCounts | None = None


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric.

    Attributes:
        name: As in the `epochs` table, rules and published tables.
        words: As in sentences and headings of tables.
        unit: Of its values.
        better: Which values are better.
        meaning: Its definition in a sentence.
        compute: From predictions; None where it needs masks, losses or embeddings.
        per_epoch: Whether training evaluates it after every epoch; others are known at the kept
            and the last epoch only.
        whole: Whether it has a value without an attribute, which rules can read.
        head: The only kind of model that has it; None for both.
        needs_attributes: Whether it reads spurious labels of the images it is computed on.
        needs_classes: Whether only datasets of three classes or more have it.
        once: The split on which it is measured once, at the kept epoch; None for every epoch.
        of_images: Whether it is a property of images and annotation, whatever trains on them.
        in_trials: Whether the `trials` table has it as a column.
        digits: Decimals in published tables.
    """

    name: str
    words: str
    unit: str
    better: Literal["higher", "lower", "neither"]
    meaning: str
    compute: Callable[[Predictions], Sequence[Value]] | None = None
    per_epoch: bool = False
    whole: bool = True
    head: Literal["classifier", "segmenter"] | None = None
    needs_attributes: bool = False
    needs_classes: bool = False
    once: str | None = None
    of_images: bool = False
    in_trials: bool = False
    digits: int = 3

    @property
    def selectable(self) -> bool:
        """Whether a rule can choose an epoch by it."""
        measured = self.per_epoch or self.compute is not None
        return self.whole and measured and self.better != "neither"

    @property
    def sign(self) -> float:
        """-1 where lower is better, else 1."""
        return -1.0 if self.better == "lower" else 1.0

    def fits(self, segments: bool) -> bool:
        """Return whether a model of this kind has it."""
        return self.head in (None, "segmenter" if segments else "classifier")
