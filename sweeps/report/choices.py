"""At which prices the choice changes, what this dataset's masks take, and boxes against masks."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import pandas as pd

from cluster.common.wording import count_of
from spurious.config.options import Prices
from sweeps.report.advice import Flip, find_flips, price_of
from sweeps.report.answer import best_cell, choose, key_of, learned_cells
from sweeps.report.evidence import Evidence
from sweeps.report.inference.orders import judge_orders
from sweeps.report.offers import Offers
from sweeps.report.published_orders import describe_needed
from sweeps.report.wording import (
    NONE,
    PRICE_MEANINGS,
    dollars,
    images,
    interval,
    number,
    sentence,
)

Cell = Mapping[Any, Any]
_TOLERANCES = {"vertices_2px": "2 pixels", "vertices_5px": "5 pixels"}


def choice_context(
    offers: Offers | None,
    cells: pd.DataFrame,
    evidence: Evidence,
    prices: Prices,
    axis: Collection[str],
    margin: float,
    outlines: Mapping[str, float] | None,
) -> dict[str, Any]:
    """Return what the page says of prices, and of boxes against masks.

    Args:
        offers: The result of `find_offers`.
        cells: The result of `cells`.
        evidence: What they rest on.
        prices: Price table in force.
        axis: Parts of the price that count.
        margin: How far below the best one a purchase may be that is called not inferior.
        outlines: Medians over the dataset's masks, `vertices_2px` and `vertices_5px`, and `images`,
            how many these are; None where nobody counted.

    Returns:
        `flips`, a row for each price that can change the choice; `flips_note`; `outlines`, a
        sentence or an empty one; and `settled`, a row for each pair of boxes and masks.
    """
    places = _places(offers, cells, evidence, margin)
    table, flips = dataclasses.asdict(prices), list[dict[str, str]]()
    if offers is not None and places is not None:
        chosen, rivals = places
        by_price = find_flips(offers.offers, chosen, rivals, table, axis)
        flips = [
            _flip_row(name, table[name], flip, offers)
            for name, flip in by_price.items()
            if flip != Flip()
        ]
    return {
        "flips": flips,
        "flips_note": _note(offers, places, bool(flips), margin, best_cell(cells)),
        "outlines": _describe_outlines(offers, places, table, axis, outlines),
        "settled": list(_settled(cells, evidence)),
    }


def _places(
    offers: Offers | None, cells: pd.DataFrame, evidence: Evidence, margin: float
) -> tuple[int, list[int]] | None:
    """Return the purchase that is recommended and all that are not inferior, as offers."""
    choice = choose(cells, evidence, margin)
    if offers is None or choice is None:
        return None
    chosen = offers.place_of(choice.chosen)
    rivals = [offers.place_of(cell) for cell in choice.not_inferior]
    known = [place for place in rivals if place is not None]
    return None if chosen is None else (chosen, known)


def _flip_row(name: str, value: float, flip: Flip, offers: Offers) -> dict[str, str]:
    def side(at: float | None, rival: int | None) -> tuple[str, str]:
        if at is None or rival is None:
            return NONE, ""
        return f"{at:.3g}", offers.offers[rival].name

    (low, below), (high, above) = side(flip.low, flip.low_rival), side(flip.high, flip.high_rival)
    return {
        **{"name": name, "value": f"{value:g}", "meaning": PRICE_MEANINGS[name]},
        **{"low": low, "below": below, "high": high, "above": above},
    }


def _note(
    offers: Offers | None,
    places: tuple[int, list[int]] | None,
    has_flips: bool,
    margin: float,
    best: Cell | None,
) -> str:
    """Return what the table of prices is of, or why there is none."""
    if best is not None and best["robust"].kind == "none":
        return "Not known: the best purchase has no interval to compare others by."
    if offers is None or places is None:
        return "Not known: no ranked purchase has an interval to compare by."
    chosen, rivals = places
    name = offers.offers[chosen].name
    if len(rivals) == 1:
        return (
            f"No price changes the choice: nothing else is shown to be at most {margin:g} below "
            f"{name}."
        )
    shown = (
        f"{sentence(name)} is the cheapest of {count_of(len(rivals), 'purchase')} that are not "
        f"inferior by more than {margin:g}"
    )
    if not has_flips:
        return f"{shown}, and stays so at any value of any single price."
    return (
        f"{shown}. It stays the cheapest of them while one price is between the two values and all "
        "others are as they are; beyond, the purchase named there is. Prices without a row never "
        "change it."
    )


def _describe_outlines(
    offers: Offers | None,
    places: tuple[int, list[int]] | None,
    prices: Mapping[str, float],
    axis: Collection[str],
    outlines: Mapping[str, float] | None,
) -> str:
    """Return what drawing this dataset's masks takes, and what would be chosen at that price."""
    if outlines is None or not outlines["images"] or math.isnan(outlines["vertices_2px"]):
        return ""
    masks = int(outlines["images"])
    text = (
        "Drawn as polygons, this dataset's masks take a median of "
        f"{outlines['vertices_2px']:g} vertices at a tolerance of 2 pixels, "
        f"{outlines['vertices_5px']:g} at 5 ({count_of(masks, 'image')} with a mask); the price "
        f"table has {prices['mask']:g} clicks a mask."
    )
    if offers is None or places is None or len(places[1]) == 1:
        return text
    rivals = places[1]
    named = []
    for name, at in _TOLERANCES.items():
        changed = {**prices, "mask": outlines[name]}
        costs = {place: price_of(offers.offers[place], changed, axis) for place in rivals}
        cheapest = min(rivals, key=lambda place: (costs[place], place))
        named.append(f"{offers.offers[cheapest].name} ({dollars(costs[cheapest])}) at {at}")
    return f"{text} At that many clicks a mask the choice would be {' and '.join(named)}."


def _settled(cells: pd.DataFrame, evidence: Evidence) -> Iterator[dict[str, str]]:
    """Yield boxes against masks of the same images and method: decided, or what would decide."""
    pairs = list(_pairs(cells))
    differences = [
        evidence.difference(key_of(box), key_of(mask), "robust_auroc") for box, mask in pairs
    ]
    for (box, mask), order in zip(pairs, judge_orders(differences), strict=True):
        of = order.difference
        verdict = {"confirmed": "masks are above", "contradicted": "boxes are above"}.get(
            order.verdict,
            f"not decided ({describe_needed(order, evidence.images(key_of(box), 'robust_auroc'))})",
        )
        spread = f" ({interval(of.low, of.high)})" if of.kind != "none" else ""
        yield {
            "images": images(box["cell"].budget),
            "method": str(mask["method"]),
            "difference": f"{number(of.mean)}{spread}",
            "verdict": verdict,
        }


def _pairs(cells: pd.DataFrame) -> Iterator[tuple[Cell, Cell]]:
    for _, same in learned_cells(cells).groupby(["budget", "method"], sort=False):
        by_kind = {row["cell"].specificity.kind: row for row in same.to_dict("records")}
        if {"box", "mask"} <= by_kind.keys():
            yield by_kind["box"], by_kind["mask"]
