"""Which configuration of a search is chosen: by validation metrics alone, by one rule for all."""

from __future__ import annotations

from collections.abc import Sequence

from spurious.scoring.registry import METRICS
from sweeps.plan.searched import Tried
from sweeps.spec.search import Search


def choose(
    search: Search, tried: Sequence[Tried], margin: float
) -> tuple[tuple[int, ...], int | None]:
    """Return the configurations that none beats in every metric, and the chosen one of them.

    With one metric that is the best, the earlier of equal ones. With dollars it is the cheapest of
    the Pareto set whose metric is at most `margin` worse than the best.

    Args:
        search: The search.
        tried: Its configurations; those without a value are not chosen.
        margin: `select.margin`.

    Returns:
        Numbers of the best ones, from cheap to dear, and the chosen number; None without a value.
    """
    sign = METRICS[search.split_metric[1]].sign
    scored = [
        (sign * each.value, 0.0 if each.dollars is None else each.dollars, each.number)
        for each in tried
        if each.state == "finished" and each.value is not None
    ]
    if not scored:
        return (), None
    # by price; of one price the best, of equal ones the earlier
    scored.sort(key=lambda each: (each[1], -each[0], each[2]))
    front: list[tuple[float, float, int]] = []
    for each in scored:
        if not front or each[0] > front[-1][0]:
            front.append(each)
    best = front[-1][0]
    near = [number for value, _, number in front if value >= best - margin]
    return tuple(number for _, _, number in front), near[0]
