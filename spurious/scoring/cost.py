"""Annotation cost: counts x clicks x seconds per click x wage (Saab et al. 2022, section 4.1).

A trial stores counts only, so a new price needs no new trial.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from spurious.config.method import Method
from spurious.config.options import Prices, Specificity
from spurious.data.mask_of import OUTLINES, MaskOf, is_region
from spurious.scoring.selection import SelectionRule, charged_rules


@dataclass(frozen=True)
class AnnotationCounts:
    """What was annotated for one trial; all numbers of images unless said otherwise.

    Attributes:
        train_images: Training images with the trial's annotation.
        train_abnormalities: Abnormalities on those images.
        train_negatives: Those images with nothing to draw: negative ones, unless their masks count
            (`negatives: lesion`), whose regions then are abnormalities that cost as much.
        spurious_labels: Spurious labels the method trains with, images times attributes.
        val_images: Validation images annotated at the same specificity.
        val_abnormalities: Abnormalities on them.
        val_negatives: Validation images with nothing to draw.
        val_spurious_labels: Those on validation that the method or the selection rule reads.
        rest_labels: Image labels of the rest of the training split.
        attributes: Number of the dataset's spurious attributes.
        trains_on_validation: Whether the method fits parameters on the validation images, whose
            annotation then is training annotation.
        validates_by_labels: Whether validation images need their labels alone, whatever is drawn.
        ranked_pairs: Pairs of a good and a bad explanation that were named.
        explanations: Explanations that were shown for that.
        mask_of: What the dataset's masks are of. Of a region that is not the abnormality counts say
            nothing of outlines: each image that it is drawn on has as many.
    """

    train_images: int
    train_abnormalities: int
    train_negatives: int
    spurious_labels: int
    val_images: int
    val_abnormalities: int
    val_negatives: int
    val_spurious_labels: int = 0
    rest_labels: int = 0
    attributes: int = 0
    trains_on_validation: bool = False
    validates_by_labels: bool = False
    ranked_pairs: int = 0
    explanations: int = 0
    mask_of: MaskOf = "abnormality"


PARTS = ("training", "spurious_labels", "validation")
"""Parts of a purchase of annotation; a report's axis may count each or not."""

Items = Mapping[str, float]
"""How many of what is priced, by the names of `Prices`."""


@dataclass(frozen=True)
class Cost:
    """Dollars, itemised by `PARTS`."""

    training: float
    spurious_labels: float
    validation: float

    def on(self, axis: Collection[str]) -> float:
        """Return the sum of the parts that an axis counts, dollars; it may count others, too."""
        return sum(getattr(self, part) for part in PARTS if part in axis)

    @property
    def total(self) -> float:
        """All of it, dollars."""
        return self.on(PARTS)


def dollars_per_click(prices: Prices) -> float:
    """Return the dollars of a click."""
    return prices.seconds_per_click * prices.wage_per_hour / 3600.0


def price(items: Items, prices: Prices) -> float:
    """Return the dollars of items; linear in each price, the wage and the seconds of a click."""
    clicks = sum(getattr(prices, name) * number for name, number in items.items())
    return clicks * dollars_per_click(prices)


def drawn_items(
    specificity: Specificity, images: int, abnormalities: int, negatives: int
) -> dict[str, float]:
    """Return what annotating images at a specificity takes.

    A label costs one click an image. Boxes, masks and dilated masks are charged per abnormality,
    the label included; images without an abnormality cost a label. r = 1 is a label in effect.
    """
    if specificity.kind == "label" or specificity.r == 1:
        return {"label": images}
    if specificity.kind == "box" and specificity.box_per == "image":
        return {"box": images - negatives, "label": negatives}
    return {specificity.kind: abnormalities, "label": negatives}


def region_items(specificity: Specificity, images: int, mask_of: MaskOf) -> dict[str, float]:
    """Return what annotating images with a region that is not the abnormality takes.

    Every image costs its label, which an outline of an organ does not say, and one mask, box or
    dilated mask for each outline; a box of the whole image costs one. What nobody draws is free.
    """
    outlines = OUTLINES[mask_of]
    if specificity.kind == "box" and specificity.box_per == "image":
        outlines = min(outlines, 1)
    items: dict[str, float] = {"label": images}
    if specificity.kind != "label" and specificity.r != 1:
        items["region" if specificity.kind == "mask" else specificity.kind] = images * outlines
    return items


def trial_items(specificity: Specificity, counts: AnnotationCounts) -> dict[str, Items]:
    """Return what a trial's annotations take, by the names of `PARTS`."""
    if is_region(counts.mask_of):
        drawn = region_items(specificity, counts.train_images, counts.mask_of)
    else:
        drawn = drawn_items(
            specificity, counts.train_images, counts.train_abnormalities, counts.train_negatives
        )
    training = _add(
        drawn,
        {"label": counts.rest_labels},
        {"ranked_pair": counts.ranked_pairs, "label": counts.explanations},
    )
    validation: Items = {"label": counts.val_images}
    if not counts.validates_by_labels:
        validation = drawn_items(
            specificity, counts.val_images, counts.val_abnormalities, counts.val_negatives
        )
    if counts.trains_on_validation:
        training, validation = _add(training, validation), {}
    spurious = {"spurious_label": counts.spurious_labels + counts.val_spurious_labels}
    return dict(zip(PARTS, (training, spurious, validation), strict=True))


def _add(*several: Items) -> dict[str, float]:
    """Return all items together; nothing is listed that there is none of."""
    names = dict.fromkeys(name for items in several for name in items)
    sums = {name: sum(items.get(name, 0) for items in several) for name in names}
    return {name: number for name, number in sums.items() if number}


def cost(specificity: Specificity, counts: AnnotationCounts, prices: Prices) -> Cost:
    """Return the dollars for one trial's annotations under a price table."""
    items = trial_items(specificity, counts)
    return Cost(**{part: price(items[part], prices) for part in PARTS})


def charged_counts(
    method: Method,
    keep: SelectionRule,
    counts: AnnotationCounts,
    rule: SelectionRule | None = None,
    search: SelectionRule | None = None,
) -> AnnotationCounts:
    """Return a trial's counts with what is read to select its epoch.

    A rule that reads robust AUROC on validation needs every validation image's
    spurious attributes, so it is charged that many spurious labels, once. Where training went on
    from what the trial's own rule chose, that rule is charged beside `rule`. An oracle rule reads
    the test split, which nobody could buy, and is charged nothing.

    Args:
        method: The method's options.
        keep: The trial's own rule.
        counts: What was annotated.
        rule: The rule that selects the reported epoch; None is the trial's own.
        search: Of the metric that its options were searched by; None where they were not. It is
            charged as a rule is.
    """
    is_searched = search is not None and search.needs_spurious_labels and not search.oracle
    if is_searched or charged_rules(rule, keep, method.trains_by_keep):
        every = counts.val_images * counts.attributes
        # the same labels, where the method needed them already
        counts = replace(counts, val_spurious_labels=max(counts.val_spurious_labels, every))
    return counts
