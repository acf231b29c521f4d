"""With so many dollars, what to buy, and at which prices that changes: pure functions.

The page's script has the same functions. Both give the same answers to the last bit: draws are
integers, whose sums are exact, and dollars are summed in one order.

Shape legend: C offers, N draws.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SCALE = 65_535
"""What an AUROC of 1 is in draws."""
_ROUNDING = 1e-9
"""Relative difference below which two purchases depend on a price alike."""
Prices = Mapping[str, float]
"""The names of `spurious.config.options.Prices` and their values."""


@dataclass(frozen=True)
class Offer:
    """A purchase: the annotation of one trial of a cell.

    Attributes:
        name: In words.
        items: Part of the price, name of a price, and how many: means over the cell's seeds.
        compute: Dollars of compute of one trial; 0 without a price.
        mean: Mean robust AUROC over seeds.
        is_named: Whether it may be advised: it has an interval. Others count as rivals alone.
    """

    name: str
    items: Sequence[tuple[str, str, float]]
    compute: float
    mean: float
    is_named: bool = True


@dataclass(frozen=True)
class Advice:
    """What to buy for a sum.

    Attributes:
        first: Place of the offer with the highest mean among those that cost no more; of equals
            the cheapest, then the first.
        probability: Share of draws in which it is the highest of those.
        regret: Mean over draws of what the highest has more.
        runner_up: Place of the next one by its mean; None where there is none.
        runner_up_probability: Likewise; 0 without one.
    """

    first: int
    probability: float
    regret: float
    runner_up: int | None
    runner_up_probability: float


@dataclass(frozen=True)
class Flip:
    """Where a choice ends as one price falls or rises, all others as they are.

    Attributes:
        low: Highest value below the present one at which a rival is as cheap; None for none.
        low_rival: Its place.
        high, high_rival: Likewise above.
    """

    low: float | None = None
    low_rival: int | None = None
    high: float | None = None
    high_rival: int | None = None


def price_of(offer: Offer, prices: Prices, axis: Collection[str]) -> float:
    """Return an offer's dollars, of the parts that an axis counts."""
    clicks = 0.0
    for part, name, number in offer.items:
        if part in axis:
            clicks += prices[name] * number
    dollars = clicks * prices["seconds_per_click"] * prices["wage_per_hour"] / 3600.0
    return dollars + offer.compute if "compute" in axis else dollars


def advise(
    offers: Sequence[Offer],
    draws: NDArray[np.integer],
    prices: Prices,
    dollars: float,
    axis: Collection[str],
) -> Advice | None:
    """Return what to buy for a sum; None where nothing that may be advised costs so little.

    Args:
        offers: All purchases that are compared.
        draws: (N, C) integers, robust AUROCs of the offers times `SCALE`, one draw of the joint
            distribution a row.
        prices: Price table in force.
        dollars: The sum.
        axis: Parts of the price that count.
    """
    costs = [price_of(offer, prices, axis) for offer in offers]
    affordable = sorted((i for i, c in enumerate(costs) if c <= dollars), key=lambda i: costs[i])
    named = sorted(
        (i for i in affordable if offers[i].is_named),
        key=lambda i: (-offers[i].mean, costs[i], i),
    )
    if not named:
        return None
    highest = np.full(len(draws), -1, np.int64)
    holder = np.zeros(len(draws), np.int64)
    for i in affordable:
        holder[draws[:, i] > highest] = i
        highest = np.maximum(highest, draws[:, i])
    wins = np.bincount(holder, minlength=len(offers))
    first, n = named[0], len(draws)
    runner_up = named[1] if len(named) > 1 else None
    return Advice(
        first=first,
        probability=float(wins[first] / n),
        regret=float((highest.sum() - draws[:, first].sum(dtype=np.int64)) / (n * SCALE)),
        runner_up=runner_up,
        runner_up_probability=0.0 if runner_up is None else float(wins[runner_up] / n),
    )


def find_flips(
    offers: Sequence[Offer],
    chosen: int,
    rivals: Collection[int],
    prices: Prices,
    axis: Collection[str],
) -> dict[str, Flip]:
    """Return, for every price, where another of some purchases becomes the cheapest.

    Dollars are linear in each price, so that two purchases are as dear as each other at one value.

    Args:
        offers: All purchases.
        chosen: The cheapest of `rivals` at the present prices.
        rivals: Those among which the cheapest is chosen.
        prices: Price table in force.
        axis: Parts of the price that count.
    """
    return {name: _find_flip(offers, chosen, rivals, prices, axis, name) for name in prices}


def _find_flip(
    offers: Sequence[Offer],
    chosen: int,
    rivals: Collection[int],
    prices: Prices,
    axis: Collection[str],
    name: str,
) -> Flip:
    free, unit = {**prices, name: 0.0}, {**prices, name: 1.0}
    lows, highs = [], []  # of values and places
    start = price_of(offers[chosen], free, axis)
    slope = price_of(offers[chosen], unit, axis) - start
    for i in rivals:
        if i == chosen:
            continue
        from_zero = price_of(offers[i], free, axis)
        its_slope = price_of(offers[i], unit, axis) - from_zero
        steeper = its_slope - slope
        if abs(steeper) <= _ROUNDING * max(slope, its_slope):
            continue
        equal = (start - from_zero) / steeper
        if steeper < 0.0 and equal >= prices[name]:
            highs.append((equal, i))
        elif steeper > 0.0 and 0.0 <= equal <= prices[name]:
            lows.append((equal, i))
    low, high = max(lows, default=(None, None)), min(highs, default=(None, None))
    return Flip(low[0], low[1], high[0], high[1])
