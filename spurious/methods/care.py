"""Class attention to regions of lesions: Grad-CAM of the true class inside and outside the region.

Zhuang et al. 2019. The published code takes the maps' weights for constants and leaves their
gradient in the parameters; here they are part of the loss.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from spurious.config.steering import Care
from spurious.data.batches import Batch
from spurious.methods.base import TrainingProblem
from spurious.methods.steered import Steered, require_maps
from spurious.training.attribution import grad_cam, scale_to_unit
from spurious.training.loop import Fit, Hooks
from spurious.training.objective import Forward


def attention_losses(cam: torch.Tensor, inside: torch.Tensor, threshold: float) -> torch.Tensor:
    """Return -min(sum inside, threshold) + sum outside, (B,) float32.

    Args:
        cam: (B, H, W), each from 0 to 1.
        inside: (B, H, W) bool.
        threshold: Sum inside that earns no more.
    """
    within = (cam * inside).flatten(1).sum(dim=1).clamp(max=threshold)
    return (cam * ~inside).flatten(1).sum(dim=1) - within


class Attention(Steered):
    """Cross-entropy, mixed with the attention loss on images that have a region.

    Args:
        problem: Gives supervision and seed.
        options: Of the method.
    """

    def __init__(self, problem: TrainingProblem, options: Care) -> None:
        super().__init__(problem, options.radius)
        self.options = options

    def loss(self, forward: Forward, batch: Batch) -> torch.Tensor:
        """Return the mean over images of either mixture."""
        options, inside = self.options, self.inside(batch)
        output = forward.embedded(batch.x)
        losses = self.supervision.losses(output.logits, batch.targets)
        drawn = ~inside.flatten(1).all(dim=1)
        if not options.share or self.epoch <= options.first_epochs or not drawn.any():
            return losses.mean()
        cam = grad_cam(output.logits, batch.targets, require_maps(output), rectify=True)
        enlarged = functional.interpolate(
            scale_to_unit(cam)[:, None], inside.shape[1:], mode="bilinear", align_corners=False
        )
        attention = attention_losses(enlarged[:, 0], inside, options.threshold)
        mixed = options.share * attention + (1 - options.share) * losses
        return torch.where(drawn, mixed, losses).mean()


def fit(problem: TrainingProblem, options: Care, hooks: Hooks) -> Fit:
    """Minimise cross-entropy mixed with the attention loss."""
    return problem.run(problem.build(), Attention(problem, options), hooks)
