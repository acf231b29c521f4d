"""Annotation cost: counts x clicks x seconds per click x wage (Saab et al. 2022, section 4.1).

A trial stores counts only, so a new price needs no new trial.
"""

from __future__ import annotations

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


@dataclass(frozen=True)
class Cost:
    """Dollars, itemised; the frontier's axis is `axis`, validation joins it on request."""

    training: float
    spurious_labels: float
    validation: float

    @property
    def axis(self) -> float:
        """Training annotation plus spurious labels, dollars."""
        return self.training + self.spurious_labels

    @property
    def total(self) -> float:
        """All three items, dollars."""
        return self.axis + self.validation


def clicks(
    specificity: Specificity, images: int, abnormalities: int, negatives: int, prices: Prices
) -> float:
    """Clicks to annotate images at a specificity.

    A label costs one click an image. Boxes, masks and dilated masks are charged per abnormality,
    the label included; images without an abnormality cost a label. r = 1 is a label in effect.
    """
    per_abnormality = {"box": prices.box, "mask": prices.mask, "r": prices.r}
    if specificity.kind == "label" or specificity.r == 1:
        return prices.label * images
    if specificity.kind == "box" and specificity.box_per == "image":
        return prices.box * (images - negatives) + prices.label * negatives
    return per_abnormality[specificity.kind] * abnormalities + prices.label * negatives


def region_clicks(specificity: Specificity, images: int, mask_of: MaskOf, prices: Prices) -> float:
    """Clicks to annotate images with a region that is not the abnormality.

    Every image costs its label, which an outline of an organ does not say, and one mask, box or
    dilated mask for each outline; a box of the whole image costs one. What nobody draws is free.
    """
    outlines = OUTLINES[mask_of]
    if specificity.kind == "box" and specificity.box_per == "image":
        outlines = min(outlines, 1)
    if specificity.kind == "label" or specificity.r == 1:
        outlines = 0
    per_outline = {"mask": prices.region, "box": prices.box, "r": prices.r}
    return images * (prices.label + outlines * per_outline.get(specificity.kind, 0.0))


def _training_clicks(specificity: Specificity, counts: AnnotationCounts, prices: Prices) -> float:
    ranked = prices.ranked_pair * counts.ranked_pairs + prices.label * counts.explanations
    if is_region(counts.mask_of):
        drawn = region_clicks(specificity, counts.train_images, counts.mask_of, prices)
    else:
        drawn = clicks(
            specificity,
            counts.train_images,
            counts.train_abnormalities,
            counts.train_negatives,
            prices,
        )
    return drawn + prices.label * counts.rest_labels + ranked


def cost(specificity: Specificity, counts: AnnotationCounts, prices: Prices) -> Cost:
    """Return the dollars for one trial's annotations under a price table."""
    dollars_per_click = prices.seconds_per_click * prices.wage_per_hour / 3600.0
    training = _training_clicks(specificity, counts, prices)
    validation = prices.label * counts.val_images
    if not counts.validates_by_labels:
        validation = clicks(
            specificity, counts.val_images, counts.val_abnormalities, counts.val_negatives, prices
        )
    if counts.trains_on_validation:
        training, validation = training + validation, 0.0
    spurious = prices.spurious_label * (counts.spurious_labels + counts.val_spurious_labels)
    return Cost(
        training=training * dollars_per_click,
        spurious_labels=spurious * dollars_per_click,
        validation=validation * dollars_per_click,
    )


def trial_cost(
    specificity: Specificity,
    method: Method,
    keep: SelectionRule,
    counts: AnnotationCounts,
    prices: Prices,
    rule: SelectionRule | None = None,
    search: SelectionRule | None = None,
) -> Cost:
    """Return the dollars for one trial's annotations and for what is read to select its epoch.

    A rule that reads robust AUROC on validation needs every validation image's
    spurious attributes, so it is charged that many spurious labels, once. Where training went on
    from what the trial's own rule chose, that rule is charged beside `rule`. An oracle rule reads
    the test split, which nobody could buy, and is charged nothing.

    Args:
        specificity: What was annotated.
        method: The method's options.
        keep: The trial's own rule.
        counts: What was annotated.
        prices: Price table in force.
        rule: The rule that selects the reported epoch; None is the trial's own.
        search: Of the metric that its options were searched by; None where they were not. It is
            charged as a rule is.
    """
    is_searched = search is not None and search.needs_spurious_labels and not search.oracle
    if is_searched or charged_rules(rule, keep, method.trains_by_keep):
        every = counts.val_images * counts.attributes
        # the same labels, where the method needed them already
        counts = replace(counts, val_spurious_labels=max(counts.val_spurious_labels, every))
    return cost(specificity, counts, prices)
