"""What a dataset cannot carry of a spec: cells that would fail, and specs that are refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from spurious.config.methods import Ssl
from spurious.config.models import sides_of
from spurious.data.budget import find_excess
from sweeps.errors import PlanError
from sweeps.plan.cell import Cell
from sweeps.plan.steering import region_reason, unpicked_reason
from sweeps.spec.model import Spec

if TYPE_CHECKING:
    from sweeps.plan.plan import DatasetFacts


def unfit_reason(cell: Cell, facts: DatasetFacts) -> str | None:
    """Return why every trial of a cell would fail on this dataset; None where nothing says so."""
    options, name = cell.method.options, cell.method.name
    split = options.spurious_labels
    attribute_used = getattr(options, "attribute", None)
    missing = {} if split is None else facts.unlabelled.get(split, {})
    for attribute, unknown in missing.items():
        if unknown and attribute_used in (None, attribute):
            return (
                f"{name} needs spurious labels of all {split} images, and {unknown} have none of "
                f"{attribute}; annotate them, or use a method that does without"
            )
    if facts.classes and options.two_classes and not options.segments(cell.specificity.kind):
        return (
            f"{name} {options.two_classes}, and the dataset has "
            f"{len(facts.classes['train'])} classes; stage it without --set classes=all, or use "
            "another method"
        )
    if isinstance(options, Ssl) and options.views == "paper" and _is_float(facts):
        return (
            f"{name} with views: paper changes gamma and brightness, which needs integer images, "
            f"and these are {facts.dtype}; use views: flip"
        )
    return unpicked_reason(cell, facts) or region_reason(cell, facts)


def _is_float(facts: DatasetFacts) -> bool:
    return facts.dtype is not None and facts.dtype.startswith("float")


def refuse_unfit(spec: Spec, cells: Sequence[Cell], facts: DatasetFacts) -> None:
    """Refuse, all at once, what this dataset cannot carry.

    Raises:
        PlanError: there is something.
    """
    problems: dict[str, None] = {}  # ordered, without repeats
    lesions = spec.negatives == "lesion" and facts.counts is not None
    if lesions and not _on_negatives(facts, "train"):
        problems[
            "negatives: lesion needs masks of negative images, and the training split has none; "
            "use background"
        ] = None
    for cell in cells:
        if facts.counts is not None and (excess := _find_excess(cell, facts)):
            problems[f"axes.budget: {excess}"] = None
        if facts.counts is not None and (reason := _attribute_problem(cell, facts)):
            problems[reason] = None
        if facts.image_shape is not None:
            problems |= dict.fromkeys(_shape_problems(spec, cell, facts.image_shape))
        train = spec.train_for(cell.specificity, cell.method)
        if train.augment == "paper" and _is_float(facts):
            problems[
                f"train.augment: 'paper' changes gamma and brightness, which needs integer images, "
                f"and these are {facts.dtype}; use 'flip' or 'none'"
            ] = None
    if problems:
        raise PlanError(
            f"sweep '{spec.name}' does not fit dataset '{facts.name}':\n  " + "\n  ".join(problems)
        )


def _find_excess(cell: Cell, facts: DatasetFacts) -> str | None:
    """Return why a cell's budget is more than the training split carries of its annotation."""
    kind = cell.specificity.kind
    positives, negatives = facts.count_carrying("train", kind)
    return find_excess(positives, negatives, cell.budget, kind, partial=facts.is_partial)


def _on_negatives(facts: DatasetFacts, split: str) -> int:
    """Abnormalities drawn on a split's negative images; needs counts."""
    return 0 if facts.counts is None else facts.counts[split].get("negative_abnormalities", 0)


def _attribute_problem(cell: Cell, facts: DatasetFacts) -> str | None:
    attribute_used = getattr(cell.method.options, "attribute", None)
    if cell.method.options.spurious_labels is None:
        return None
    if facts.attributes and (attribute_used is None or attribute_used in facts.attributes):
        return None
    has = f"it has {', '.join(facts.attributes)}" if facts.attributes else "it has none"
    return (
        f"axes.method: {cell.method.name} needs spurious labels"
        f"{f' of {attribute_used}' if attribute_used else ''}, and the dataset lacks them ({has}); "
        "use a method that does without"
    )


def _shape_problems(spec: Spec, cell: Cell, shape: tuple[int, int, int]) -> list[str]:
    height, width, _ = shape
    problems = []
    if cell.specificity.r is not None and cell.specificity.r > min(height, width):
        problems.append(
            f"axes.specificity: r={cell.specificity.r} is larger than the image side "
            f"{min(height, width)}; expected 1 to {min(height, width)}"
        )
    name, options = spec.model_for(cell.specificity, cell.method)
    sides = sides_of(options)
    if not sides.take(height, width):
        problems.append(
            f"model: '{name}' needs image sides {sides}, these are "
            f"{height} x {width}; stage the dataset at another size or choose another model"
        )
    return problems
