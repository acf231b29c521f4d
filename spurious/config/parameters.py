"""How many numbers a model holds, and a checkpoint of its training, without building it.

A test compares them with models that are built.
"""

from __future__ import annotations

from functools import singledispatch
from itertools import pairwise
from typing import Any, Final

from spurious.config.architectures import timm_architectures, unet_parameters
from spurious.config.encoders import TIMM_PREFIX
from spurious.config.methods import Lff
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
)
from spurious.config.options import FitConfig, Train

_BYTES: Final = 4
_KERNEL: Final = 9
"""Weights of a 3 x 3 kernel."""
_OF_NORMALISATION: Final = 4
"""Numbers a channel of a batch normalisation: scale, shift, mean and variance."""
_MOMENTS: Final = {"adam": 2, "adamw": 2}
"""Numbers that an optimizer keeps a parameter."""


@singledispatch
def count_numbers(options: Any, shape: tuple[int, int, int]) -> int | None:
    """Return the numbers of a model's weights and statistics, None where nobody counted them.

    Args:
        options: Of the model.
        shape: (H, W, C) of the images.
    """
    return None


@count_numbers.register(ResNet50)
def _(options: ResNet50, shape: tuple[int, int, int]) -> int:
    return 23_565_303


@count_numbers.register(FcnResNet50)
def _(options: FcnResNet50, shape: tuple[int, int, int]) -> int:
    return 33_001_464


@count_numbers.register(MobileNetV2)
def _(options: MobileNetV2, shape: tuple[int, int, int]) -> int:
    return 2_586_486


@count_numbers.register(ResNet18SmallStem)
def _(options: ResNet18SmallStem, shape: tuple[int, int, int]) -> int:
    return 11_178_326


@count_numbers.register(Timm)
def _(options: Timm, shape: tuple[int, int, int]) -> int | None:
    known = timm_architectures().get(options.architecture)
    return None if known is None else known.classifier_numbers


@count_numbers.register(Unet)
def _(options: Unet, shape: tuple[int, int, int]) -> int | None:
    if not options.encoder.startswith(TIMM_PREFIX):
        return unet_parameters().get(options.encoder)
    known = timm_architectures().get(options.encoder.removeprefix(TIMM_PREFIX))
    return None if known is None else known.unet_numbers


def _double(channels_in: int, channels_out: int, each: int) -> int:
    """Two 3 x 3 convolutions, and `each` further numbers a channel of either."""
    kernels = _KERNEL * channels_out * (channels_in + channels_out)
    return kernels + 2 * each * channels_out


def _encoder(widths: list[int], channels: int, each: int) -> int:
    return sum(_double(a, b, each) for a, b in pairwise([channels, *widths]))


def _decoder(widths: list[int], each: int, *, skips: bool) -> int:
    steps = zip(widths[:0:-1], widths[-2::-1], strict=True)
    return sum(_double(deep + (skip if skips else 0), skip, each) for deep, skip in steps)


@count_numbers.register(SmallCnn)
def _(options: SmallCnn, shape: tuple[int, int, int]) -> int:
    widths = [options.channels << level for level in range(options.levels + 1)]
    return _encoder(widths, shape[2], _OF_NORMALISATION) + 2 * widths[-1]


@count_numbers.register(SmallUnet)
def _(options: SmallUnet, shape: tuple[int, int, int]) -> int:
    widths = [options.channels << level for level in range(options.levels + 1)]
    encoder = _encoder(widths, shape[2], _OF_NORMALISATION)
    return encoder + _decoder(widths, _OF_NORMALISATION, skips=True) + 2 * widths[0]


@count_numbers.register(FourBlock)
def _(options: FourBlock, shape: tuple[int, int, int]) -> int:
    height, width, channels = shape
    widths = [options.channels << level for level in range(4)]
    count = _encoder(widths, channels, 1) + 2 * widths[-1] * (height // 8) * (width // 8)
    if options.decoder != "none":
        count += _decoder(widths, 1, skips=options.decoder == "unet") + widths[0] * channels
    return count


def estimate_checkpoint_bytes(config: FitConfig, shape: tuple[int, int, int]) -> int | None:
    """Return about what a checkpoint of a fit takes: weights, those of the kept epoch, optimizer.

    One of a model that several trials begin with takes as much. None where the model is unknown.

    Args:
        config: The fit.
        shape: (H, W, C) of the images.
    """
    numbers = count_numbers(config.model, shape)
    if numbers is None:
        return None
    trained = 2 if isinstance(config.method, Lff) else 1
    return _BYTES * numbers * (trained * (1 + _kept_by(config.train)) + 1)


def _kept_by(train: Train) -> int:
    """Return how many numbers an optimizer keeps a parameter."""
    return _MOMENTS.get(train.optimizer, int(train.momentum > 0))
