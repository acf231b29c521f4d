"""What options of methods share: what a method takes, what it needs, and a model to begin with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le

from spurious.config.fields import SupervisionKind
from spurious.config.models import Shown
from spurious.config.options import Budget, Train, WeakLabels

EVERY: tuple[SupervisionKind, ...] = ("label", "box", "mask", "r")
SEGMENTED: tuple[SupervisionKind, ...] = ("box", "mask", "r")

LabelledSplit = Literal["train", "val"]
"""The split whose images a method needs spurious labels of."""

GroupDraw = Literal["groups", "natural"]
FirstKeep = Literal["best val.auroc", "best val.loss", "last"]

Epochs = Annotated[int, Ge(1), Le(100_000)]
Rate = Annotated[float, Gt(0.0), Le(100.0)]
Share = Annotated[float, Gt(0.0), Le(1.0)]


@dataclass(frozen=True, kw_only=True)
class Method:
    """What every method's options say of it.

    Attributes:
        takes: Supervision it can train on.
        spurious_labels: The split whose images it needs spurious labels of, which are priced.
        oracle: Whether it is given the groups of the training images, which others guess.
        trains_on_validation: Whether it fits parameters on the validation images, too: their
            annotation is then training annotation, and priced as such.
        trains_by_keep: Whether training goes on from what the trial's rule `keep` chose, so that
            what the rule reads is paid for, whichever epoch is reported.
        takes_lesions: Whether it trains with a class of pixels for negative images, too.
        steers: Whether its model is a classifier of image labels, whatever is drawn: regions then
            tell it where to look, instead of being what a segmenter is taught.
        two_classes: Why its classifier tells two classes of images apart and no more, as the end of
            a sentence; empty where it takes any number. Segmenters do not ask.
        passes: What an image of its epochs costs, in forward and backward passes of ERM on the same
            model; for estimates of time alone.
    """

    takes: ClassVar[tuple[SupervisionKind, ...]] = ("label",)
    oracle: ClassVar[bool] = False
    trains_on_validation: ClassVar[bool] = False
    trains_by_keep: ClassVar[bool] = False
    takes_lesions: ClassVar[bool] = True
    steers: ClassVar[bool] = False
    two_classes: ClassVar[str] = ""
    passes: ClassVar[float] = 1.0

    @property
    def reads(self) -> tuple[Shown, ...]:
        """What it reads of the model beside logits and features."""
        return ()

    def segments(self, kind: SupervisionKind) -> bool:
        """Return whether it trains a segmenter, which has pixel targets, a read-out and a Dice."""
        return kind != "label" and not self.steers

    @property
    def spurious_labels(self) -> LabelledSplit | None:
        """The split whose images it needs spurious labels of."""
        return None

    def first_training(self, train: Train) -> tuple[int, float]:
        """Return epochs of a model that it trains before, and what an image of them costs.

        For estimates of time, as `passes`.
        """
        return 0, 1.0

    def rest_read(self, rest: WeakLabels) -> WeakLabels | None:
        """Return what it reads of the rest's labels: with options that change nothing at their
        default, so that equal numbers have one id; None where it reads no label.
        """
        return rest

    def ranked(self, kind: SupervisionKind, positives: int) -> tuple[int, int]:
        """Count what somebody ranks: pairs of explanations, and those that are shown for it.

        Args:
            kind: The annotation.
            positives: Annotated positive images.
        """
        return 0, 0

    def choices(self, keep: str) -> Mapping[str, str]:
        """Return the rules that choose an epoch for it, by the option that names each.

        Args:
            keep: The trial's rule.
        """
        return {"train.keep": keep}

    def repeats_annotated(self, budget: Budget, train: Train) -> bool:
        """Return whether an epoch, of a first model or the last, may draw an annotated image twice.

        Only what a plan knows counts: what depends on the images or on a first model is taken to
        repeat.
        """
        return False

    def augments_rest(self, rest: WeakLabels | None, train: Train) -> bool:
        """Return whether it trains on augmented images of the rest."""
        return rest is not None and train.augment != "none"


@dataclass(frozen=True, kw_only=True)
class FirstModelOptions(Method):
    """Training options of the ERM model that a method begins with; None is as the trial's own.

    Methods whose first models are equal share one model (budget, seed and model being equal).

    Attributes:
        first_balance: `natural` trains on every image once an epoch, `classes` draws the smaller
            class as often as the larger one (Saab et al. 2022, appendix A.2).
        first_keep: The rule by which the method takes an epoch of that model.
    """

    first_balance: Literal["natural", "classes"] = "natural"
    first_keep: FirstKeep = "best val.auroc"
    first_epochs: Epochs | None = None
    first_optimizer: Literal["adam", "adamw", "sgd"] | None = None
    first_learning_rate: Rate | None = None
    first_weight_decay: Annotated[float, Ge(0.0), Le(100.0)] | None = None
    first_batch_size: Annotated[int, Ge(1), Le(65_536)] | None = None

    def first_training(self, train: Train) -> tuple[int, float]:
        """Return the first model's epochs, which are ERM's."""
        return self.first_epochs or train.epochs, 1.0

    def choices(self, keep: str) -> Mapping[str, str]:
        """Return the trial's rule, and the first model's."""
        return {"train.keep": keep, "first_keep": self.first_keep}

    def first_model_repeats(self, budget: Budget) -> bool:
        """Return whether an epoch of the first model may draw an image twice.

        Classes of equal size are drawn once each.
        """
        images = budget.images
        is_even = budget.balance == "equal" and images is not None and images % 2 == 0
        return self.first_balance == "classes" and not is_even

    def repeats_annotated(self, budget: Budget, train: Train) -> bool:
        """Return whether the first model's epochs do."""
        return self.first_model_repeats(budget)


@dataclass(frozen=True, kw_only=True)
class KnownGroups(Method):
    """Methods that are given the groups (label, spurious attribute) of their training images.

    Attributes:
        attribute: The attribute that makes the groups; None is all of them together.
    """

    attribute: str | None = None

    takes: ClassVar[tuple[SupervisionKind, ...]] = EVERY
    oracle: ClassVar[bool] = True

    @property
    def spurious_labels(self) -> LabelledSplit | None:
        """Those of the annotated training images."""
        return "train"


def unread(options: Method, chosen: str, readers: Mapping[str, tuple[str, ...]]) -> list[str]:
    """A problem for each option that is set although what `chosen` names does not read it."""
    value = getattr(options, chosen)
    return [
        f"{name} is not read by {chosen}: {value}; remove it, or use {' or '.join(allowed)}"
        for name, allowed in readers.items()
        if value not in allowed and getattr(options, name) != getattr(type(options), name)
    ]
