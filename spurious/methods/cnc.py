"""Correct-n-contrast: pull together images of a class that ERM tells apart (Zhang et al. 2022).

Zhang, Sohoni, Zhang, Finn and Re, "Correct-n-contrast: a contrastive approach for improving
robustness to spurious correlations", its two stages and its supervised contrastive loss.

The ERM model's predictions stand for the unknown spurious attribute. They split the training
images into four cells (label, prediction). For an anchor, images of its label with the other
prediction are positives, images of the other label with its own prediction are negatives.

A batch is drawn from the four cells in equal parts, without replacement; a cell that is smaller
than its part is in the batch whole, and larger ones fill the gap. These are the parts of a
two-sided contrastive batch (anchors, positives, negatives, and the negatives of the positives),
so every image serves as an anchor, and all of them have cross-entropy. An epoch draws as many
images as there are. An image without a positive or without a negative has cross-entropy only.
"""

from __future__ import annotations

import logging

import numpy as np
import torch
from numpy.typing import NDArray

from spurious.config.methods import Cnc
from spurious.data.batches import Batch
from spurious.data.sampling import Sampler
from spurious.methods.base import TrainingProblem
from spurious.methods.features import predictions
from spurious.methods.first_model import first_model, load_first_model
from spurious.training.evaluate import MetricRow
from spurious.training.loop import Fit, Hooks
from spurious.training.objective import Forward, Objective
from spurious.training.similarity import unit
from spurious.training.supervision import Supervision

logger = logging.getLogger(__name__)


def contrastive_loss(
    embeddings: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Supervised contrastive loss on cosine similarities.

    Of an anchor: the mean over its positives of -log(exp(s_p / t) / sum exp(s / t)), the sum being
    over its positives and negatives.

    Args:
        embeddings: (B, D), of any length.
        positive: (B, B) bool, row i marks the positives of anchor i.
        negative: (B, B) bool, likewise; never both.
        temperature: t.

    Returns:
        The mean over anchors that have both, a float32 scalar; 0 where no anchor has.
    """
    anchors = positive.any(dim=1) & negative.any(dim=1)
    positive, negative = positive[anchors], negative[anchors]
    directions = unit(embeddings)
    scores = directions[anchors] @ directions.T / temperature
    compared = scores.masked_fill(~(positive | negative), -torch.inf).logsumexp(dim=1)
    losses = torch.where(positive, compared[:, None] - scores, 0.0).sum(dim=1)
    return (losses / positive.sum(dim=1)).sum() / max(len(scores), 1)


def at_most(pairs: torch.Tensor, count: int) -> torch.Tensor:
    """The first `count` marks of each row, (B, B) bool; a batch's order is random already."""
    return pairs & (pairs.cumsum(dim=1) <= count)


class CorrectNContrast(Objective):
    """Cross-entropy and the contrastive loss between cells, within each batch.

    Args:
        supervision: Gives the cross-entropy.
        options: Of the method.
        predicted: (n,) int64 in {0, 1}, ERM's predictions for the training images.
    """

    def __init__(
        self, supervision: Supervision, options: Cnc, predicted: NDArray[np.int64]
    ) -> None:
        super().__init__(supervision)
        self.options, self.predicted = options, torch.from_numpy(predicted)

    def loss(self, forward: Forward, batch: Batch) -> torch.Tensor:
        """Return the weighted sum of both losses."""
        options, labels = self.options, batch.targets
        predicted = self.predicted[batch.positions].to(labels.device)
        same_label, same_prediction = (x[:, None] == x for x in (labels, predicted))
        positive = at_most(same_label & ~same_prediction, options.positives)
        negative = at_most(~same_label & same_prediction, options.negatives)
        output = forward.embedded(batch.x)
        contrast = contrastive_loss(output.images, positive, negative, options.temperature)
        supervised = self.supervision.losses(output.logits, labels).mean()
        return options.contrast_weight * contrast + (1 - options.contrast_weight) * supervised


def equal_parts(sizes: list[int], total: int) -> list[int]:
    """Split a number over cells, as equally as their sizes allow; in all `total` or all."""
    parts = [0] * len(sizes)
    for rank, cell in enumerate(sorted(range(len(sizes)), key=lambda cell: sizes[cell])):
        parts[cell] = min(sizes[cell], (total - sum(parts)) // (len(sizes) - rank))
    return parts


def draw_contrasts(cells: NDArray[np.int64], batch_size: int) -> Sampler:
    """Draws epochs whose batches hold the cells in equal parts.

    Args:
        cells: (n,) int64, the cell of each training image.
        batch_size: As the feed cuts the order.
    """
    members = [np.flatnonzero(cells == cell) for cell in np.unique(cells)]
    sizes = [len(positions) for positions in members]

    def sampler(rng: np.random.Generator) -> NDArray[np.int64]:
        drawn = []
        for start in range(0, len(cells), batch_size):
            parts = equal_parts(sizes, min(batch_size, len(cells) - start))
            drawn += [
                rng.choice(positions, part, replace=False)
                for positions, part in zip(members, parts, strict=True)
            ]
        return np.concatenate(drawn)

    return sampler


def anchors(labels: NDArray[np.int64], predicted: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n,) bool: the images that have a positive and a negative among the training images."""
    counts = np.bincount(2 * labels + predicted, minlength=4).reshape(2, 2)
    return (counts[labels, 1 - predicted] > 0) & (counts[1 - labels, predicted] > 0)


def fit(problem: TrainingProblem, options: Cnc, hooks: Hooks) -> Fit:
    """Train an ERM model, then a second one, contrasted by the first one's best predictions."""
    labels = problem.training.labels
    model = load_first_model(problem, first_model(problem, options, hooks).kept)
    predicted = predictions(problem, model, problem.training)
    serving = anchors(labels, predicted)
    objective, sampler = Objective(problem.supervision), None
    if serving.any():
        objective = CorrectNContrast(problem.supervision, options, predicted)
        sampler = draw_contrasts(2 * labels + predicted, problem.train.batch_size)
    else:
        logger.warning(
            "the first model's predictions leave no image to contrast among the %d training "
            "images, so cnc is plain ERM here; lower first_epochs or raise first_weight_decay",
            len(labels),
        )
    fitted = problem.run(problem.build(), objective, hooks, sampler=sampler)
    wrong = labels[predicted != labels]
    counts = {f"cnc_errors_y{y}": int((wrong == y).sum()) for y in (0, 1)}
    counts["cnc_anchors"] = int(serving.sum())
    fitted.rows += [
        MetricRow(problem.train.epochs, "train", name, None, float(count))
        for name, count in counts.items()
    ]
    return fitted
