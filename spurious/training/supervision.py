"""What a specificity asks of a model: the loss per image, the image score, and the target.

Shape legend: B batch, K classes of images (2, or more where a dataset has them) or of pixels (2, or
3 where negatives have a class of their own), H height, W width. Logits are (B, K) or (B, K, H, W).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch.nn import functional

from spurious.config.models import Aggregation
from spurious.config.options import Specificity


class Supervision(Protocol):
    """Image classification or segmentation for classification."""

    segments: bool
    by_class: bool
    """Whether targets are classes of images, at least three, instead of labels."""

    def losses(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Cross-entropy per image, (B,) float32."""
        ...

    def scores(self, logits: torch.Tensor) -> torch.Tensor:
        """Image scores, (B,) float32, higher is more abnormal."""
        ...


class Classification:
    """Softmax cross-entropy of labels or classes; the score is the abnormality's probability.

    Args:
        positive: Numbers of the classes that are abnormal; None where targets are labels.
    """

    segments = False

    def __init__(self, positive: Sequence[int] | None = None) -> None:
        self.by_class = positive is not None
        self.positive = [1] if positive is None else list(positive)

    def losses(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Targets are (B,) int64."""
        return functional.cross_entropy(logits.float(), targets, reduction="none")

    def scores(self, logits: torch.Tensor) -> torch.Tensor:
        """Softmax probability of the abnormal class, or the sum of several."""
        return probabilities(logits)[:, self.positive].sum(dim=1)


def probabilities(logits: torch.Tensor) -> torch.Tensor:
    """Softmax probabilities of a classifier's classes, (B, K) to (B, K) float32."""
    return logits.float().softmax(dim=1)


class Segmentation:
    """Pixel targets: mean pixel cross-entropy; the score is a read-out of the probability map."""

    segments = True
    by_class = False

    def __init__(self, readout: Aggregation) -> None:
        self.readout = readout

    def losses(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Targets are (B, H, W) int64; the loss of an image is the mean over its pixels."""
        return functional.cross_entropy(logits.float(), targets, reduction="none").mean(dim=(1, 2))

    def scores(self, logits: torch.Tensor) -> torch.Tensor:
        """Return one number per image, see `spurious.config.models.Aggregation`."""
        return aggregate(logits.float(), self.readout)


def aggregate(logits: torch.Tensor, readout: Aggregation) -> torch.Tensor:
    """Image scores from pixel logits, (B, K, H, W) float32 to (B,); the last class is scored."""
    if readout.name == "mean_logit" and logits.shape[1] > 2:
        return _margin(logits.mean(dim=(2, 3))).sigmoid()
    margin = _margin(logits).flatten(1)
    if readout.name == "mean_logit":
        return margin.mean(dim=1).sigmoid()
    probability = margin.sigmoid()
    if readout.name == "max_prob":
        return probability.amax(dim=1)
    if readout.name == "area_fraction":
        return (probability >= readout.threshold).float().mean(dim=1)
    if readout.name == "area_count":
        return ((probability > readout.threshold).sum(dim=1) > readout.area).float()
    if readout.name == "top_fraction":
        kept = max(1, round(readout.fraction * probability.shape[1]))
        return probability.topk(kept, dim=1).values.mean(dim=1)
    return probability.mean(dim=1)


def _margin(logits: torch.Tensor) -> torch.Tensor:
    """Log-odds of the last of K classes, whose sigmoid is its softmax probability; (B, ...)."""
    if logits.shape[1] == 2:
        return logits[:, 1] - logits[:, 0]
    return logits[:, -1] - logits[:, :-1].logsumexp(dim=1)


def supervision_for(
    specificity: Specificity,
    readout: Aggregation | None,
    positive: Sequence[int] | None = None,
) -> Supervision:
    """Classification for labels, segmentation for everything else.

    Args:
        specificity: What is taught.
        readout: Of a segmenter.
        positive: Of a classifier of classes, those that are abnormal; None for labels.
    """
    if specificity.kind == "label":
        return Classification(positive)
    return Segmentation(readout or Aggregation())
