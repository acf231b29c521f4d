"""What methods that steer a classifier by regions share: the regions of a step, and its losses.

Shape legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn import functional

from spurious.config.steering import Reconstruction
from spurious.data.batches import Batch
from spurious.data.randomness import derive
from spurious.errors import ConfigError
from spurious.methods.base import TrainingProblem
from spurious.training.model import Embedded, Model
from spurious.training.objective import Forward, Objective
from spurious.training.regions import dilate, shuffle_outside


def reconstruction_loss(
    drawn: torch.Tensor, images: torch.Tensor, kind: Reconstruction
) -> torch.Tensor:
    """Compare what a decoder draws with images, both (B, C, H, W), as a mean over all pixels.

    Args:
        drawn: Logits for `cross_entropy`, values for `squared`.
        images: What is to be drawn.
        kind: The loss.

    Raises:
        ConfigError: cross-entropy of images that leave [0, 1].
    """
    if kind == "squared":
        return functional.mse_loss(drawn.float(), images)
    if images.min() < 0 or images.max() > 1:
        raise ConfigError(
            "reconstruction: cross_entropy needs images in [0, 1], and these are normalised to "
            f"{float(images.min()):.2f} to {float(images.max()):.2f}; use reconstruction: squared"
        )
    return functional.binary_cross_entropy_with_logits(drawn.float(), images)


class Steered(Objective):
    """Cross-entropy of labels, and what a method adds to it.

    Args:
        problem: Gives the loss of labels, and the seed that shuffles derive from.
        radius: Pixels by which regions are dilated.
        reconstruct: Weight of the reconstruction of the images themselves; 0 for none.
        reconstruction: Its loss.
    """

    def __init__(
        self,
        problem: TrainingProblem,
        radius: int = 0,
        reconstruct: float = 0.0,
        reconstruction: Reconstruction = "squared",
    ) -> None:
        super().__init__(problem.supervision)
        self.radius, self.seed = radius, problem.seed
        self.reconstruct, self.reconstruction = reconstruct, reconstruction
        self.epoch = self.step = 0

    def begin_epoch(self, epoch: int) -> None:
        """Count steps from 0: pixels are shuffled by (seed, epoch, step)."""
        self.epoch, self.step = epoch, 0

    def inside(self, batch: Batch) -> torch.Tensor:
        """Return the step's regions, (B, H, W) bool."""
        assert batch.regions is not None
        return dilate(batch.regions, self.radius)

    def shuffled(self, batch: Batch, inside: torch.Tensor) -> torch.Tensor:
        """Return the images shuffled outside their regions, by draws of their own each step."""
        generator = torch.Generator()
        generator.manual_seed(derive("shuffle", self.seed, self.epoch, self.step))
        self.step += 1
        return shuffle_outside(batch.x, inside, generator)

    def classified(
        self, forward: Forward, x: torch.Tensor, targets: torch.Tensor, drawn: torch.Tensor | None
    ) -> tuple[Embedded, torch.Tensor]:
        """Return the forward pass of (B, C, H, W) images and its loss, with the reconstruction.

        Args:
            forward: The model.
            x: What it is shown.
            targets: (B,) labels.
            drawn: What its decoder is to draw; None where none is asked for.
        """
        if drawn is None or not self.reconstruct:
            output = forward.embedded(x)
            return output, self.supervision.losses(output.logits, targets).mean()
        output, image = forward.reconstructed(x)
        loss = self.supervision.losses(output.logits, targets).mean()
        rebuilt = reconstruction_loss(image, drawn, self.reconstruction)
        return output, loss + self.reconstruct * rebuilt


@contextmanager
def record(modules: Sequence[nn.Module]) -> Iterator[list[torch.Tensor]]:
    """Collect the outputs of modules, in the order in which they are computed."""
    outputs: list[torch.Tensor] = []
    handles = [
        module.register_forward_hook(lambda _, __, output: outputs.append(output))
        for module in modules
    ]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def keep_pre_activations(model: Model) -> None:
    """Let no activation overwrite what it takes; numbers stay the same."""
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False


def require_maps(output: Embedded) -> torch.Tensor:
    """Return a classifier's last feature maps, (B, D, h, w).

    Raises:
        ConfigError: it has none, as transformers.
    """
    if output.maps is None:
        raise ConfigError(
            "this model has no feature maps, which Grad-CAM weighs; use a convolutional one"
        )
    return output.maps
