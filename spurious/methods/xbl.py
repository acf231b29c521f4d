"""Right for the right reasons by Grad-CAM: the predicted class's map stays inside the regions.

Schramowski et al. 2020. Maps run from 0 to 1 and stay at the model's resolution, where a cell
counts by its share outside the region.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from spurious.config.steering import Xbl
from spurious.data.batches import Batch
from spurious.methods.base import TrainingProblem
from spurious.methods.steered import Steered, require_maps
from spurious.training.attribution import grad_cam, scale_to_unit
from spurious.training.loop import Fit, Hooks
from spurious.training.objective import Forward


def map_outside(cam: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """Return the mean over images of the sum of (share outside x map)^2, a float32 scalar.

    Args:
        cam: (B, h, w), each from 0 to 1.
        inside: (B, H, W) bool.
    """
    height, width = cam.shape[1:]
    share = functional.adaptive_avg_pool2d((~inside)[:, None].float(), (height, width))[:, 0]
    return (share * cam).square().flatten(1).sum(dim=1).mean()


class MapInside(Steered):
    """Cross-entropy, and the squared map outside the regions.

    Args:
        problem: Gives supervision and seed.
        options: Of the method.
    """

    def __init__(self, problem: TrainingProblem, options: Xbl) -> None:
        super().__init__(problem, options.radius)
        self.options = options

    def loss(self, forward: Forward, batch: Batch) -> torch.Tensor:
        """Return the weighted sum of both losses; a batch without regions has no penalty."""
        inside = self.inside(batch)
        output, loss = self.classified(forward, batch.x, batch.targets, None)
        if not self.options.weight or inside.all():
            return loss
        maps, predicted = require_maps(output), output.logits.argmax(dim=1)
        cam = grad_cam(output.logits, predicted, maps, rectify=self.options.rectify)
        return loss + self.options.weight * map_outside(scale_to_unit(cam), inside)


def fit(problem: TrainingProblem, options: Xbl, hooks: Hooks) -> Fit:
    """Minimise cross-entropy and the map outside the regions."""
    return problem.run(problem.build(), MapInside(problem, options), hooks)
