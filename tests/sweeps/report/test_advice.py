"""What to buy for a sum, and at which prices that changes: against plain, exact computations."""

from __future__ import annotations

import random
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import pytest
from markets import AXIS, PRICES, market

from sweeps.report.advice import SCALE, Advice, Offer, advise, find_flips, price_of


def by_hand(
    offers: Sequence[Offer], table: Any, prices: dict[str, float], dollars: float, axis: Any
) -> Advice | None:
    """The same from its definition, draw by draw."""
    costs = {i: cost_by_hand(offer, prices, axis) for i, offer in enumerate(offers)}
    near = {i for i, cost in costs.items() if cost <= Fraction(dollars) + Fraction(1, 10**12)}
    ranked = sorted(
        (i for i in near if offers[i].is_named), key=lambda i: (-offers[i].mean, costs[i], i)
    )
    if not ranked:
        return None
    wins, lost = dict.fromkeys(range(len(offers)), 0), Fraction(0)
    for row in table.tolist():
        highest = max(row[i] for i in near)
        wins[min((i for i in near if row[i] == highest), key=lambda i: (costs[i], i))] += 1
        lost += Fraction(highest - row[ranked[0]], SCALE)
    n = len(table)
    second = ranked[1] if len(ranked) > 1 else None
    return Advice(
        ranked[0],
        wins[ranked[0]] / n,
        float(lost / n),
        second,
        0.0 if second is None else wins[second] / n,
    )


def cost_by_hand(offer: Offer, prices: dict[str, float], axis: Any) -> Fraction:
    """Exact dollars."""
    clicks = sum(
        (Fraction(prices[name]) * Fraction(n) for part, name, n in offer.items if part in axis),
        Fraction(0),
    )
    dollars = clicks * Fraction(prices["seconds_per_click"]) * Fraction(prices["wage_per_hour"])
    return dollars / 3600 + (Fraction(offer.compute) if "compute" in axis else 0)


@pytest.mark.parametrize("axis", [AXIS, ("training",), (*AXIS, "compute")])
def test_advice_is_what_its_definition_says(axis: tuple[str, ...]) -> None:
    """Over random markets, sums and prices; nothing that may be advised gives none."""
    seen = set()
    for seed in range(150):
        offers, table = market(seed)
        pick = random.Random(-1 - seed)
        prices = PRICES | {"mask": pick.choice([1.0, 12.0, 45.0]), "wage_per_hour": 36.0}
        some = price_of(pick.choice(offers), prices, axis)
        dollars = pick.choice([0.05, 1.0, 4.0, some, 100.0])
        found = advise(offers, table, prices, dollars, axis)
        expected = by_hand(offers, table, prices, dollars, axis)
        seen.add(found is None)
        assert (found is None) == (expected is None)
        if found is not None and expected is not None:
            assert (found.first, found.runner_up) == (expected.first, expected.runner_up)
            assert found.probability == expected.probability
            assert found.runner_up_probability == expected.runner_up_probability
            assert found.regret == pytest.approx(expected.regret, rel=1e-14)
    assert seen == {True, False}


def test_a_flip_is_where_a_rival_becomes_the_cheapest() -> None:
    """Just inside the values the choice stays, just outside it is the named rival, or none is."""
    moved = 0
    for seed in range(80):
        offers, _ = market(seed)
        axis = (*AXIS, "compute")
        costs = [price_of(offer, PRICES, axis) for offer in offers]
        rivals = list(range(len(offers)))
        chosen = min(rivals, key=lambda i: costs[i])
        if sorted(costs)[1] - costs[chosen] < 1e-9:
            continue
        for name, flip in find_flips(offers, chosen, rivals, PRICES, axis).items():
            for at, rival, outward in (
                (flip.low, flip.low_rival, -1),
                (flip.high, flip.high_rival, 1),
            ):
                if at is None:
                    far = {**PRICES, name: 0.0 if outward < 0 else 1e7}
                    assert cheapest(offers, far, axis) >= price_of(offers[chosen], far, axis) - 1e-6
                    continue
                moved += 1
                assert rival is not None
                inside, outside = ({**PRICES, name: at - outward * step} for step in (1e-6, -1e-6))
                assert price_of(offers[chosen], inside, axis) == cheapest(offers, inside, axis)
                here = {**PRICES, name: at}
                assert price_of(offers[rival], here, axis) == pytest.approx(
                    cheapest(offers, here, axis), rel=1e-9
                )
                if outside[name] >= 0:
                    dearer = price_of(offers[chosen], outside, axis)
                    assert dearer > price_of(offers[rival], outside, axis)
    assert moved > 50


def cheapest(offers: Sequence[Offer], prices: dict[str, float], axis: Any) -> float:
    """Dollars of the cheapest."""
    return min(price_of(offer, prices, axis) for offer in offers)


def test_the_wage_changes_nothing_without_compute() -> None:
    """It scales all annotation alike; beside compute it does not."""
    offers = [
        Offer("labels, long training", [("training", "label", 100.0)], 9.0, 0.7),
        Offer("masks, short training", [("training", "mask", 4.0)], 6.0, 0.7),
    ]
    both = (*AXIS, "compute")
    assert find_flips(offers, 0, [0, 1], PRICES, AXIS)["wage_per_hour"].high is None
    flip = find_flips(offers, 1, [0, 1], PRICES, both)["wage_per_hour"]
    assert (flip.high, flip.high_rival) == (pytest.approx(3600 * 3 / 80), 0)
