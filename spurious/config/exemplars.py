"""Options of eXBL, which steers a classifier by two of its own explanations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le

from spurious.config.fields import SupervisionKind, problems
from spurious.config.method import EVERY, FirstKeep, FirstModelOptions
from spurious.config.models import Shown
from spurious.config.options import Train, WeakLabels
from spurious.config.steering import Weight


@dataclass(frozen=True, kw_only=True)
class Exbl(FirstModelOptions):
    """Explanations shall be nearer to a good example than to a bad one (Hagos et al. 2023).

    A first ERM model is trained on; both examples are explanations by it. With `good` and `bad`
    somebody has named them, and the annotation is labels. Without them a rule picks them. On labels
    it stands for an annotator who is shown `candidates` explanations of positive images, and whose
    eye is replaced by the masks: the ranking is paid, the masks are not. On masks, boxes and
    dilated masks it picks among all images with a region, and the regions are paid.

    Attributes:
        weight: lambda of the triplet loss.
        margin: By how much nearer.
        good: Id of the training image whose explanation is the good one.
        bad: Id of that whose explanation is the bad one.
        rule: `activation_precision` takes the explanations with the highest and the lowest share of
            their strongest 5 % inside the region; of equal ones the share of all of it decides,
            then the smaller id.
        candidates: Explanations that the annotator is shown, on labels: of that many positive
            images, of all where there are fewer.
        hinge: `formula` is max(d_good - d_bad + margin, 0) (equation 8); `text` has minus margin,
            which is 0 unless an explanation is nearer to the bad one by more than the margin.
        distance: `euclidean` of all pixels (the paper), or their mean square (`mse`, the code).
        average: Over a batch: the `sum` over images (equation 8), their `mean`, or the mean over
            `active` ones, whose loss is not 0 (the code).
        grid: Products of image and map are compared at the `image`'s size, to which maps are
            enlarged (equation 4), or on the `map`'s grid, to which images are shrunk (the code).
    """

    weight: Weight = 1.0
    margin: Annotated[float, Ge(0.0), Le(1_000_000.0)] = 1.0
    good: str | None = None
    bad: str | None = None
    rule: Literal["activation_precision"] = "activation_precision"
    candidates: Annotated[int, Ge(2), Le(100_000)] = 20
    hinge: Literal["formula", "text"] = "formula"
    distance: Literal["euclidean", "mse"] = "euclidean"
    average: Literal["sum", "mean", "active"] = "sum"
    grid: Literal["image", "map"] = "image"
    first_keep: FirstKeep = "best val.loss"

    takes: ClassVar[tuple[SupervisionKind, ...]] = EVERY
    steers: ClassVar[bool] = True

    @property
    def named(self) -> tuple[str, str] | None:
        """Ids of the good and the bad one; None where the rule picks them."""
        return None if self.good is None or self.bad is None else (self.good, self.bad)

    @property
    def reads(self) -> tuple[Shown, ...]:
        """The last feature maps."""
        return ("maps",)

    def ranked(self, kind: SupervisionKind, positives: int) -> tuple[int, int]:
        """One pair on labels; how many somebody was shown before naming two is not known."""
        if kind != "label":
            return 0, 0
        return 1, 0 if self.named else min(self.candidates, positives)

    def rest_read(self, rest: WeakLabels) -> WeakLabels | None:
        """Labels alone: they join its own loss."""
        return WeakLabels()

    def augments_rest(self, rest: WeakLabels | None, train: Train) -> bool:
        """Never: the rest is part of its training images."""
        return False


@problems.register(Exbl)
def _(options: Exbl) -> list[str]:
    named = {"good": options.good, "bad": options.bad}
    missing = [name for name, value in named.items() if value is None]
    if len(missing) == 1:
        other = "good" if missing == ["bad"] else "bad"
        return [f"{other} needs {missing[0]}, too: give both ids, or neither, and the rule picks"]
    if not missing and options.good == options.bad:
        return [f"good and bad are both {options.good}; expected two images"]
    if options.named and options.candidates != Exbl.candidates:
        return ["candidates is not read where good and bad are named; remove it"]
    return []
