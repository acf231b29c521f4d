"""Classifiers and segmenters behind one `build`: images in, logits per image or pixel out.

Shape legend: B batch, C channels, K classes of pixels, H height, W width.

torchvision, segmentation-models-pytorch and timm are imported only by the models that need them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from spurious.config.models import (
    FcnResNet50,
    FourBlock,
    MobileNetV2,
    ResNet18SmallStem,
    ResNet50,
    SmallCnn,
    SmallUnet,
    Timm,
    Unet,
    sides_of,
)
from spurious.data.randomness import derive
from spurious.errors import ConfigError
from spurious.training.architectures import has_maps, is_architecture, match_released, timm_body
from spurious.training.block_models import FourBlockModel, SmallStemResNet
from spurious.training.mobilenet import MobileNetModel
from spurious.training.model import CLASSES, Embedded, Model, three_channels

LoadWeights = Callable[[str], Mapping[str, torch.Tensor]]
Shape = tuple[int, int, int]
"""(H, W, C) of images."""


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

    def __init__(self, in_channels: int, options: SmallCnn, classes: int) -> None:
        super().__init__()
        self.encoder = _SmallEncoder(in_channels, options.channels, options.levels)
        self.head = nn.Linear(self.encoder.widths[-1], classes)

    def embedded(self, x: torch.Tensor) -> Embedded:
        """(B, C, H, W) to (B, K) logits and the pooled deepest map."""
        maps = self.encoder(x)[-1]
        images = maps.mean(dim=(2, 3))
        return Embedded(self.head(images), images, None, maps)

    def pre_activations(self) -> Sequence[nn.Module]:
        """Return the normalisations, whose outputs the ReLUs take."""
        return [m for m in self.encoder.modules() if isinstance(m, nn.BatchNorm2d)]


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
        """(B, C, H, W) to (B, K) logits and 2048 pooled features."""
        inner = self.inner
        x = inner.maxpool(inner.relu(inner.bn1(inner.conv1(three_channels(x)))))
        maps = inner.layer4(inner.layer3(inner.layer2(inner.layer1(x))))
        images = inner.avgpool(maps).flatten(1)
        return Embedded(self.head(images), images, None, maps)


class TimmModel(Model):
    """A classifier of timm: its body ends in pooled features, which one linear layer takes."""

    def __init__(self, body: Any, classes: int) -> None:
        super().__init__()
        self.inner = body
        features = getattr(body, "head_hidden_size", None) or body.num_features
        self.head = nn.Linear(features, classes)

    def embedded(self, x: torch.Tensor) -> Embedded:
        """(B, C, H, W) to (B, K) logits and the pooled features."""
        maps = self.inner.forward_features(three_channels(x))
        if not has_maps(maps):
            images = self.inner.forward_head(maps)
            return Embedded(self.head(images), images, None, None)
        if not self._has_channels_last(maps):
            images = self.inner.forward_head(maps)
            return Embedded(self.head(images), images, None, maps)
        maps = maps.permute(0, 3, 1, 2)  # and back, so that Grad-CAM's slopes pass through them
        images = self.inner.forward_head(maps.permute(0, 2, 3, 1))
        return Embedded(self.head(images), images, None, maps)

    def _has_channels_last(self, maps: torch.Tensor) -> bool:
        """Return whether a map is (B, h, w, D), as of Swin, MambaOut, HieraDet and Sequencer."""
        features = self.inner.num_features
        return maps.shape[1] != features and maps.shape[3] == features


class SmpUnetModel(Model):
    """segmentation-models-pytorch's U-Net: the decoder's output is the pixel embedding."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.head = inner.segmentation_head
        self.encoder, self.decoder = inner.encoder, inner.decoder

    def embedded(self, x: torch.Tensor) -> Embedded:
        """(B, C, H, W) to (B, K, H, W) logits, the encoder's pooled map, 16 channels a pixel."""
        features = self.encoder(three_channels(x))
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
        deep = self.backbone(three_channels(x))["out"]
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


def _resnet50(shape: Shape, options: ResNet50, classes: int, load: LoadWeights) -> Model:
    from torchvision.models import resnet50

    model = ResNetModel(resnet50(weights=None, num_classes=classes))
    _load(model.inner, options, load)
    return model


def _timm(shape: Shape, options: Timm, classes: int, load: LoadWeights) -> Model:
    model = TimmModel(timm_body(options.architecture), classes)
    _load(model.inner, options, load)
    return model


def _unet(shape: Shape, options: Unet, classes: int, load: LoadWeights) -> Model:
    import segmentation_models_pytorch as smp

    if not is_architecture(options.encoder):
        raise ConfigError(f"segmentation-models-pytorch has no encoder '{options.encoder}'")
    model = smp.Unet(
        encoder_name=options.encoder, encoder_weights=None, in_channels=3, classes=classes
    )
    _load(model.encoder, options, load)
    return SmpUnetModel(model)


def _fcn_resnet50(shape: Shape, options: FcnResNet50, classes: int, load: LoadWeights) -> Model:
    from torchvision.models.segmentation import fcn_resnet50

    model = FcnModel(fcn_resnet50(weights=None, weights_backbone=None, num_classes=classes))
    _load(model.backbone, options, load)
    return model


def _mobilenet_v2(shape: Shape, options: MobileNetV2, classes: int, load: LoadWeights) -> Model:
    from torchvision.models import mobilenet_v2

    model = MobileNetModel(mobilenet_v2(weights=None), options.frozen, classes)
    _load(model.inner, options, load)
    return model


def _four_block(shape: Shape, options: FourBlock, classes: int, load: LoadWeights) -> Model:
    return FourBlockModel(shape, options, classes)


def _small_stem(shape: Shape, options: ResNet18SmallStem, classes: int, load: LoadWeights) -> Model:
    return SmallStemResNet(shape[2], classes)


def _small_cnn(shape: Shape, options: SmallCnn, classes: int, load: LoadWeights) -> Model:
    return SmallCnnModel(shape[2], options, classes)


def _small_unet(shape: Shape, options: SmallUnet, classes: int, load: LoadWeights) -> Model:
    return SmallUnetModel(shape[2], options, classes)


BUILDERS: Mapping[str, Callable[[Shape, Any, int, LoadWeights], Model]] = {
    "resnet50": _resnet50,
    "small-cnn": _small_cnn,
    "timm": _timm,
    "four-block": _four_block,
    "resnet18-small-stem": _small_stem,
    "mobilenet-v2": _mobilenet_v2,
    "unet": _unet,
    "fcn-resnet50": _fcn_resnet50,
    "small-unet": _small_unet,
}


def build(
    name: str,
    options: Any,
    image_shape: Shape,
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
        classes: K, of images for a classifier, of pixels for a segmenter.

    Returns:
        A module from (B, C, H, W) to (B, K) or (B, K, H, W) logits.

    Raises:
        ConfigError: image sides that the model cannot halve often enough, or unfit weights.
    """
    height, width, _ = image_shape
    sides = sides_of(options)
    if not sides.take(height, width):
        raise ConfigError(
            f"model '{name}' needs image sides {sides}; this dataset is "
            f"{height} x {width}: stage it at another size or choose another model"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive("model", name, seed))
        return BUILDERS[name](image_shape, options, classes, load)


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
