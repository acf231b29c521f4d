"""What a plan and a report say of a sweep's axes and prices, before anybody compares its cells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from spurious.config.options import Specificity
from sweeps.plan.plan import DatasetFacts, Plan

_SPLITS = {"train": "training", "val": "validation"}


def plan_notes(plan: Plan) -> list[str]:
    """Return sentences on axes that change two things at once, and images that cost nothing."""
    return [*_prevalence(plan), *_drawn_in_part(plan), *_without_region(plan)]


def _prevalence(plan: Plan) -> Iterator[str]:
    """Yield that `all` has another share of abnormal images than budgets drawn half and half."""
    budgets = {cell.budget for cell in plan.cells}
    drawn = {budget.images for budget in budgets if budget.images and budget.balance == "equal"}
    if not drawn or all(budget.images is not None for budget in budgets):
        return
    share = "its own prevalence, unknown before it is staged"
    counts = None if plan.facts is None else plan.facts.counts
    if counts is not None:
        n, positives = counts["train"]["n"], counts["train"]["positives"]
        if 2 * positives == n:
            return
        share = f"{positives:,} of {n:,} images abnormal"
    sizes = ", ".join(f"{images:,}" for images in sorted(drawn))
    yield (
        f"budget: half of the images are abnormal at {sizes} (balance: equal), and all has "
        f"{share}: prevalence changes along the axis, too; use balance: natural to hold it"
    )


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
