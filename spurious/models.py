"""Classifiers and segmenters behind one `build`: images in, two logits per image or pixel out.

torchvision and segmentation-models-pytorch are imported only by the models that need them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from spurious.config import FcnResNet50, ResNet50, SmallCnn, SmallUnet, Unet
from spurious.errors import ConfigError
from spurious.randomness import derive

CLASSES = 2
LoadWeights = Callable[[str], Mapping[str, torch.Tensor]]


class _ThreeChannels(nn.Module):
    """Repeats a grey image to the three channels that ImageNet architectures take."""

    def __init__(self, inner: nn.Module, output: str | None = None) -> None:
        super().__init__()
        self.inner = inner
        self.output = output

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.inner(x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x)
        return y if self.output is None else y[self.output]


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


class SmallCnnModel(nn.Module):
    """The small U-Net's encoder, global average pooling, one linear layer."""

    def __init__(self, in_channels: int, options: SmallCnn) -> None:
        super().__init__()
        self.encoder = _SmallEncoder(in_channels, options.channels, options.levels)
        self.head = nn.Linear(self.encoder.widths[-1], CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, 2) logits."""
        logits: torch.Tensor = self.head(self.encoder(x)[-1].mean(dim=(2, 3)))
        return logits


class SmallUnetModel(nn.Module):
    """A plain U-Net with nearest-neighbour up-sampling and skip connections."""

    def __init__(self, in_channels: int, options: SmallUnet) -> None:
        super().__init__()
        self.encoder = _SmallEncoder(in_channels, options.channels, options.levels)
        widths = self.encoder.widths
        self.blocks = nn.ModuleList(
            _double_convolution(deep + skip, skip)
            for deep, skip in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.head = nn.Conv2d(widths[0], CLASSES, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, 2, H, W) logits."""
        *skips, x = self.encoder(x)
        for block, skip in zip(self.blocks, reversed(skips), strict=True):
            up = nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")
            x = block(torch.cat([up, skip], dim=1))
        logits: torch.Tensor = self.head(x)
        return logits


def _load(module: nn.Module, weights: str | None, load: LoadWeights, drop: tuple[str, ...]) -> None:
    """Load a released state dict, leaving out its own classifier (keys that start with `drop`)."""
    if weights is None:
        return
    state = {key: value for key, value in load(weights).items() if not key.startswith(drop)}
    own = {key: value for key, value in module.state_dict().items() if not key.startswith(drop)}
    # files from before torch 0.4.1 do not count batches
    missing = [key for key in own.keys() - state.keys() if not key.endswith("num_batches_tracked")]
    unknown = list(state.keys() - own.keys())
    misshapen = [key for key in own.keys() & state.keys() if own[key].shape != state[key].shape]
    if odd := missing + unknown + misshapen:
        raise ConfigError(
            f"weights {weights[:12]} do not fit this model: {len(missing)} tensors missing, "
            f"{len(unknown)} unknown, {len(misshapen)} of another shape, e.g. "
            f"{', '.join(sorted(odd)[:3])}; stage the weights of the same architecture"
        )
    # the encoders of segmentation-models-pytorch override `load_state_dict` with other signatures
    nn.Module.load_state_dict(module, state, strict=False)


def _resnet50(in_channels: int, options: ResNet50, load: LoadWeights) -> nn.Module:
    from torchvision.models import resnet50

    model = resnet50(weights=None, num_classes=CLASSES)
    _load(model, options.weights, load, ("fc.",))
    return _ThreeChannels(model)


def _unet(in_channels: int, options: Unet, load: LoadWeights) -> nn.Module:
    import segmentation_models_pytorch as smp

    if options.encoder not in smp.encoders.get_encoder_names():
        raise ConfigError(f"segmentation-models-pytorch has no encoder '{options.encoder}'")
    model = smp.Unet(
        encoder_name=options.encoder, encoder_weights=None, in_channels=3, classes=CLASSES
    )
    # released encoders come with a classifier that smp's own encoders leave out
    _load(model.encoder, options.weights, load, ("fc.", "last_linear.", "classifier."))
    return _ThreeChannels(model)


def _fcn_resnet50(in_channels: int, options: FcnResNet50, load: LoadWeights) -> nn.Module:
    from torchvision.models.segmentation import fcn_resnet50

    model = fcn_resnet50(weights=None, weights_backbone=None, num_classes=CLASSES)
    _load(model.backbone, options.weights, load, ("fc.",))
    return _ThreeChannels(model, output="out")


BUILDERS: Mapping[str, Callable[[int, Any, LoadWeights], nn.Module]] = {
    "resnet50": _resnet50,
    "small-cnn": lambda in_channels, options, load: SmallCnnModel(in_channels, options),
    "unet": _unet,
    "fcn-resnet50": _fcn_resnet50,
    "small-unet": lambda in_channels, options, load: SmallUnetModel(in_channels, options),
}


def build(
    name: str, options: Any, image_shape: tuple[int, int, int], seed: int, load: LoadWeights
) -> nn.Module:
    """A model with weights that depend on the seed (and pretrained weights) alone.

    Args:
        name: A key of `CLASSIFIERS` or `SEGMENTERS`.
        options: Its options.
        image_shape: (H, W, C) of the dataset.
        seed: The trial's seed.
        load: Gives a state dict for the SHA-256 of stored weights.

    Returns:
        A module from (B, C, H, W) to (B, 2) or (B, 2, H, W) logits.

    Raises:
        ConfigError: image sides that the model cannot halve often enough, or unfit weights.
    """
    height, width, in_channels = image_shape
    multiple = getattr(options, "side_multiple", 1)
    if height % multiple or width % multiple:
        raise ConfigError(
            f"model '{name}' needs image sides that are multiples of {multiple}; this dataset is "
            f"{height} x {width}: stage it at another size or choose another model"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive("model", name, seed))
        return BUILDERS[name](in_channels, options, load)
