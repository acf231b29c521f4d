"""Subgroups of a dataset's test images by a covariate: values of text, bands of numbers.

Shape legend: N images.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweeps.report.inference.intervals import FEWEST_IMAGES

MOST_VALUES = 8
"""Values of text that are subgroups of their own, the most frequent; all others are one."""
FEW_NUMBERS = 6
"""Different numbers up to which each is a subgroup; of more, quartiles are."""
UNKNOWN = "not known"


@dataclass(frozen=True, eq=False)
class Grouping:
    """How a covariate divides images.

    Attributes:
        covariate: Its name.
        names: The subgroups, in order.
        ends: Lowest and highest number of each; NaN of text, and where it is not known.
        codes: (N,) the place of each image's subgroup.
        note: Why there are no subgroups; empty where there are.
    """

    covariate: str
    names: tuple[str, ...]
    ends: tuple[tuple[float, float], ...]
    codes: NDArray[np.int64]
    note: str = ""


def group_images(
    covariates: Mapping[str, Mapping[str, Any]], sample_ids: Sequence[str]
) -> list[Grouping]:
    """Return a grouping for each covariate of a dataset, in alphabetical order.

    Args:
        covariates: Name to sample id to value.
        sample_ids: (N,) the images to be grouped; quartiles are of these.
    """
    return [
        group_values(name, [_known(values.get(sample_id)) for sample_id in sample_ids])
        for name, values in sorted(covariates.items())
    ]


def group_values(covariate: str, values: Sequence[Any]) -> Grouping:
    """Return the subgroups of images by their values: numbers, or text; None where not known."""
    known = [value for value in values if value is not None]
    distinct = set(known)
    if not known:
        return _none(covariate, values, "it is not known of any test image")
    if len(distinct) == 1 and len(known) == len(values):
        of = f"{known[0]:g}" if isinstance(known[0], float) else known[0]
        return _none(covariate, values, f"it is {of} on every test image")
    if all(isinstance(value, float) for value in known):
        return _by_number(covariate, values, sorted(known))
    counts = Counter(known)
    ordered = sorted(counts, key=lambda name: (-counts[name], name))
    if len(ordered) > MOST_VALUES and counts[ordered[0]] < FEWEST_IMAGES:
        text = f"none of its {len(ordered):,} values is on {FEWEST_IMAGES} test images"
        return _none(covariate, values, text)
    frequent = sorted(ordered[:MOST_VALUES])
    rest_name = f"others ({len(ordered) - MOST_VALUES:,})"
    names = [
        None if value is None else value if value in frequent else rest_name for value in values
    ]
    return _named(covariate, names, [*frequent, rest_name], {})


def _by_number(covariate: str, values: Sequence[float | None], known: list[float]) -> Grouping:
    distinct = sorted(set(known))
    if len(distinct) <= FEW_NUMBERS:
        ends = {f"{value:g}": (value, value) for value in distinct}
        names = [None if value is None else f"{value:g}" for value in values]
        return _named(covariate, names, list(ends), ends)
    quarters = np.quantile(known, (0.25, 0.5, 0.75, 1.0), method="inverted_cdf")
    uppers = sorted({float(upper) for upper in quarters})
    lowest = known[0]
    ends, previous = {}, lowest
    for upper in uppers:
        above = "" if previous == lowest and not ends else "above "
        name = f"{above}{previous:g} to {upper:g}" if previous != upper else f"{upper:g}"
        inside = [value for value in distinct if value <= upper and (not above or value > previous)]
        ends[name], previous = (inside[0], upper), upper
    order = list(ends)
    names = [
        None if value is None else order[int(np.searchsorted(uppers, value))] for value in values
    ]
    return _named(covariate, names, order, ends)


def _named(
    covariate: str,
    names: Sequence[str | None],
    order: Sequence[str],
    ends: dict[str, tuple[float, float]],
) -> Grouping:
    """Return a grouping with the subgroups that some image is in, those not known last."""
    filled = [UNKNOWN if name is None else name for name in names]
    present = set(filled)
    kept = [name for name in (*order, UNKNOWN) if name in present]
    codes = np.array([kept.index(name) for name in filled], np.int64)
    nothing = (math.nan, math.nan)
    return Grouping(covariate, tuple(kept), tuple(ends.get(n, nothing) for n in kept), codes)


def _none(covariate: str, values: Sequence[Any], note: str) -> Grouping:
    return Grouping(covariate, (), (), np.full(len(values), -1, np.int64), note)


def _known(value: Any) -> Any:
    """Return a number or text; None of what is absent, NaN or empty."""
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    return value
