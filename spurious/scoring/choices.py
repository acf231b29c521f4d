"""Whether a rule can choose an epoch at all: what a split must hold for its metric to say anything.

Planning asks this of a manifest's counts, a trial of its dataset.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from spurious.data.attributes import GroupCounts
from spurious.scoring.registry import METRICS
from spurious.scoring.selection import SelectionRule

_NAMES = {"val": "validation", "test": "test"}


@dataclass(frozen=True)
class SplitFacts:
    """What a split holds.

    Attributes:
        n: Images.
        positives: Those with the abnormality.
        drawn: Regions that masks mark.
        groups: Images per label and spurious attribute.
        directions: Per attribute +1 where it goes with the label in training, else -1.
        classes: Images by class; empty where there are only labels.
    """

    n: int
    positives: int
    drawn: int
    groups: Mapping[str, GroupCounts] = field(default_factory=dict)
    directions: Mapping[str, int] = field(default_factory=dict)
    classes: Mapping[str, int] = field(default_factory=dict)


def find_obstacle(rule: SelectionRule, facts: SplitFacts) -> str | None:
    """Return why a rule cannot choose an epoch by a split of these facts; None where it may.

    With one class every metric is undefined or judges one kind of error alone.

    Args:
        rule: The rule; `last` reads no split.
        facts: Of the split that it reads.
    """
    if rule.metric is None:
        return None
    split = _NAMES[str(rule.split)]
    positives, negatives = facts.positives, facts.n - facts.positives
    if not positives or not negatives:
        return (
            f"the {split} split has {positives} abnormal and {negatives} normal images, and a "
            "choice needs both"
        )
    if rule.metric == "dice" and not facts.drawn:
        return f"no mask is drawn on the {split} split, so that Dice is 0 or undefined"
    if METRICS[rule.metric].needs_classes:
        return _find_class_obstacle(rule.metric, split, facts.classes)
    if not METRICS[rule.metric].needs_attributes:
        return None
    if not facts.groups:
        return f"the dataset has no spurious attribute, which {rule.metric} needs"
    empty = [
        f"{name} ({', '.join(groups)})"
        for name, counts in facts.groups.items()
        if (groups := _empty_groups(rule.metric, counts, facts.directions.get(name, 1)))
    ]
    if empty and (rule.metric != "robust_auroc" or len(facts.groups) == 1):
        return f"the {split} split has no image in groups of {'; '.join(empty)}"
    return None


def _find_class_obstacle(metric: str, split: str, classes: Mapping[str, int]) -> str | None:
    if not classes:
        return f"the dataset has labels alone, and {metric} needs three classes or more"
    if absent := [name for name, n in classes.items() if not n]:
        return f"the {split} split has no image of class {', '.join(absent)}"
    return None


def _empty_groups(metric: str, counts: GroupCounts, direction: int) -> list[str]:
    """Name the groups without an image that a metric compares."""
    sizes = {f"y={y} s={s}": counts.annotated[2 * y + s] for y in (0, 1) for s in (0, 1)}
    if metric == "robust_auroc":
        compared = ("y=0 s=1", "y=1 s=0") if direction > 0 else ("y=0 s=0", "y=1 s=1")
        sizes = {name: sizes[name] for name in compared}
    return [name for name, size in sizes.items() if not size]
