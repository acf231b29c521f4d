"""Every option of the science with its default and range, importable without torch.

A registry maps the name that a sweep YAML uses to its options; an implementation module holds a
dict with the same keys (a test compares them). Ranges are `annotated_types` marks, which the
specification reader enforces and a search space may not leave.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import singledispatch
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt

SCIENCE_VERSION = 1
"""Part of every trial's identity; raised by hand when the same options give other numbers."""


@dataclass(frozen=True)
class Pattern:
    """A mark for text: all of it matches the regular expression; `meaning` says so in words."""

    regex: str
    meaning: str


Probability = Annotated[float, Ge(0.0), Le(1.0)]
Seed = Annotated[int, Ge(0), Lt(2**31)]
Sha256 = Annotated[str, Pattern("[0-9a-f]{64}", "a SHA-256 of 64 lower-case hexadecimal digits")]
Resolution = Annotated[int, Ge(1), Le(4096)]
Images = Annotated[int, Ge(2), Le(10_000_000)]
SupervisionKind = Literal["label", "box", "mask", "r"]
Balance = Literal["equal", "natural"]
Negatives = Literal["background", "lesion"]
"""What masks of negative images count as, where a dataset has them: nothing, or a third class.

Under `lesion` pixels are background, region of a negative image, or region of a positive one; the
last is what an image is scored by. Saab et al. 2022 segment and diagnose ISIC like this.
"""


@singledispatch
def problems(options: object) -> list[str]:
    """What is wrong with options that are each in range but do not go together.

    Returns:
        One sentence set per problem, which begins with the name of the option at fault.
    """
    return []


@dataclass(frozen=True)
class Specificity:
    """Spatial specificity of the annotation that is bought (Saab et al. 2022, section 3.1).

    Attributes:
        kind: `label`, `box`, `mask`, or `r` (a Chebyshev-dilated mask).
        r: Resolution of kind `r`: 1 is the whole image, the image side is the mask itself.
        box_per: One box per connected component (the default, as it is priced) or per image.
    """

    kind: SupervisionKind
    r: Resolution | None = None
    box_per: Literal["component", "image"] = "component"

    def __str__(self) -> str:
        if self.kind == "r":
            return f"r={self.r}"
        return "box=image" if self.kind == "box" and self.box_per == "image" else self.kind


@dataclass(frozen=True)
class Budget:
    """How many training images carry the annotation.

    Attributes:
        images: Number of annotated training images, or None for all of them.
        balance: `equal` draws half positive, half negative; `natural` keeps the prevalence.
    """

    images: Images | None
    balance: Balance = "equal"

    def __str__(self) -> str:
        return "all" if self.images is None else str(self.images)


@dataclass(frozen=True, kw_only=True)
class GaussianSquares:
    """Synthetic images with an abnormal and a spurious region (Saab et al. 2022, section 3.2.2).

    Defaults are the paper's. Sizes are in pixels; intensities in units of an arbitrary scale.

    Attributes:
        prevalence: Share of positive images in train and validation.
        spurious_given_positive: Share of them that have the spurious block; likewise of negatives.
        test_prevalence: Share of positive test images; None is as `prevalence`.
        test_spurious: Share of test images with the block, whatever their label.
        overlap: `avoid` draws the block beside the abnormality, `independent` anywhere.
    """

    image_size: Annotated[int, Ge(8), Le(1024)] = 40
    abnormality_size: Annotated[int, Ge(1), Le(1024)] = 8
    spurious_size: Annotated[int, Ge(1), Le(1024)] = 12
    shape: Literal["square", "disc", "ring"] = "square"
    ring_width: Annotated[int, Ge(1), Le(512)] = 1
    prevalence: Probability = 0.9
    spurious_given_positive: Probability = 1.0
    spurious_given_negative: Probability = 0.0
    test_prevalence: Probability | None = None
    test_spurious: Probability = 0.5
    abnormality_mean: float = 2.0
    spurious_mean: float = -10.0
    noise_sd: Annotated[float, Gt(0.0)] = 1.0
    overlap: Literal["avoid", "independent"] = "avoid"
    n_train: Annotated[int, Ge(2), Le(1_000_000)] = 150
    n_val: Annotated[int, Ge(2), Le(1_000_000)] = 150
    n_test: Annotated[int, Ge(2), Le(1_000_000)] = 1000
    seed: Seed = 0

    VERSION: ClassVar[int] = 1
    """Raised when the same options give other pixels; part of the dataset's digest."""
    DTYPE: ClassVar[str] = "float32"
    """Of its images."""


@problems.register(GaussianSquares)
def _(options: GaussianSquares) -> list[str]:
    messages = []
    side, abnormal = options.image_size, options.abnormality_size
    spurious = options.spurious_size
    for name, size in (("abnormality_size", abnormal), ("spurious_size", spurious)):
        if size > side:
            messages.append(f"{name} {size} is larger than the image; expected at most {side}")
    # the worst place of the abnormality is the centre: the block must fit beside it there
    widest = (side - abnormal + 1) // 2
    if not messages and options.overlap == "avoid" and spurious > widest:
        messages.append(
            f"spurious_size {spurious} does not always fit beside an abnormality of {abnormal} in "
            f"an image of {side}; expected at most {widest}, or overlap: independent"
        )
    if options.shape == "ring" and 2 * options.ring_width >= abnormal:
        messages.append(
            f"ring_width {options.ring_width} leaves no hole in an abnormality of {abnormal}; "
            f"expected less than {abnormal / 2:g}, or shape: disc"
        )
    return messages


GENERATORS: Mapping[str, type[Any]] = {"gaussian-squares": GaussianSquares}


@dataclass(frozen=True, kw_only=True)
class SiimAcrOptions:
    """How a SIIM-ACR release is read and down-sampled.

    Attributes:
        image_size: Side of the staged images in pixels; masks are max-pooled to it.
        tubes: Path of the chest-tube labels, where they lie outside the release's folder.
        rle: Path of the run-length encoded masks, likewise.
    """

    image_size: Annotated[int, Ge(8), Le(4096)] = 512
    tubes: str | None = None
    rle: str | None = None


@dataclass(frozen=True, kw_only=True)
class IsicOptions:
    """How ISIC 2018 task 1 is read and down-sampled.

    Attributes:
        image_size: Side of the staged images in pixels; masks are max-pooled to it.
        split: Which of the five trap splits of Bissoto et al. 2020.
        traps: Folder of their tables, where it is not the release's.
    """

    image_size: Annotated[int, Ge(8), Le(4096)] = 512
    split: Annotated[int, Ge(1), Le(5)] = 1
    traps: str | None = None


READERS: Mapping[str, type[Any]] = {"isic": IsicOptions, "siim-acr": SiimAcrOptions}


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


@dataclass(frozen=True, kw_only=True)
class Train:
    """The training loop's options, shared by all methods.

    Attributes:
        epochs: Passes over the annotated images.
        batch_size: Images per step; the last, smaller batch is kept.
        optimizer: `adam`, `adamw` or `sgd`.
        learning_rate: Constant over training.
        weight_decay: As torch applies it for the optimizer.
        momentum: For `sgd`.
        augment: `none`, `flip`, or `paper` (the augmentations of Saab et al. 2022's code).
        normalise: `unit` maps integer images to (x / max - 0.5) / 0.25; `imagenet` uses the
            ImageNet channel mean and standard deviation; float images are taken as they are.
        precision: Arithmetic of the forward pass; explicit, since it changes numbers.
        channels_last: Channels beside each other in memory: faster convolutions, other last bits.
        fused: The optimizer's step in one kernel: faster, other last bits.
        compile: Compile the model by `torch.compile`; needs a C++ compiler where it trains.
        accumulate: Batches whose gradients are averaged into one optimizer step.
        deterministic: Let torch use deterministic kernels only.
        evaluate_every: Epochs between evaluations; the last epoch is always evaluated.
        keep: Rule for the kept checkpoint; `auto` is `best val.auroc` for labels and
            `best val.dice` for everything segmented.
    """

    epochs: Annotated[int, Ge(1), Le(100_000)] = 100
    batch_size: Annotated[int, Ge(1), Le(65_536)] = 16
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: Annotated[float, Gt(0.0), Le(100.0)] = 5e-4
    weight_decay: Annotated[float, Ge(0.0), Le(100.0)] = 0.0
    momentum: Annotated[float, Ge(0.0), Lt(1.0)] = 0.9
    augment: Literal["none", "flip", "paper"] = "none"
    normalise: Literal["unit", "imagenet"] = "unit"
    precision: Literal["float32", "bfloat16"] = "float32"
    channels_last: bool = False
    fused: bool = False
    compile: bool = False
    accumulate: Annotated[int, Ge(1), Le(65_536)] = 1
    deterministic: bool = True
    evaluate_every: Annotated[int, Ge(1), Le(100_000)] = 1
    keep: str = "auto"


@dataclass(frozen=True, kw_only=True)
class Unlabelled:
    """The rest of the training split is not annotated; semi-supervised methods use its images."""


@dataclass(frozen=True, kw_only=True)
class WeakLabels:
    """The rest of the training split has image labels, for one more term of a segmenter's loss.

    A negative image is one whose mask is empty. Of a positive image the most abnormal pixels, by
    the model itself, are to be abnormal (multiple-instance learning).

    Attributes:
        weight: Weight of the term.
        fraction: Share of a positive image's pixels that are to be abnormal.
    """

    weight: Annotated[float, Ge(0.0), Le(1000.0)] = 1.0
    fraction: Annotated[float, Gt(0.0), Le(1.0)] = 0.02


RESTS: Mapping[str, type[Any]] = {"unlabelled": Unlabelled, "label": WeakLabels}


@dataclass(frozen=True, kw_only=True)
class Prices:
    """Version 1 of the price table: clicks per annotated image (Saab et al. 2022, section 4.1).

    Attributes:
        wage_per_hour: Dollars per annotator hour.
        seconds_per_click: Seconds per click.
        label: Clicks per image for a binary label, negative images too.
        box: Clicks per abnormality for a box, the label included.
        mask: Clicks per abnormality for a mask, the label included.
        r: Clicks per abnormality for a dilated mask of r >= 2; r = 1 costs a label.
        spurious_label: Clicks per image and spurious attribute.
    """

    wage_per_hour: Annotated[float, Ge(0.0)] = 100.0
    seconds_per_click: Annotated[float, Ge(0.0)] = 1.0
    label: Annotated[float, Ge(0.0)] = 1.0
    box: Annotated[float, Ge(0.0)] = 2.0
    mask: Annotated[float, Ge(0.0)] = 45.0
    r: Annotated[float, Ge(0.0)] = 2.0
    spurious_label: Annotated[float, Ge(0.0)] = 1.0

    VERSION: ClassVar[int] = 1


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """Everything that decides a trial's numbers, besides the dataset: fully resolved.

    `model_name` is a classifier where the specificity is `label`, a segmenter otherwise. `rest` is
    None where the rest of the training split carries no labels. `negatives` is `background` where
    the specificity is `label`, which draws nothing.
    """

    specificity: Specificity
    budget: Budget
    method_name: str
    method: Any
    model_name: str
    model: Any
    readout: Aggregation | None
    train: Train
    seed: Seed
    rest: WeakLabels | None = None
    negatives: Negatives = "background"
    science_version: int = field(default=SCIENCE_VERSION)
