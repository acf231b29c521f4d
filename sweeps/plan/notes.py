"""What a plan and a report say of a sweep's axes and prices, before anybody compares its cells."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import numpy as np

from spurious.config.fields import SupervisionKind
from spurious.config.options import Specificity
from spurious.data.mask_of import OUTLINES, is_region
from sweeps.plan.plan import DatasetFacts, Plan

_ALIKE = 0.01
"""Shares of abnormal images that do not differ for a reader."""
_SPLITS = {"train": "training", "val": "validation"}


def plan_notes(plan: Plan) -> list[str]:
    """Return sentences on axes that change two things, images that cost nothing, and classes."""
    drawn = [*_prevalence(plan), *_drawn_in_part(plan), *_without_region(plan)]
    return [*drawn, *_of_region(plan), *_classes(plan)]


def _classes(plan: Plan) -> Iterator[str]:
    """Yield what metrics are of where a dataset tells more than two classes apart."""
    if plan.facts is None or not plan.facts.classes:
        return
    positive = " or ".join(plan.facts.positive_classes)
    text = (
        f"classes: classifiers tell {', '.join(plan.facts.classes['train'])} apart. Abnormal is "
        f"{positive} alone: scores, AUROC and robust AUROC are of it against all others, and "
        "budgets count it so; accuracy and macro AUROC are over classes"
    )
    if any(cell.segments for cell in plan.cells):
        text += "; segmenters know abnormal pixels and others, and no classes"
    yield text


def _prevalence(plan: Plan) -> Iterator[str]:
    """Yield that `all` has another share of abnormal images than the budgets that are drawn."""
    budgets = {cell.budget for cell in plan.cells}
    halved = {budget.images for budget in budgets if budget.images and budget.balance == "equal"}
    natural = {budget.images for budget in budgets if budget.images and budget.balance != "equal"}
    if not (halved or natural) or all(budget.images is not None for budget in budgets):
        return
    if plan.facts is None or plan.facts.counts is None:
        if halved:
            yield _compare_shares(halved, "its own prevalence, unknown before it is staged", None)
        return
    of_all = _count_all(plan, plan.facts)
    first, what = _count_drawn_first(plan.facts)
    alike = all(abs(_share(counts) - _share(first)) <= _ALIKE for counts in of_all.values())
    drawn_from = f"images with {what} first, {first[0]:,} of {sum(first):,} abnormal"
    if halved and any(positives != negatives for positives, negatives in of_all.values()):
        yield _compare_shares(halved, _describe_all(of_all), None if alike else drawn_from)
    elif natural and not alike:
        yield (
            f"budget: balance: natural draws from {drawn_from}, and all has "
            f"{_describe_all(of_all)}: prevalence changes along the axis, too; leave all out of it "
            "to hold it"
        )


def _compare_shares(halved: Collection[int | None], of_all: str, first: str | None) -> str:
    """Return the note on budgets that are half abnormal, with what holds prevalence."""
    sizes = ", ".join(f"{images:,}" for images in sorted(filter(None, halved)))
    remedy = "use balance: natural to hold it"
    if first is not None:
        remedy = (
            f"balance: natural draws from {first}, and does not hold it; leave all out of the axis "
            "to hold it"
        )
    return (
        f"budget: half of the images are abnormal at {sizes} (balance: equal), and all has "
        f"{of_all}: prevalence changes along the axis, too; {remedy}"
    )


def _count_all(plan: Plan, facts: DatasetFacts) -> Mapping[str, tuple[int, int]]:
    """Count the positive and negative images of `all`, by the specificities that have it."""
    kinds = dict.fromkeys(
        cell.specificity.kind for cell in plan.cells if cell.budget.images is None
    )
    return {kind: facts.count_carrying("train", kind) for kind in kinds}


def _count_drawn_first(facts: DatasetFacts) -> tuple[tuple[int, int], str]:
    """Count the images that budgets are drawn from first (`rank_by_detail`), and say which."""
    if facts.is_partial:
        kinds: tuple[SupervisionKind, ...] = ("mask", "box")
        for kind, what in zip(kinds, ("masks", "boxes"), strict=True):
            if all(counts := facts.count_carrying("train", kind)):
                return counts, what
    return facts.count_carrying("train", "label"), "labels"


def _share(counts: tuple[int, int]) -> float:
    return counts[0] / max(1, sum(counts))


def _describe_all(of_all: Mapping[str, tuple[int, int]]) -> str:
    shown = {kind: f"{counts[0]:,} of {sum(counts):,}" for kind, counts in of_all.items()}
    if len(set(shown.values())) == 1:
        return f"{next(iter(shown.values()))} images abnormal"
    return ", ".join(f"{text} ({kind})" for kind, text in shown.items()) + " images abnormal"


def _drawn_in_part(plan: Plan) -> Iterator[str]:
    """Yield how many images have masks or boxes where not all do, and what follows from it."""
    facts = plan.facts
    if facts is None or facts.counts is None or not facts.is_partial:
        return
    kinds = dict.fromkeys(cell.specificity.kind for cell in plan.cells)
    for what, of_kind in (("masks", ("mask", "r")), ("boxes", ("box",))):
        if not (used := [kind for kind in kinds if kind in of_kind]):
            continue
        if what == "boxes" and kinds.keys() & {"mask", "r"} and not _has_own_boxes(facts.counts):
            continue  # boxes follow from the masks, of which it is said already
        positives, negatives = facts.count_carrying("train", used[0])
        val_positives, _ = facts.count_carrying("val", used[0])
        n, all_val = facts.counts["train"]["n"], facts.counts["val"]["positives"]
        used_for = (
            f"and validation loss and Dice use {what} that are drawn alone: {val_positives:,} of "
            f"{all_val:,} positive validation images have them"
        )
        if not val_positives:
            used_for = (
                f"and none of {all_val:,} positive validation images has any, so that keep: auto "
                "chooses epochs by AUROC there instead of Dice"
            )
        yield (
            f"{what}: drawn on {positives + negatives:,} of {n:,} training images ({positives:,} "
            f"positive, {negatives:,} negative). Budgets are drawn from these first, at every "
            f"specificity alike, {used_for}"
        )


def _has_own_boxes(counts: Mapping[str, Mapping[str, int]]) -> bool:
    return any(of["own_boxes"] for of in counts.values())


def _without_region(plan: Plan) -> Iterator[str]:
    """Yield that abnormal images without a region cost nothing where regions are priced."""
    facts = plan.facts
    if facts is None or not any(_prices_regions(cell.specificity) for cell in plan.cells):
        return
    if is_region(facts.mask_of):
        return
    for split, name in _SPLITS.items():
        bare, positives, at_least = _count_bare(facts, split)
        if bare:
            yield (
                f"prices: {at_least}{bare:,} of {positives:,} abnormal {name} images have no "
                "region drawn, so their boxes and masks cost 0 clicks; complete the masks, or take "
                "the dollars for too low"
            )


def _prices_regions(specificity: Specificity) -> bool:
    """Return whether an annotation is charged per abnormality."""
    per_image = specificity.kind == "box" and specificity.box_per == "image"
    return specificity.kind != "label" and specificity.r != 1 and not per_image


def _count_bare(facts: DatasetFacts, split: str) -> tuple[int, int, str]:
    """Return abnormal images without a region, all abnormal ones, and `at least ` if inexact."""
    if facts.images is not None:
        positive = facts.images.labels[split] == 1
        bare = positive & (facts.images.abnormalities[split] == 0)
        bare &= facts.images.carry(split, "box")  # what nobody drew is not bought
        return int(np.count_nonzero(bare)), int(np.count_nonzero(positive)), ""
    if facts.counts is None:
        return 0, 0, ""
    counts = facts.counts[split]
    drawn = counts["abnormalities"] - counts.get("negative_abnormalities", 0)
    looked_at, positives = counts.get("boxes_y1", counts["positives"]), counts["positives"]
    return max(0, looked_at - drawn), positives, "at least "


def _of_region(plan: Plan) -> Iterator[str]:
    """Yield what masks are of where that is not the abnormality, and how they are priced."""
    facts = plan.facts
    drawn = any(cell.specificity.kind != "label" for cell in plan.cells)
    if facts is None or not is_region(facts.mask_of) or not drawn:
        return
    outlines = OUTLINES[facts.mask_of]
    price = (
        f"priced by outline (cost.clicks.region), {outlines} an image beside its label"
        if outlines
        else "which nobody draws, so that an image costs its label alone"
    )
    yield (
        f"masks: of the {facts.mask_of}, not of the abnormality, on images of either label, "
        f"{price}; methods that steer use them on both"
    )
