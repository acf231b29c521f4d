"""What a training step minimises: methods differ here, the loop stays the same."""

from __future__ import annotations

from typing import Any

import torch

from spurious.data.batches import Batch
from spurious.training.model import Embedded, Model
from spurious.training.supervision import Supervision


class Forward:
    """A model under the trial's arithmetic."""

    def __init__(self, model: Model, device: torch.device, bfloat16: bool) -> None:
        self.model, self.device, self.bfloat16 = model, device, bfloat16

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to logits."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            return self.model(x)

    def embedded(self, x: torch.Tensor) -> Embedded:
        """(B, C, H, W) to logits and embeddings; never through a compiled model."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            return self.model.embedded(x)

    def reconstructed(self, x: torch.Tensor) -> tuple[Embedded, torch.Tensor]:
        """(B, C, H, W) to `embedded`, and what a decoder draws; never through a compiled model."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            return self.model.reconstructed(x)


class Objective:
    """The mean loss of the annotated images; methods override what they change.

    Attributes:
        networks: Further networks that train beside the model, by the same optimizer.
    """

    def __init__(self, supervision: Supervision) -> None:
        self.supervision = supervision
        self.networks = torch.nn.ModuleDict()

    def loss(self, forward: Forward, batch: Batch) -> torch.Tensor:
        """Return the step's loss, a float32 scalar with its graph; without one nothing moves."""
        return self.supervision.losses(forward(batch.x), batch.targets).mean()

    def begin_epoch(self, epoch: int) -> None:
        """Told before the first batch of an epoch, which is counted from 1."""

    def state(self) -> dict[str, Any]:
        """Tensors and plain values that continuing needs, besides the networks."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what `state` gave."""
