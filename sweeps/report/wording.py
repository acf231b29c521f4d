"""Numbers and purchases in words, the same in the figure and on the page."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sweeps.report.tables import parse_specificity

NONE = "\N{EN DASH}"


def number(value: float, digits: int = 3) -> str:
    """A number with fixed decimals, a dash for NaN."""
    return NONE if math.isnan(value) else f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def interval(low: float, high: float, digits: int = 3) -> str:
    """`low to high`, a dash where there is none."""
    return NONE if math.isnan(low) else f"{number(low, digits)} to {number(high, digits)}"


def dollars(value: float) -> str:
    """US dollars: cents below $100, whole dollars above; a dash for NaN."""
    if math.isnan(value):
        return NONE
    return f"${value:,.2f}" if value < 100 else f"${value:,.0f}"


def images(budget: str) -> str:
    """A budget as `600` or `all`, with thousands separators."""
    return budget if budget == "all" else f"{int(budget):,}"


def annotation(text: str) -> str:
    """A specificity as a plural noun: labels, boxes, masks."""
    specificity = parse_specificity(text)
    if specificity.kind == "r":
        return f"coarse masks (r = {specificity.r})"
    return {"label": "labels", "box": "boxes", "mask": "masks"}[specificity.kind]


def describe_cell(cell: Mapping[Any, Any]) -> str:
    """A cell in words: `masks on 1,100 images, trained with erm`."""
    noun, on = annotation(cell["specificity"]), "on"
    if parse_specificity(cell["specificity"]).box_per == "image":
        noun, on = "one box", "on each of"
    return f"{noun} {on} {images(cell['budget'])} images, trained with {cell['method']}"


def sentence(text: str) -> str:
    """The text with its first letter in upper case."""
    return text[:1].upper() + text[1:]


def count(n: int, noun: str) -> str:
    """`1 seed`, `3 seeds`."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
