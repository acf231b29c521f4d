"""Classifiers and segmenters behind one `build`: images in, logits per image or pixel out.

Shape legend: B batch, C channels, K classes of pixels, H height, W width, D features of an image, P
of a pixel.

torchvision, segmentation-models-pytorch and timm are imported only by the models that need them.
"""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

from spurious.config.models import (
    FcnResNet50,
    ResNet50,
    SmallCnn,
    SmallUnet,
    Timm,
    Unet,
    sides_of,
)
from spurious.data.randomness import derive
from spurious.errors import ConfigError
from spurious.training.architectures import is_architecture, match_released, timm_body

CLASSES = 2
"""Of images; of pixels, too, unless negative images have a class of their own."""
LoadWeights = Callable[[str], Mapping[str, torch.Tensor]]


class Embedded(NamedTuple):
    """A forward pass with what lies before the last layer.

    Attributes:
        logits: (B, 2) of a classifier, (B, K, H, W) of a segmenter.
        deep: (B, D, h, w), the deepest feature map, or (B, D) where it is pooled already.
        pixels: (B, P, h, w) of a segmenter, what its `head` takes, but for dropout; None for a
            classifier.
    """

    logits: torch.Tensor
    deep: torch.Tensor
    pixels: torch.Tensor | None

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


def _three_channels(x: torch.Tensor) -> torch.Tensor:
    """Return a grey image repeated to the three channels that ImageNet architectures take."""
    return x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x


def _double_convolution(channels_in: int, channels_out: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (channels_in, channels_out):
        layers += [
            nn.Conv2d(channels, channels_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


class _SmallEncoder(nn.Module):
    """Feature maps of `levels` + 1 scales, the channels doubling at each halving."""

    def __init__(self, in_channels: int, channels: int, levels: int) -> None:
        super().__init__()
        widths = [channels * 2**level for level in range(levels + 1)]
        self.blocks = nn.ModuleList(
            _double_convolution(a, b)
            for a, b in zip([in_channels, *widths[:-1]], widths, strict=True)
        )
        self.widths = widths

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        features = []
        for level, block in enumerate(self.blocks):
            x = block(x if level == 0 else nn.functional.max_pool2d(x, 2))
            features.append(x)
        return features


class SmallCnnModel(Model):
    """The small U-Net's encoder, global average pooling, one linear layer."""

    def __init__(self, in_channels: int, options: SmallCnn) -> None:
        super().__init__()
        self.encoder = _SmallEncoder(in_channels, options.channels, options.levels)
        self.head = nn.Linear(self.encoder.widths[-1], CLASSES)

    def embedded(self, x: torch.Tensor) -> Embedded:
        """(B, C, H, W) to (B, 2) logits and the pooled deepest map."""
        images = self.encoder(x)[-1].mean(dim=(2, 3))
        return Embedded(self.head(images), images, None)


class SmallUnetModel(Model):
    """A plain U-Net with nearest-neighbour up-sampling and skip connections."""

    def __init__(self, in_channels: int, options: SmallUnet, classes: int) -> None:
        super().__init__()
        self.encoder = _SmallEncoder(in_channels, options.channels, options.levels)
        widths = self.encoder.widths
        self.blocks = nn.ModuleList(
            _double_convolution(deep + skip, skip)
            for deep, skip in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.head = nn.Conv2d(widths[0], classes, 1)

    def embedded(self, x: torch.Tensor) -> Embedded:
        """(B, C, H, W) to (B, K, H, W) logits, the pooled deepest map and the decoder's output."""
        *skips, x = self.encoder(x)
        deep = x
        for block, skip in zip(self.blocks, reversed(skips), strict=True):
            up = nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")
            x = block(torch.cat([up, skip], dim=1))
        return Embedded(self.head(x), deep, x)


class ResNetModel(Model):
    """torchvision's ResNet, whose embedding is what its `fc` takes."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.head = inner.fc
        inner.fc = nn.Identity()
        self.inner = inner

    def embedded(self, x: torch.Tensor) -> Embedded:
        """(B, C, H, W) to (B, 2) logits and 2048 pooled features."""
        images = self.inner(_three_channels(x))
        return Embedded(self.head(images), images, None)


class TimmModel(Model):
    """A classifier of timm: its body ends in pooled features, which one linear layer takes."""

    def __init__(self, body: Any) -> None:
        super().__init__()
        self.inner = body
        features = getattr(body, "head_hidden_size", None) or body.num_features
        self.head = nn.Linear(features, CLASSES)

    def embedded(self, x: torch.Tensor) -> Embedded:
        """(B, C, H, W) to (B, 2) logits and the pooled features."""
        images = self.inner(_three_channels(x))
        return Embedded(self.head(images), images, None)


class SmpUnetModel(Model):
    """segmentation-models-pytorch's U-Net: the decoder's output is the pixel embedding."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.head = inner.segmentation_head
        self.encoder, self.decoder = inner.encoder, inner.decoder

    def embedded(self, x: torch.Tensor) -> Embedded:
        """(B, C, H, W) to (B, K, H, W) logits, the encoder's pooled map, 16 channels a pixel."""
        features = self.encoder(_three_channels(x))
        pixels = self.decoder(features)
        return Embedded(self.head(pixels), features[-1], pixels)


class FcnModel(Model):
    """torchvision's FCN: the 512 channels before its last convolution are the pixel embedding."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        *body, self.dropout, self.head = inner.classifier
        self.backbone, self.body = inner.backbone, nn.Sequential(*body)

    def embedded(self, x: torch.Tensor) -> Embedded:
        """(B, C, H, W) to bilinearly up-sampled (B, K, H, W) logits, 2048 pooled features, pixels.

        The pixel embedding is at an eighth of the resolution, and before dropout: vectors of which
        some numbers are struck out at random are alike by chance.
        """
        deep = self.backbone(_three_channels(x))["out"]
        pixels = self.body(deep)
        logits = nn.functional.interpolate(
            self.head(self.dropout(pixels)), size=x.shape[-2:], mode="bilinear", align_corners=False
        )
        return Embedded(logits, deep, pixels)


def _load(module: nn.Module, options: Any, load: LoadWeights) -> None:
    """Load released weights into a module without a classifier, by `spurious.training.released`.

    Raises:
        ConfigError: they are of another architecture.
    """
    if options.weights is None:
        return
    match = match_released(load(options.weights), options.released, module)
    if not match.fits:
        raise ConfigError(
            f"weights {options.weights[:12]} do not fit this model ({options.released}): "
            f"{match.describe_misfit()}; stage the weights of the same architecture"
        )
    # the encoders of segmentation-models-pytorch override `load_state_dict` with other signatures
    nn.Module.load_state_dict(module, match.state, strict=False)


def _resnet50(in_channels: int, options: ResNet50, classes: int, load: LoadWeights) -> Model:
    from torchvision.models import resnet50

    model = ResNetModel(resnet50(weights=None, num_classes=classes))
    _load(model.inner, options, load)
    return model


def _timm(in_channels: int, options: Timm, classes: int, load: LoadWeights) -> Model:
    model = TimmModel(timm_body(options.architecture))
    _load(model.inner, options, load)
    return model


def _unet(in_channels: int, options: Unet, classes: int, load: LoadWeights) -> Model:
    import segmentation_models_pytorch as smp

    if not is_architecture(options.encoder):
        raise ConfigError(f"segmentation-models-pytorch has no encoder '{options.encoder}'")
    model = smp.Unet(
        encoder_name=options.encoder, encoder_weights=None, in_channels=3, classes=classes
    )
    _load(model.encoder, options, load)
    return SmpUnetModel(model)


def _fcn_resnet50(in_channels: int, options: FcnResNet50, classes: int, load: LoadWeights) -> Model:
    from torchvision.models.segmentation import fcn_resnet50

    model = FcnModel(fcn_resnet50(weights=None, weights_backbone=None, num_classes=classes))
    _load(model.backbone, options, load)
    return model


BUILDERS: Mapping[str, Callable[[int, Any, int, LoadWeights], Model]] = {
    "resnet50": _resnet50,
    "small-cnn": lambda in_channels, options, classes, load: SmallCnnModel(in_channels, options),
    "timm": _timm,
    "unet": _unet,
    "fcn-resnet50": _fcn_resnet50,
    "small-unet": lambda in_channels, options, classes, load: SmallUnetModel(
        in_channels, options, classes
    ),
}


def build(
    name: str,
    options: Any,
    image_shape: tuple[int, int, int],
    seed: int,
    load: LoadWeights,
    classes: int = CLASSES,
) -> Model:
    """Return a model with weights that depend on the seed (and pretrained weights) alone.

    Args:
        name: A key of `CLASSIFIERS` or `SEGMENTERS`.
        options: Its options.
        image_shape: (H, W, C) of the dataset.
        seed: The trial's seed.
        load: Gives a state dict for the SHA-256 of stored weights.
        classes: K of a segmenter.

    Returns:
        A module from (B, C, H, W) to (B, 2) or (B, K, H, W) logits.

    Raises:
        ConfigError: image sides that the model cannot halve often enough, or unfit weights.
    """
    height, width, in_channels = image_shape
    sides = sides_of(options)
    if not sides.take(height, width):
        raise ConfigError(
            f"model '{name}' needs image sides {sides}; this dataset is "
            f"{height} x {width}: stage it at another size or choose another model"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive("model", name, seed))
        return BUILDERS[name](in_channels, options, classes, load)


def compile_model(model: Model) -> None:
    """Compile a model's forward pass in place, when it is first called.

    Raises:
        ConfigError: there is no C++ compiler here, which `torch.compile` needs.
    """
    if shutil.which(os.environ.get("CXX", "g++")) is None:
        raise ConfigError(
            "train.compile needs a C++ compiler where trials run, and g++ is missing; install "
            "one into the image (set CXX for another), or use compile: false"
        )
    model.compile()
