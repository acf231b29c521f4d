"""Mixed supervision: image labels of the rest teach a segmenter beside the annotated images.

A label says of a negative image that its mask is empty, which is pixel supervision. Of a positive
image it says that some pixels are abnormal: the most abnormal ones by the model itself are taken,
as in multiple-instance learning with top-k pooling.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from spurious.config.options import WeakLabels
from spurious.data.batches import Batch
from spurious.training.objective import Forward, Objective


def rest_losses(logits: torch.Tensor, labels: torch.Tensor, fraction: float) -> torch.Tensor:
    """Cross-entropy of image labels with pixel logits.

    Args:
        logits: (B, 2, H, W).
        labels: (B,) int64 in {0, 1}.
        fraction: Share of a positive image's pixels, those of the largest margins, that counts.

    Returns:
        (B,) float32: the mean over all pixels of a negative image, over the top pixels of a
        positive one.
    """
    margin = (logits[:, 1] - logits[:, 0]).float().flatten(1)
    negative = functional.softplus(margin).mean(dim=1)
    kept = max(1, round(fraction * margin.shape[1]))
    positive = functional.softplus(-margin.topk(kept, dim=1).values).mean(dim=1)
    return torch.where(labels == 1, positive, negative)


class RestLabels(Objective):
    """A method's objective, and beside it the labels of the rest."""

    def __init__(self, inner: Objective, options: WeakLabels) -> None:
        super().__init__(inner.supervision)
        self.inner, self.options = inner, options
        self.networks = inner.networks

    def loss(self, forward: Forward, batch: Batch) -> torch.Tensor:
        """Return the method's loss plus the weighted mean loss of the batch's companions."""
        loss = self.inner.loss(forward, batch)
        if batch.rest is None:
            return loss
        logits = forward(batch.rest.x)
        term = rest_losses(logits, batch.rest.targets, self.options.fraction).mean()
        return loss + self.options.weight * term

    def begin_epoch(self, epoch: int) -> None:
        """Passed on."""
        self.inner.begin_epoch(epoch)

    def state(self) -> dict[str, Any]:
        """Return the method's state."""
        return self.inner.state()

    def restore(self, state: dict[str, Any]) -> None:
        """The method's."""
        self.inner.restore(state)
