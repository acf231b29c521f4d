"""With so many dollars, what to buy: a row for every sum at which the advice changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import pandas as pd

from cluster.common.wording import count_of, is_or_are
from spurious.config.options import Prices
from sweeps.report.advice import Advice, advise, price_of
from sweeps.report.answer import learned_cells
from sweeps.report.evidence import Evidence
from sweeps.report.inference.joint import DRAWS
from sweeps.report.offers import Offers
from sweeps.report.probabilities import count_undrawn
from sweeps.report.wording import NONE, dollars, interval, limits, number, probability

LIKELY = 0.05
"""Share of what cannot be advised from which on a row tells of it."""
_PRINTED = 0.005
NOTHING_ELSE = "no other ranked purchase with an interval costs so little"


def spending_context(
    offers: Offers | None,
    cells: pd.DataFrame,
    attained: pd.DataFrame,
    evidence: Evidence,
    prices: Prices,
    axis: Collection[str],
) -> dict[str, Any]:
    """Return `spending`, rows from cheap to dear, and `spending_note`, what they rest on.

    Args:
        offers: The result of `find_offers`.
        cells: The result of `cells`.
        attained: The result of `attainment_frame`.
        evidence: What the cells rest on.
        prices: Price table in force.
        axis: Parts of the price that count.
    """
    rows: list[dict[str, str]] = []
    table = dataclasses.asdict(prices)
    bought, known = None, 0.0
    for sum_, shown in _sums(offers, table, axis):
        assert offers is not None
        advice = advise(offers.offers, offers.draws, table, sum_, axis)
        if advice is None:
            continue
        at = attained[attained["dollars"] == shown]
        unnamed = 1.0 - float(at["best_probability"].sum()) if len(at) else 0.0
        if advice.first != bought or unnamed >= known + LIKELY:
            bought, known = advice.first, unnamed
            rows.append(_row(advice, offers, at, shown, unnamed))
    ranked = learned_cells(cells)
    reason = "no ranked purchase has an interval"
    if ranked["robust_auroc_interval"].ne("none").any():
        reason = "ranked purchases were scored on different images, or are too many"
    note = _note(count_undrawn(cells, evidence)) if rows else f"Not known: {reason}."
    return {"spending": rows, "spending_note": note}


def _sums(
    offers: Offers | None, prices: Mapping[str, float], axis: Collection[str]
) -> Iterator[tuple[float, float]]:
    """Yield each cost of an offer, for `advise` and in the table of cells; cheapest first.

    Equal costs are one sum, which buys all offers that have it.
    """
    if offers is None:
        return
    costs = [price_of(offer, prices, axis) for offer in offers.offers]
    shown = [float(cell["dollars_mean"]) for cell in offers.cells]
    sums: dict[float, float] = {}
    for cost, at in zip(costs, shown, strict=True):
        sums[at] = max(cost, sums.get(at, cost))
    yield from sorted((cost, at) for at, cost in sums.items())


def _row(
    advice: Advice, offers: Offers, at: pd.DataFrame, cost: float, unnamed: float
) -> dict[str, str]:
    """Return a sum's row.

    Args:
        advice: What the sum buys.
        offers: What may be bought.
        at: Rows of `attainment_frame` of the sum.
        cost: The sum.
        unnamed: Share of draws in which something without an interval is the best.
    """
    first = offers.cells[advice.first]
    reached = at.iloc[0].to_dict() if len(at) else None
    rivals = []
    if advice.runner_up is not None:
        name = offers.offers[advice.runner_up].name
        rivals.append(f"{name} ({probability(advice.runner_up_probability)})")
    if unnamed >= _PRINTED:
        rivals.append(f"purchases without an interval ({probability(unnamed)})")
    return {
        "dollars": dollars(cost),
        "first": offers.offers[advice.first].name,
        "robust": number(first["robust_auroc_mean"], 2),
        "robust_interval": limits(first["robust"], 2),
        "probability": probability(advice.probability),
        "regret": number(advice.regret),
        "median": NONE if reached is None else number(reached["attained_median"], 2),
        "band": ""
        if reached is None
        else interval(reached["attained_low"], reached["attained_high"], 2),
        "runners_up": "; ".join(rivals) or NOTHING_ELSE,
    }


def _note(undrawn: int) -> str:
    text = (
        "From each sum on, the purchase with the highest mean robust AUROC of those that cost no "
        f"more, until the next row. From the {DRAWS:,} draws behind P(best): the share in which it "
        "is the highest of them; how much it misses the highest by on average (expected regret); "
        "the highest that the sum reaches, as the median and the range of 95 % of the draws; and "
        "the purchase with the next highest mean, with its share. In simulations these ranges hold "
        "the truth in about 91 to 94 %."
    )
    if undrawn:
        text += (
            f" {count_of(undrawn, 'purchase')} without two seeds with stored predictions "
            f"{is_or_are(undrawn)} in no draw."
        )
    return text
