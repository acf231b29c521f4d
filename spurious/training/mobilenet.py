"""MobileNetV2 with the head of the eXBL paper, and layers that do not train.

Shape legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from spurious.training.model import Embedded, Model, three_channels

HIDDEN, DROPOUT = 256, 0.5


def number_layers(body: Any) -> Iterator[tuple[int, nn.Module]]:
    """Number the convolutions and normalisations of a torchvision MobileNetV2 as Keras does.

    Keras, by which the paper counts, lists activations, paddings and sums as layers, too, and the
    input as layer 0.
    """
    stem, *blocks, last = body.features
    at = 1
    for part in stem:
        yield at, part
        at += 1
    for block in blocks:
        *expanded, project, norm = block.conv
        for step in expanded:  # convolution, normalisation, ReLU6; a stride of 2 is padded before
            convolution = step[0]
            at += int(convolution.stride == (2, 2))
            for part in step:
                yield at, part
                at += 1
        for part in (project, norm):
            yield at, part
            at += 1
        at += int(block.use_res_connect)
    for part in last:
        yield at, part
        at += 1


class MobileNetModel(Model):
    """torchvision's MobileNetV2, then 256 ReLU units, dropout and a linear layer.

    Args:
        body: The torchvision model.
        frozen: Layers, as `number_layers` counts, that keep weights and statistics.
        classes: K, of the images.
    """

    def __init__(self, body: Any, frozen: int, classes: int) -> None:
        super().__init__()
        features = body.last_channel
        body.classifier = nn.Identity()
        self.inner = body
        self.hidden = nn.Linear(features, HIDDEN)
        self.dropout = nn.Dropout(DROPOUT)
        self.head = nn.Linear(HIDDEN, classes)
        self.frozen = [part for at, part in number_layers(body) if at < frozen]
        for part in self.frozen:
            part.requires_grad_(requires_grad=False)

    def train(self, mode: bool = True) -> MobileNetModel:
        """Set the mode; normalisation of frozen layers stays at its running statistics."""
        super().train(mode)
        for part in self.frozen:
            part.eval()
        return self

    def embedded(self, x: torch.Tensor) -> Embedded:
        """(B, C, H, W) to (B, K) logits and the 256 hidden units."""
        maps = self.inner.features(three_channels(x))
        if torch.is_grad_enabled() and not maps.requires_grad:
            maps.requires_grad_()  # Grad-CAM asks for its slope, also where all below is frozen
        images = self.hidden(maps.mean(dim=(2, 3))).relu()
        return Embedded(self.head(self.dropout(images)), images, None, maps)
