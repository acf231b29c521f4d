"""Dollars of a cell before it has run: exact where all images are known, else a range."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from statistics import fmean

from spurious.config.options import Budget, FitConfig
from spurious.scoring.annotations import Totals, count_annotations, counts_of
from spurious.scoring.cost import AnnotationCounts, Cost, charged_counts, cost
from spurious.scoring.selection import parse_rule
from sweeps.plan.cell import Cell
from sweeps.plan.plan import DatasetFacts, fit_config
from sweeps.spec.model import Spec

_CENT = 0.005
"""Dollars; a range below half a cent is not worth printing."""


@dataclass(frozen=True)
class CellPrice:
    """What the annotation of one trial of a cell costs.

    Attributes:
        cost: Mean over seeds, as the report shows it; an expectation where not exact.
        dollars: Of it what the frontier's axis counts, `spec.cost.axis`.
        low: Smallest `dollars` of a seed; where not exact, what none can be below.
        high: Largest `dollars` of a seed; where not exact, what none can be above.
        is_exact: Whether the images that each seed draws are known, or do not matter.
    """

    cost: Cost
    dollars: float
    low: float
    high: float
    is_exact: bool


def cell_price(spec: Spec, cell: Cell, facts: DatasetFacts | None) -> CellPrice | None:
    """Price a cell's trials; None before its dataset is staged."""
    if facts is None or facts.counts is None:
        return None
    first = fit_config(spec, cell, spec.axes.seed[0], facts)
    images = facts.images
    if images is not None:
        configs = (replace(first, seed=seed) for seed in spec.axes.seed)
        counted = [count_annotations(images, config) for config in configs]
        costs = {counts: _cost(spec, first, counts) for counts in set(counted)}
        each = [costs[counts] for counts in counted]
        return _price(spec, _mean(each), each, is_exact=True)
    train, val, attributes = facts.counts["train"], facts.counts["val"], len(facts.attributes)

    def price(drawn: Totals, of_val: Totals) -> Cost:
        counts = counts_of(drawn, of_val, train["n"], attributes, first, facts.mask_of)
        return _cost(spec, first, counts)

    possible = [
        price(drawn, of_val)
        for drawn in _extremes(train, cell.budget)
        for of_val in _extremes(val, _EVERY)
    ]
    return _price(spec, price(_expected(train, cell.budget), _expected(val, _EVERY)), possible)


_EVERY = Budget(None, "natural")


def _cost(spec: Spec, config: FitConfig, counts: AnnotationCounts) -> Cost:
    keep = parse_rule(config.train.keep)
    charged = charged_counts(config.method, keep, counts, spec.select_rule, spec.search_rule)
    return cost(config.specificity, charged, spec.prices)


def _price(spec: Spec, cost: Cost, each: list[Cost], *, is_exact: bool = False) -> CellPrice:
    axes = [_axis(spec, one) for one in each]
    validation = [one.validation for one in each]
    spread = max(max(axes) - min(axes), max(validation) - min(validation))
    return CellPrice(
        cost, _axis(spec, cost), min(axes), max(axes), is_exact=is_exact or spread < _CENT
    )


def _axis(spec: Spec, cost: Cost) -> float:
    return cost.on(spec.cost.axis)


def _mean(each: list[Cost]) -> Cost:
    return Cost(
        training=fmean(one.training for one in each),
        spurious_labels=fmean(one.spurious_labels for one in each),
        validation=fmean(one.validation for one in each),
    )


def _expected(split: Mapping[str, int], budget: Budget) -> Totals:
    """Average over draws, rounded to whole images and abnormalities."""
    n, positives = split["n"], split["positives"]
    negatives = n - positives
    images = n if budget.images is None else budget.images
    chosen = round(images * positives / n) if n else 0
    if budget.images is not None and budget.balance == "equal":
        chosen = images - images // 2
    on_negatives = split.get("negative_abnormalities", 0)
    on_positives = split["abnormalities"] - on_negatives
    of_negatives = (images - chosen) / negatives if negatives else 0.0
    return Totals(
        images=images,
        positives=chosen,
        on_positives=round(chosen * on_positives / positives) if positives else 0,
        on_negatives=round(of_negatives * on_negatives),
        bare=round(of_negatives * max(0, negatives - on_negatives)),
    )


def _extremes(split: Mapping[str, int], budget: Budget) -> Iterator[Totals]:
    """Corners of all sums that a draw can have; a price, linear in them, is between two of these.

    Every positive image has an abnormality, where the split has as many.
    """
    n, positives = split["n"], split["positives"]
    images = n if budget.images is None else budget.images
    fewest, most = max(0, images - (n - positives)), min(images, positives)
    if budget.images is not None and budget.balance == "equal":
        fewest = most = images - images // 2
    on_negatives = split.get("negative_abnormalities", 0)
    on_positives = split["abnormalities"] - on_negatives
    least = 1 if on_positives >= positives else 0
    ends = {fewest, min(fewest + 1, most), max(most - 1, fewest), most}  # all or none are special
    for chosen in sorted(ends):
        highest = on_positives - least * (positives - chosen) if chosen else 0
        lowest = on_positives if chosen == positives else least * chosen
        for drawn in {lowest, highest}:
            for regions, bare in _of_negatives(images - chosen, n - positives, on_negatives):
                yield Totals(images, chosen, drawn, regions, bare)


def _of_negatives(chosen: int, negatives: int, regions: int) -> set[tuple[int, int]]:
    """Corners of (regions drawn on, bare ones among) some of the negative images."""
    if not chosen or not regions:
        return {(0, chosen)}
    fewest = max(0, chosen - regions)
    corners = {(regions, fewest), (regions, chosen - 1)}
    if chosen < negatives:
        corners |= {(0, chosen), (1, chosen - 1), (chosen - fewest, fewest)}
    return corners
