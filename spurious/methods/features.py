"""What a trained classifier makes of images: their features, and how well it knows their labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from spurious.data.training_set import TrainingSet
from spurious.methods.base import TrainingProblem
from spurious.training.evaluate import layout
from spurious.training.model import Model
from spurious.training.objective import Forward

_BATCH = 64
"""Images per forward pass; fixed, so that the options of training do not touch the numbers."""


@dataclass(frozen=True)
class Features:
    """n images as a classifier sees them.

    Attributes:
        vectors: (n, D) float32, what its last layer takes.
        labels: (n,) int64, the true classes.
        losses: (n,) float64, cross-entropy of each image.
    """

    vectors: NDArray[np.float32]
    labels: NDArray[np.int64]
    losses: NDArray[np.float64]

    def only(self, chosen: NDArray[np.bool_]) -> Features:
        """Return some of the images; (n,) bool."""
        return Features(self.vectors[chosen], self.labels[chosen], self.losses[chosen])


def features(problem: TrainingProblem, model: Model, images: TrainingSet) -> Features:
    """Return every image once, in order, not augmented.

    Args:
        problem: Gives device, arithmetic and loss.
        model: A classifier in evaluation mode.
        images: Annotated training images, or the validation images.
    """
    train = problem.train
    forward = Forward(model, problem.device, train.precision == "bfloat16")
    vectors, losses = [], []
    with torch.no_grad():
        for batch in images.clean(_BATCH):
            placed = batch.to(problem.device, layout(train))
            output = forward.embedded(placed.x)
            vectors.append(output.images.float().cpu())
            losses.append(problem.supervision.losses(output.logits, placed.targets).cpu())
    return Features(torch.cat(vectors).numpy(), images.labels, torch.cat(losses).double().numpy())


def predictions(problem: TrainingProblem, model: Model, images: TrainingSet) -> NDArray[np.int64]:
    """(n,) int64: the class that a classifier in evaluation mode gives each image."""
    train = problem.train
    forward = Forward(model, problem.device, train.precision == "bfloat16")
    with torch.no_grad():
        classes = [
            forward(batch.to(problem.device, layout(train)).x).argmax(dim=1).cpu()
            for batch in images.clean(_BATCH)
        ]
    return torch.cat(classes).numpy()


def linear_head(model: Model) -> torch.nn.Linear:
    """Return a classifier's last layer, from D features to two logits."""
    head = model.head
    assert isinstance(head, torch.nn.Linear)
    return head
