"""The classifiers of Viviano et al. 2019 and 2021: four double convolutions, and a small ResNet-18.

Both show what lies before each ReLU of their encoder, which methods that compare activations read.

Shape legend: B batch, C channels, H height, W width, D features of an image.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from spurious.config.models import FourBlock
from spurious.training.model import Embedded, Model

_BLOCKS = 4


class _DoubleConvolution(nn.Module):
    """Two 3x3 convolutions, each followed by a ReLU; no normalisation."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(channels, channels_out, 3, padding=1)
            for channels in (channels_in, channels_out)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for convolution in self.convolutions:
            x = functional.relu(convolution(x))
        return x


class FourBlockModel(Model):
    """Encoder of four double convolutions, and a linear layer over all of its deepest map.

    A decoder draws the image again from the deepest map, with the encoder's maps beside its own
    where it is a U-Net's; the classification never sees it.

    Args:
        shape: (H, W, C) of the images.
        options: Channels and decoder.
        classes: K, of the images.
    """

    def __init__(self, shape: tuple[int, int, int], options: FourBlock, classes: int) -> None:
        super().__init__()
        height, width, channels = shape
        widths = [options.channels * 2**level for level in range(_BLOCKS)]
        self.encoder = nn.ModuleList(
            _DoubleConvolution(a, b) for a, b in zip([channels, *widths], widths, strict=False)
        )
        smallest = 2 ** (_BLOCKS - 1)
        features = widths[-1] * (height // smallest) * (width // smallest)
        self.head = nn.Linear(features, classes)
        self.has_skips = options.decoder == "unet"
        if options.decoder != "none":
            self.decoder = nn.ModuleList(
                _DoubleConvolution(deep + (skip if self.has_skips else 0), skip)
                for deep, skip in zip(widths[:0:-1], widths[-2::-1], strict=True)
            )
            self.last = nn.Conv2d(widths[0], channels, 1)

    def pre_activations(self) -> Sequence[nn.Module]:
        """Return all convolutions of the encoder."""
        return [convolution for block in self.encoder for convolution in block.convolutions]  # type: ignore[union-attr]

    def _encode(self, x: torch.Tensor) -> list[torch.Tensor]:
        maps: list[torch.Tensor] = []
        for block in self.encoder:
            maps.append(block(functional.max_pool2d(maps[-1], 2) if maps else x))
        return maps

    def _classify(self, maps: Sequence[torch.Tensor]) -> Embedded:
        images = maps[-1].flatten(1)
        return Embedded(self.head(images), images, None, maps[-1])

    def embedded(self, x: torch.Tensor) -> Embedded:
        """(B, C, H, W) to (B, K) logits and the flattened deepest map."""
        return self._classify(self._encode(x))

    def reconstructed(self, x: torch.Tensor) -> tuple[Embedded, torch.Tensor]:
        """(B, C, H, W) to `embedded`, and logits of the image's pixels, (B, C, H, W)."""
        *skips, x = maps = self._encode(x)
        for block, skip in zip(self.decoder, reversed(skips), strict=True):
            x = functional.interpolate(x, size=skip.shape[2:], mode="bilinear", align_corners=True)
            x = block(torch.cat([x, skip], dim=1) if self.has_skips else x)
        return self._classify(maps), self.last(x)


class _ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut; `added` shows the sum before its ReLU."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.shortcut = nn.Sequential()
        if stride != 1 or channels_in != channels_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False),
                nn.BatchNorm2d(channels_out),
            )
        self.added = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = functional.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return functional.relu(self.added(out + self.shortcut(x)))


class SmallStemResNet(Model):
    """ResNet-18 whose stem is one 3x3 convolution of stride 1, without pooling.

    Args:
        channels: Of the images.
        classes: K, likewise.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        blocks: list[nn.Module] = []
        before = 64
        for width, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
            blocks += [_ResidualBlock(before, width, stride), _ResidualBlock(width, width, 1)]
            before = width
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(before, classes)

    def pre_activations(self) -> Sequence[nn.Module]:
        """Return the stem, and of each block the first normalisation and the sum."""
        inner = [part for block in self.blocks for part in (block.bn1, block.added)]
        return [self.bn1, *inner]  # type: ignore[list-item]

    def embedded(self, x: torch.Tensor) -> Embedded:
        """(B, C, H, W) to (B, K) logits and 512 pooled features."""
        maps = self.blocks(functional.relu(self.bn1(self.conv1(x))))
        images = maps.mean(dim=(2, 3))
        return Embedded(self.head(images), images, None, maps)
