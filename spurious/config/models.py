"""Options of every model, and how a segmenter's probability map becomes an image score."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le

from spurious.config.architectures import Sides, timm_architectures
from spurious.config.encoders import ENCODERS, TIMM_PREFIX
from spurious.config.fields import Probability, Sha256, problems

TIMM_CLASSIFIER = "timm:"
"""What names of classifiers begin with in `sweeps stage weights --for`."""


Shown = Literal["layers", "maps", "decoder"]
"""What methods that steer a classifier read of it: values before each activation of its encoder,
its last feature maps, or the image that a decoder draws."""
SHOWING: Mapping[Shown, str] = {
    "layers": "small-cnn, four-block or resnet18-small-stem",
    "maps": "a convolutional classifier",
    "decoder": "four-block with decoder: autoencoder, or unet",
}
"""Which classifiers show it, in words."""


@dataclass(frozen=True, kw_only=True)
class ResNet50:
    """torchvision ResNet-50 with a two-logit head."""

    weights: Sha256 | None = None
    """SHA-256 of a state dict in the store (see `sweeps stage weights`), or None for random."""

    released: ClassVar[str] = "resnet50"
    shows: ClassVar[tuple[Shown, ...]] = ("maps",)


@dataclass(frozen=True, kw_only=True)
class SmallCnn:
    """Encoder of `small-unet`, global average pooling and a linear head: trains on a CPU."""

    channels: Annotated[int, Ge(2), Le(512)] = 16
    levels: Annotated[int, Ge(1), Le(6)] = 2

    shows: ClassVar[tuple[Shown, ...]] = ("layers", "maps")

    @property
    def sides(self) -> Sides:
        """Image sides that it takes."""
        return Sides(int(2**self.levels))


@dataclass(frozen=True, kw_only=True)
class FourBlock:
    """Four double convolutions and a linear layer, with or without a decoder (Viviano et al. 2019).

    Without normalisation. Published with 16 channels on crosses and 64 on medical images.

    Attributes:
        decoder: `none`, `autoencoder`, or `unet`, which has skip connections; it draws the image
            for methods with a loss of reconstruction.
    """

    channels: Annotated[int, Ge(1), Le(512)] = 16
    decoder: Literal["none", "autoencoder", "unet"] = "none"

    @property
    def sides(self) -> Sides:
        """Image sides that it takes."""
        return Sides(1, 8)

    @property
    def shows(self) -> tuple[Shown, ...]:
        """What methods can read of it."""
        drawn: tuple[Shown, ...] = () if self.decoder == "none" else ("decoder",)
        return ("layers", "maps", *drawn)


@dataclass(frozen=True, kw_only=True)
class ResNet18SmallStem:
    """ResNet-18 with a 3x3 stem of stride 1 and no pooling, for small images (Viviano et al.)."""

    shows: ClassVar[tuple[Shown, ...]] = ("layers", "maps")


@dataclass(frozen=True, kw_only=True)
class MobileNetV2:
    """torchvision MobileNetV2 with 256 hidden units and dropout of 0.5 before its two logits.

    Attributes:
        weights: SHA-256 of a state dict in the store, or None for random.
        frozen: Layers that keep their pretrained weights, counted as Keras lists them, the input
            being the first; eXBL freezes 50.
    """

    weights: Sha256 | None = None
    frozen: Annotated[int, Ge(0), Le(154)] = 0

    released: ClassVar[str] = "mobilenet_v2"
    shows: ClassVar[tuple[Shown, ...]] = ("maps",)


@problems.register(MobileNetV2)
def _(options: MobileNetV2) -> list[str]:
    if options.frozen and options.weights is None:
        return ["frozen layers need weights: random ones would never learn; set weights"]
    return []


@dataclass(frozen=True, kw_only=True)
class Timm:
    """Any classifier of timm, with a two-logit head on its pooled features."""

    architecture: str = "tf_efficientnet_lite0"
    """A name of timm's, such as `resnet18`, without the tag of its weights."""

    weights: Sha256 | None = None
    """SHA-256 of a state dict in the store (see `sweeps stage weights`), or None for random."""

    @property
    def sides(self) -> Sides:
        """Image sides that the architecture takes."""
        known = timm_architectures().get(self.architecture)
        return known.classifier if known is not None and known.classifier else Sides()

    @property
    def released(self) -> str:
        """Name of the architecture for `sweeps stage weights --for`."""
        return f"{TIMM_CLASSIFIER}{self.architecture}"

    @property
    def shows(self) -> tuple[Shown, ...]:
        """Maps, but of transformers."""
        known = timm_architectures().get(self.architecture)
        return ("maps",) if known is not None and known.maps else ()


@problems.register(Timm)
def _(options: Timm) -> list[str]:
    known = timm_architectures()
    if options.architecture in known and known[options.architecture].classifier is None:
        return [f"architecture '{options.architecture}' of timm is not a classifier; use another"]
    return _unknown_timm("architecture", options.architecture, known)


@dataclass(frozen=True, kw_only=True)
class Unet:
    """segmentation-models-pytorch U-Net; image sides must be multiples of 32.

    Encoders on transformers (`tu-swin...`) take images of one size.
    """

    encoder: str = "se_resnext50_32x4d"
    """One of segmentation-models-pytorch's, or `tu-NAME` for the timm architecture NAME."""

    weights: Sha256 | None = None
    """SHA-256 of the encoder's state dict in the store, or None for random."""

    @property
    def sides(self) -> Sides:
        """Image sides that the encoder and the decoder take."""
        known = timm_architectures().get(self.encoder.removeprefix(TIMM_PREFIX))
        if not self.encoder.startswith(TIMM_PREFIX) or known is None or known.encoder is None:
            return Sides(32)
        return known.encoder

    @property
    def released(self) -> str:
        """Name of the encoder for `sweeps stage weights --for`."""
        return self.encoder


@problems.register(Unet)
def _(options: Unet) -> list[str]:
    if options.encoder in ENCODERS:
        return []
    if options.encoder.startswith(TIMM_PREFIX):
        name = options.encoder.removeprefix(TIMM_PREFIX)
        known = timm_architectures()
        if name in known and known[name].encoder is None:
            return [
                f"encoder '{options.encoder}' cannot be one: this architecture of timm has no "
                "feature maps that halve from one to the next; use another"
            ]
        return _unknown_timm("encoder", name, known)
    near = difflib.get_close_matches(options.encoder, sorted(ENCODERS), n=3)
    if options.encoder in timm_architectures():
        near.append(TIMM_PREFIX + options.encoder)
    return [
        f"encoder '{options.encoder}' is not one of segmentation-models-pytorch's own"
        f"{'; did you mean ' + ' or '.join(near) + '?' if near else ', such as resnet50'}"
    ]


def _unknown_timm(option: str, name: str, known: Collection[str]) -> list[str]:
    """Return the problem of a name that timm does not have, with those that are like it."""
    if name in known:
        return []
    plain, _, tag = name.partition(".")
    if tag and plain in known:
        hint = f"; leave out the tag of its weights: {plain}"
    else:
        near = difflib.get_close_matches(name, sorted(known), n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else ", such as resnet18"
    return [f"{option} '{name}' is not a name of timm's{hint}"]


@dataclass(frozen=True, kw_only=True)
class FcnResNet50:
    """torchvision FCN on a dilated ResNet-50 (the paper's synthetic experiment)."""

    weights: Sha256 | None = None
    """SHA-256 of the backbone's state dict in the store, or None for random."""

    released: ClassVar[str] = "resnet50"


@dataclass(frozen=True, kw_only=True)
class SmallUnet:
    """A U-Net of two 3x3 convolutions per level; image sides must be multiples of 2**levels."""

    channels: Annotated[int, Ge(2), Le(512)] = 16
    levels: Annotated[int, Ge(1), Le(6)] = 2

    @property
    def sides(self) -> Sides:
        """Image sides that it takes."""
        return Sides(int(2**self.levels))


CLASSIFIERS: Mapping[str, type[Any]] = {
    "resnet50": ResNet50,
    "small-cnn": SmallCnn,
    "timm": Timm,
    "four-block": FourBlock,
    "resnet18-small-stem": ResNet18SmallStem,
    "mobilenet-v2": MobileNetV2,
}
SEGMENTERS: Mapping[str, type[Any]] = {
    "unet": Unet,
    "fcn-resnet50": FcnResNet50,
    "small-unet": SmallUnet,
}


def shown_by(options: Any) -> tuple[Shown, ...]:
    """Return what methods can read of a model with these options, beside its logits."""
    shown: tuple[Shown, ...] = getattr(options, "shows", ())
    return shown


def sides_of(options: Any) -> Sides:
    """Return the image sides that a model with these options takes."""
    sides: Sides = getattr(options, "sides", Sides())
    return sides


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
