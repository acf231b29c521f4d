"""Why cells make no sense: masks that are not of the abnormality, and examples nobody can pick."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spurious.config.exemplars import Exbl
from spurious.config.options import Specificity
from spurious.data.mask_of import is_region
from sweeps.plan.cell import Cell
from sweeps.spec.model import MethodChoice

if TYPE_CHECKING:
    from sweeps.plan.plan import DatasetFacts


def exemplar_reason(specificity: Specificity, method: MethodChoice) -> str | None:
    """Return why examples of explanations and what is drawn do not go together; else None."""
    if not isinstance(method.options, Exbl) or specificity.kind == "label":
        return None
    if method.options.named is not None:
        return f"{method.name} with good and bad reads nothing that is drawn; use label"
    if specificity.r == 1:
        return f"{method.name} ranks explanations by regions, and r=1 is the whole image; use label"
    return None


def unpicked_reason(cell: Cell, facts: DatasetFacts) -> str | None:
    """Return why no rule can pick examples on a dataset; else None."""
    options, kind = cell.method.options, cell.specificity.kind
    if not isinstance(options, Exbl) or options.named is not None or facts.counts is None:
        return None
    if facts.count_carrying("train", "mask" if kind == "label" else kind)[0]:
        return None
    return (
        f"{cell.method.name} picks its examples by what is drawn on positive training images, and "
        "nothing is; name good and bad"
    )


def region_reason(cell: Cell, facts: DatasetFacts) -> str | None:
    """Return why a cell makes no sense where masks are not of the abnormality; else None."""
    if not is_region(facts.mask_of) or cell.specificity.kind == "label":
        return None
    if cell.segments:
        return (
            f"masks are of the {facts.mask_of}, not of the abnormality, which {cell.method.name} "
            "would learn to segment; use a method that steers a classifier"
        )
    own_boxes = 0 if facts.counts is None else facts.counts["train"].get("own_boxes", 0)
    if cell.specificity.kind == "box" and own_boxes:
        return (
            f"boxes are of the abnormality on {own_boxes} training images and of the "
            f"{facts.mask_of} on the others; stage the dataset without boxes, or use mask"
        )
    return None


def implies_lesion(specificity: Specificity, facts: DatasetFacts | None) -> bool:
    """Return whether masks of negative images count whatever the spec says: they are of a region.

    A region that is not the abnormality is drawn on images of either label, and steers on both.
    """
    if facts is None or facts.counts is None or not is_region(facts.mask_of):
        return False
    on_negatives = facts.counts["train"].get("negative_abnormalities", 0)
    return specificity.kind != "label" and on_negatives > 0
