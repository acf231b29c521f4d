"""A classifier's last layer as the mean of sparse logistic regressions on balanced images.

Kirichenko et al. 2023, "Last layer re-training is sufficient for robustness to spurious
correlations".

Shape legend: m images, D features, G groups.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from spurious.data.randomness import derive, generator
from spurious.scoring.metrics import worst_mean

Values = NDArray[np.float64]
Ids = NDArray[np.int64]

PENALTIES = (1.0, 0.7, 0.3, 0.1, 0.07, 0.03, 0.01)
"""Tried values of C, one over the weight of the L1 penalty."""


@dataclass(frozen=True)
class Line:
    """A logistic regression whose margin, the log-odds of class 1, is weights @ x + intercept.

    Attributes:
        weights: (D,) float64.
        intercept: Its constant.
    """

    weights: Values
    intercept: float

    def margins(self, vectors: Values) -> Values:
        """(m,) float64; vectors (m, D)."""
        return np.asarray(vectors @ self.weights + self.intercept)


def draw_balanced(groups: Ids, rng: np.random.Generator) -> Ids:
    """Positions drawn without replacement: of every group as many as the smallest has.

    Args:
        groups: (m,), 0 to G - 1.
        rng: Draws them.

    Returns:
        (G times the smallest size,) int64, group by group.
    """
    fewest = np.bincount(groups).min()
    return np.concatenate(
        [
            rng.choice(np.flatnonzero(groups == group), fewest, replace=False)
            for group in np.unique(groups)
        ]
    )


def regression(vectors: Values, labels: Ids, penalty: float, random_state: int) -> Line:
    """L1-penalised logistic regression; the penalty counts the intercept, as liblinear does."""
    model = LogisticRegression(
        C=penalty, l1_ratio=1.0, solver="liblinear", max_iter=1000, random_state=random_state
    ).fit(vectors, labels)
    return Line(model.coef_[0], float(model.intercept_[0]))


def split_in_halves(groups: Ids, rng: np.random.Generator) -> tuple[Ids, Ids]:
    """Positions of one half of every group, drawn balanced, and of all of the other halves.

    Args:
        groups: (m,), 0 to G - 1, each of at least two images.
        rng: Halves and draws.
    """
    second = np.zeros(len(groups), dtype=bool)
    for group in np.unique(groups):
        members = rng.permutation(np.flatnonzero(groups == group))
        second[members[: len(members) // 2]] = True
    first = np.flatnonzero(~second)
    return first[draw_balanced(groups[first], rng)], np.flatnonzero(second)


def best_penalty(
    vectors: Values, labels: Ids, groups: Ids, seed: int, *, scale_fitted: bool = False
) -> float:
    """Return the C whose worst group is the most accurate on images that it was not fitted on.

    Of equals the largest.

    Args:
        vectors: (m, D) features, standardised unless `scale_fitted`.
        labels: (m,) in {0, 1}.
        groups: (m,), 0 to G - 1, each of at least two images.
        seed: The trial's seed.
        scale_fitted: Standardise by the images that the regressions are fitted on.
    """
    fitting, judging = split_in_halves(groups, generator("dfr-halves", seed))
    if scale_fitted:
        vectors = StandardScaler().fit(vectors[fitting]).transform(vectors)

    def worst(penalty: float) -> float:
        line = regression(vectors[fitting], labels[fitting], penalty, _random_state(seed))
        right = (line.margins(vectors[judging]) > 0) == labels[judging]
        return worst_mean(right, groups[judging])

    return max(PENALTIES, key=worst)  # the first of equals


def fit_averaged(
    vectors: Values, labels: Ids, groups: Ids, penalty: float, refits: int, seed: int
) -> Line:
    """Return the mean of regressions on `refits` balanced draws; arguments as of `best_penalty`."""
    lines = []
    for number in range(refits):
        drawn = draw_balanced(groups, generator("dfr", seed, number))
        lines.append(regression(vectors[drawn], labels[drawn], penalty, _random_state(seed)))
    weights = np.mean([line.weights for line in lines], axis=0)
    return Line(weights, float(np.mean([line.intercept for line in lines])))


def _random_state(seed: int) -> int:
    return derive("liblinear", seed) % 2**32


def undo_scaling(line: Line, mean: Values, scale: Values) -> Line:
    """The line of features as they are, given that of (features - mean) / scale; each (D,)."""
    weights = line.weights / scale
    return Line(weights, line.intercept - float(weights @ mean))


def put(head: torch.nn.Linear, line: Line) -> None:
    """Make the line a last layer: its logits are minus and plus half the margin.

    Their softmax is then the regression's probability.
    """
    signs = torch.tensor([-0.5, 0.5], dtype=torch.float64)
    with torch.no_grad():
        head.weight.copy_(signs[:, None] * torch.from_numpy(line.weights))
        head.bias.copy_(signs * line.intercept)
