"""How many images a robust AUROC takes, and what the next ones are worth, from learning curves."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cluster.common.wording import count_of
from sweeps.report.advice import SCALE, Offer, price_of
from sweeps.report.answer import key_of
from sweeps.report.inference.curves import (
    HORIZON,
    LEAST,
    Foretold,
    gain_of_more,
    images_needed,
    is_covered,
)
from sweeps.report.offers import Offers
from sweeps.report.wording import annotation, dollars, interval, number, probability

MORE = 100
"""Further images whose worth is told."""
_TARGETS = (0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
_MOST_TARGETS = 3


@dataclass(frozen=True, eq=False)
class _Curve:
    """The purchases of one kind of annotation and one method, by images."""

    what: str
    method: str
    images: list[float]
    draws: NDArray[np.float64]
    means: list[float]
    last: Offer


def learning_context(
    offers: Offers | None, priced: pd.DataFrame, prices: Mapping[str, float]
) -> dict[str, Any]:
    """Return what the page says of further images.

    Args:
        offers: The result of `find_offers`.
        priced: The result of `price_trials`.
        prices: Price table in force.

    Returns:
        `needed`, a row for each curve of three budgets or more and each target; `needed_note`, what
        they rest on, with the back-test, or why there are none; `worth`, a row for each curve.
    """
    curves = [] if offers is None else list(_curves(offers, priced))
    long = [curve for curve in curves if len(curve.images) >= LEAST]
    targets = _targets(long)
    return {
        "needed": [_needed_row(curve, target) for curve in long for target in targets],
        "needed_note": _note(curves, long),
        "worth": [_worth_row(curve, prices) for curve in curves],
    }


def _curves(offers: Offers, priced: pd.DataFrame) -> Iterator[_Curve]:
    """Yield the curves of two budgets or more."""
    annotated = priced.groupby(["specificity", "budget", "method"])["train_images"].mean()
    places: defaultdict[tuple[str, str], list[tuple[float, int]]] = defaultdict(list)
    for place, cell in enumerate(offers.cells):
        images = float(annotated[key_of(cell)])
        places[str(cell["specificity"]), str(cell["method"])].append((images, place))
    for (_, method), known in places.items():
        ordered = dict(sorted(known))  # a budget and `all` may be as many images
        if len(ordered) < 2:
            continue
        chosen = list(ordered.values())
        yield _Curve(
            annotation(offers.cells[chosen[0]]["cell"].specificity),
            method,
            list(ordered),
            offers.draws[:, chosen] / SCALE,
            [offers.offers[place].mean for place in chosen],
            offers.offers[chosen[-1]],
        )


def _targets(curves: Sequence[_Curve]) -> list[float]:
    """Return some round AUROCs among and somewhat above those that the curves have."""
    if not curves:
        return []
    lowest = min(mean for curve in curves for mean in curve.means)
    highest = max(mean for curve in curves for mean in curve.means)
    near = [target for target in _TARGETS if lowest < target <= highest + (1.0 - highest) / 2]
    return near[-_MOST_TARGETS:]


def _needed_row(curve: _Curve, target: float) -> dict[str, str]:
    foretold = images_needed(curve.images, curve.draws, target)
    return {
        **{"annotation": curve.what, "method": curve.method, "target": f"{target:g}"},
        "images": describe_needed(foretold, curve.images),
    }


def describe_needed(foretold: Foretold, images: Sequence[float]) -> str:
    """Return how many images are needed, or why nobody can say."""
    least, most = images[0], HORIZON * images[-1]
    if math.isinf(foretold.median):
        return (
            f"not told: {probability(foretold.share)} of the fits reach it with up to "
            f"{_whole(most)} images"
        )
    if foretold.median <= least:
        return f"at most {_whole(least)}, the smallest budget"
    low = _whole(foretold.low) if foretold.low > least else f"{_whole(least)} or fewer"
    high = _whole(foretold.high) if math.isfinite(foretold.high) else f"more than {_whole(most)}"
    return f"about {_whole(foretold.median)} ({low} to {high})"


def _whole(images: float) -> str:
    """Return a number of images, to two digits above a hundred."""
    if images >= 100:
        step = 10 ** (math.floor(math.log10(images)) - 1)
        images = round(images / step) * step
    return f"{images:,.0f}"


def _worth_row(curve: _Curve, prices: Mapping[str, float]) -> dict[str, str]:
    """Return what the next images raise the robust AUROC by, and cost."""
    part = MORE / curve.images[-1]
    gained = f"not told: beyond {HORIZON:g} times the largest budget"
    if 1.0 + part <= HORIZON:
        gain = gain_of_more(curve.images, curve.draws, MORE)
        gained = f"{number(gain.median)} ({interval(gain.low, gain.high)})"
    training = [(name, item, n * part) for name, item, n in curve.last.items if name == "training"]
    price = price_of(Offer("", training, 0.0, 0.0), prices, ["training"])
    return {
        **{"annotation": curve.what, "method": curve.method},
        "beyond": f"{curve.images[-1]:,.0f}",
        "gain": gained,
        "dollars": dollars(price),
    }


def _note(curves: Sequence[_Curve], long: Sequence[_Curve]) -> str:
    if not curves:
        return "Not known: no kind of annotation has two ranked budgets with one method."
    text = (
        "From learning curves of several families (power law, power law with an offset, logit), "
        "each fitted to all draws; an interval holds 95 % of the fits of each. Nothing is told "
        f"beyond {HORIZON:g} times the largest budget."
    )
    if not long:
        return f"{text} How many images a score takes is not told: that needs {LEAST} budgets."
    held = sum(is_covered(curve.images, curve.draws) for curve in long)
    return (
        f"{text} With the largest budget hidden, the smaller ones foretold it within their 95 % "
        f"interval for {held} of {count_of(len(long), 'curve')}."
    )
