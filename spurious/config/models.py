"""Options of every model, and how a segmenter's probability map becomes an image score."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le

from spurious.config.encoders import ENCODERS
from spurious.config.fields import Probability, Sha256, problems


@dataclass(frozen=True, kw_only=True)
class ResNet50:
    """torchvision ResNet-50 with a two-logit head."""

    weights: Sha256 | None = None
    """SHA-256 of a state dict in the store (see `sweeps stage weights`), or None for random."""


@dataclass(frozen=True, kw_only=True)
class SmallCnn:
    """Encoder of `small-unet`, global average pooling and a linear head: trains on a CPU."""

    channels: Annotated[int, Ge(2), Le(512)] = 16
    levels: Annotated[int, Ge(1), Le(6)] = 2

    @property
    def side_multiple(self) -> int:
        """Image sides must be multiples of this many pixels."""
        return int(2**self.levels)


@dataclass(frozen=True, kw_only=True)
class Unet:
    """segmentation-models-pytorch U-Net; image sides must be multiples of 32."""

    encoder: str = "se_resnext50_32x4d"
    weights: Sha256 | None = None
    """SHA-256 of the encoder's state dict in the store, or None for random."""

    side_multiple: ClassVar[int] = 32


@problems.register(Unet)
def _(options: Unet) -> list[str]:
    if options.encoder in ENCODERS:
        return []
    near = difflib.get_close_matches(options.encoder, sorted(ENCODERS), n=3)
    return [
        f"encoder '{options.encoder}' is not one of segmentation-models-pytorch's own"
        f"{'; did you mean ' + ' or '.join(near) + '?' if near else ', such as resnet50'}"
    ]


@dataclass(frozen=True, kw_only=True)
class FcnResNet50:
    """torchvision FCN on a dilated ResNet-50 (the paper's synthetic experiment)."""

    weights: Sha256 | None = None
    """SHA-256 of the backbone's state dict in the store, or None for random."""


@dataclass(frozen=True, kw_only=True)
class SmallUnet:
    """A U-Net of two 3x3 convolutions per level; image sides must be multiples of 2**levels."""

    channels: Annotated[int, Ge(2), Le(512)] = 16
    levels: Annotated[int, Ge(1), Le(6)] = 2

    @property
    def side_multiple(self) -> int:
        """Image sides must be multiples of this many pixels."""
        return int(2**self.levels)


CLASSIFIERS: Mapping[str, type[Any]] = {"resnet50": ResNet50, "small-cnn": SmallCnn}
SEGMENTERS: Mapping[str, type[Any]] = {
    "unet": Unet,
    "fcn-resnet50": FcnResNet50,
    "small-unet": SmallUnet,
}


@dataclass(frozen=True, kw_only=True)
class Aggregation:
    """How a segmentation model scores an image: pixel probabilities p (H, W) to one number.

    `mean_prob` mean of p; `mean_logit` sigmoid of the mean logit margin; `max_prob` maximum of p;
    `area_fraction` share of pixels with p >= threshold; `top_fraction` mean of the largest share
    of p. All stay the same under nearest-neighbour up-sampling of the logits (`top_fraction` up to
    rounding of the number of pixels).

    `area_count` is a decision, not a score: 1 where more than `area` pixels have p > threshold,
    else 0 (the rule of Hooper et al. 2023 and of pneumothorax competitions). It depends on the
    image's size, and its AUROC is the mean of sensitivity and specificity.
    """

    name: Literal[
        "mean_prob", "mean_logit", "max_prob", "area_fraction", "top_fraction", "area_count"
    ] = "mean_prob"
    threshold: Probability = 0.5
    fraction: Annotated[float, Gt(0.0), Le(1.0)] = 0.1
    area: Annotated[int, Ge(0), Le(2**24)] = 0


@problems.register(Aggregation)
def _(options: Aggregation) -> list[str]:
    used_by = {
        "threshold": ("area_fraction", "area_count"),
        "fraction": ("top_fraction",),
        "area": ("area_count",),
    }
    return [
        f"{name} is not read by {options.name}; remove it, or use {' or '.join(readers)}"
        for name, readers in used_by.items()
        if options.name not in readers and getattr(options, name) != getattr(Aggregation, name)
    ]
