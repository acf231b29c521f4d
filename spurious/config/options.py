"""What decides a trial, with every default and range, importable without torch.

Options of methods, models and datasets are in modules of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt

from spurious.config.fields import Balance, Images, Negatives, Resolution, Seed, SupervisionKind
from spurious.config.models import Aggregation

SCIENCE_VERSION = 1
"""Part of every trial's identity; raised by hand when the same options give other numbers."""


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
        score_test: `every` scores test images at every evaluation; `candidates` at those alone that
            a rule of validation could choose: best so far by some metric of validation, and the
            last. What is kept and reported by such rules is the same.
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
    score_test: Literal["every", "candidates"] = "every"
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


Clicks = Annotated[float, Ge(0.0), Le(10_000.0)]


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
        region: Clicks per outline of an organ or other region that is not the abnormality, beside
            the image's label: lungs are two outlines, a heart is one, a circle none. The default
            is an assumption: an outline costs what a mask does.
        ranked_pair: Clicks for naming a good and a bad one among a model's explanations that are
            shown; each that is shown costs a label. The default is an assumption: one click each.
    """

    wage_per_hour: Annotated[float, Ge(0.0), Le(10_000.0)] = 100.0
    seconds_per_click: Annotated[float, Ge(0.0), Le(3600.0)] = 1.0
    label: Clicks = 1.0
    box: Clicks = 2.0
    mask: Clicks = 45.0
    r: Clicks = 2.0
    spurious_label: Clicks = 1.0
    region: Clicks = 45.0
    ranked_pair: Clicks = 2.0

    VERSION: ClassVar[int] = 1


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """Everything that decides a trial's numbers, besides the dataset: fully resolved.

    `model_name` is a segmenter where a method learns pixels, see `Method.segments`, and a
    classifier otherwise. `rest` is None where the rest of the training split carries no labels.
    `negatives` is `background` where the specificity is `label`, which draws nothing.
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

    @property
    def segments(self) -> bool:
        """Whether the model is a segmenter."""
        segments: bool = self.method.segments(self.specificity.kind)
        return segments

    def augments_copies(self, training_images: int | None) -> bool:
        """Return whether an epoch may hold augmented copies of one image.

        Args:
            training_images: Of the dataset's training split: each annotated image comes with one
                of the rest, which begins again where it is smaller. None where unknown.
        """
        budget, train = self.budget, self.train
        if train.augment != "none" and self.method.repeats_annotated(budget, train):
            return True
        if training_images is None or budget.images is None:
            return False
        rest = training_images - budget.images
        return 0 < rest < budget.images and self.method.augments_rest(self.rest, train)
