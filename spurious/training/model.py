"""What every model is: a forward pass, with what lies before its last layer.

Shape legend: B batch, C channels, K classes of images or pixels, H height, W width, D features of
an image, P of a pixel.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

CLASSES = 2
"""Of images, unless a dataset has more; of pixels, unless negative images have one of their own."""


class Embedded(NamedTuple):
    """A forward pass with what lies before the last layer.

    Attributes:
        logits: (B, K) of a classifier, (B, K, H, W) of a segmenter.
        deep: (B, D, h, w), the deepest feature map, or (B, D) where it is pooled already.
        pixels: (B, P, h, w) of a segmenter, what its `head` takes, but for dropout; None for a
            classifier.
        maps: (B, D, h, w) of a classifier, the last feature map before it is pooled; None where
            there is none.
    """

    logits: torch.Tensor
    deep: torch.Tensor
    pixels: torch.Tensor | None
    maps: torch.Tensor | None = None

    @property
    def images(self) -> torch.Tensor:
        """(B, D): the deepest map's mean over pixels, what alignment and clusters work on.

        A classifier's `head` maps it to the logits.
        """
        return self.deep if self.deep.ndim == 2 else self.deep.mean(dim=(2, 3))


class Model(nn.Module, ABC):
    """What every model here is: a body, and a last layer `head` over its embedding."""

    head: nn.Module

    @abstractmethod
    def embedded(self, x: torch.Tensor) -> Embedded:
        """(B, C, H, W) to logits and embeddings."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to logits."""
        return self.embedded(x).logits

    def pre_activations(self) -> Sequence[nn.Module]:
        """Return the modules whose outputs are the encoder's values before each activation.

        None of a model that does not show them, see `shows` of its options.
        """
        return ()

    def reconstructed(self, x: torch.Tensor) -> tuple[Embedded, torch.Tensor]:
        """(B, C, H, W) to `embedded`, and logits of the pixels that a decoder draws, alike.

        Raises:
            NotImplementedError: the model has no decoder.
        """
        raise NotImplementedError(f"{type(self).__name__} has no decoder")


def three_channels(x: torch.Tensor) -> torch.Tensor:
    """Return a grey image repeated to the three channels that ImageNet architectures take."""
    return x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x
