"""Numbers and purchases in words, the same in the figure and on the page."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

from cluster.common.wording import noun_of
from spurious.config.options import Budget, Specificity
from sweeps.plan.cell import Cell
from sweeps.report.inference.intervals import Interval

AXIS_WORDS = {
    "training": "training annotation",
    "spurious_labels": "spurious labels",
    "validation": "validation annotation",
    "compute": "compute",
}
"""What the dollar axis may count, `sweeps.spec.values.AXIS`, in words."""
PRICE_WORDS = {
    "wage_per_hour": "wage per hour",
    "seconds_per_click": "seconds per click",
    "label": "clicks per label",
    "box": "clicks per box",
    "mask": "clicks per mask",
    "r": "clicks per coarse mask",
    "spurious_label": "clicks per spurious label",
    "region": "clicks per outline of a region",
    "ranked_pair": "clicks per ranked pair",
}
"""Prices of `spurious.config.options.Prices` as they are called beside a slider."""
PRICE_MEANINGS = {
    "wage_per_hour": "US dollars per annotator hour",
    "seconds_per_click": "seconds per click",
    "label": "clicks per image for a label, negative images too",
    "box": "clicks per abnormality for a box, the label included",
    "mask": "clicks per abnormality for a mask, the label included",
    "r": "clicks per abnormality for a coarse mask of r >= 2 (r = 1 costs a label)",
    "spurious_label": "clicks per image and spurious attribute",
    "region": "clicks per outline of a region that is not the abnormality, beside the label",
    "ranked_pair": "clicks for naming a good and a bad explanation; each that is shown is a label",
}
NONE = "\N{EN DASH}"
MOST_SEEDS = 12
"""Values of seeds that are listed one by one."""


def number(value: float, digits: int = 3) -> str:
    """Return a number with fixed decimals, a dash for NaN."""
    if math.isnan(value):
        return NONE
    text = f"{value:.{digits}f}"
    if float(text) == 0.0:
        return text.removeprefix("-")  # what rounds to 0 has no sign
    return text.replace("-", "\N{MINUS SIGN}")


def probability(value: float) -> str:
    """Return a share with two decimals; what only rounds to 0 or 1 stands as a limit."""
    if 0.0 < value < 0.005:
        return "below 0.01"
    return "above 0.99" if 0.995 <= value < 1.0 else number(value, 2)


def interval(low: float, high: float, digits: int = 3) -> str:
    """`low to high`, a dash where there is none."""
    return NONE if math.isnan(low) else f"{number(low, digits)} to {number(high, digits)}"


def limits(of: Interval, digits: int = 3) -> str:
    """Return limits as `0.77 to 0.87` or `at least 0.96`; the seeds and the reason without any."""
    if of.kind == "two-sided":
        return interval(of.low, of.high, digits)
    if of.kind == "none":
        return f"{seed_values(of.seeds, digits)}: {of.reason}" if of.seeds else NONE
    return f"{of.kind} {number(of.low if of.kind == 'at least' else of.high, digits)}"


def seed_values(seeds: Sequence[float], digits: int = 3) -> str:
    """Return `seeds 0.84, 0.00, 0.56`; of more than can be read at a glance, `0.00 to 0.84`."""
    shown = seeds if len(seeds) <= MOST_SEEDS else (min(seeds), max(seeds))
    values = (", " if shown is seeds else " to ").join(number(value, digits) for value in shown)
    return f"{noun_of(len(seeds), 'seed')} {values}"


def dollars(value: float) -> str:
    """US dollars: cents below $100, whole dollars above; a dash for NaN."""
    if math.isnan(value):
        return NONE
    return f"${value:,.2f}" if value < 100 else f"${value:,.0f}"


def images(budget: Budget) -> str:
    """Return a budget as `600` or `all`, with thousands separators."""
    return "all" if budget.images is None else f"{budget.images:,}"


def annotation(specificity: Specificity) -> str:
    """Return a specificity as a plural noun: labels, boxes, masks."""
    if specificity.box_per == "image":
        return "boxes (one per image)"
    if specificity.kind == "r":
        return f"coarse masks (r = {specificity.r})"
    return {"label": "labels", "box": "boxes", "mask": "masks"}[specificity.kind]


def describe_cell(cell: Cell) -> str:
    """Return a cell in words: `masks on 1,100 images, trained with erm`."""
    noun, on = annotation(cell.specificity), "on"
    if cell.specificity.box_per == "image":
        noun, on = "one box", "on each of"
    return f"{noun} {on} {images(cell.budget)} images, trained with {cell.method}"


def synthetic_note(synthetic: str) -> str:
    """Return what is said of images that something drew."""
    return f"Synthetic images ({synthetic}): no number here is about patients."


def axis_text(axis: Collection[str]) -> str:
    """Return what dollars count, and what they leave out: parts of `AXIS_WORDS`."""
    counted = [words for part, words in AXIS_WORDS.items() if part in axis]
    left = [words for part, words in AXIS_WORDS.items() if part not in axis]
    return " plus ".join(counted) + (f", without {' and '.join(left)}" if left else "")


def yaml_line(value: Any) -> str:
    """Return a value as YAML on one line."""
    import yaml

    return str(yaml.safe_dump(value, default_flow_style=True, width=math.inf).splitlines()[0])


def without(holes: Sequence[int]) -> str:
    """Return `, without seed 1`; empty where a cell has all its planned seeds."""
    if not holes:
        return ""
    seeds = ", ".join(str(seed) for seed in holes)
    return f", without {noun_of(len(holes), 'seed')} {seeds}"


def sentence(text: str) -> str:
    """Return the text with its first letter in upper case."""
    return text[:1].upper() + text[1:]
