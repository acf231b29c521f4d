"""Orders that a paper's table states, judged by the paired differences of the measured cells."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cluster.common.wording import count_of, has_or_have
from spurious.scoring.registry import METRICS
from sweeps.report.evidence import Evidence, Key
from sweeps.report.inference.intervals import Interval
from sweeps.report.inference.orders import Order, judge_orders
from sweeps.report.readings import READ_METRICS
from sweeps.report.statistics import seed_difference, t_interval
from sweeps.report.wording import describe_cell, interval, number, sentence, without

Row = Mapping[str, Any]
Pair = tuple[Row, Row]
_NAMED = 6


def table_orders(
    where: str, by_metric: Mapping[str, Sequence[Row]], evidence: Evidence
) -> dict[str, list[str]]:
    """Compare pairs of cells with the paper's order, all pairs of the table judged together.

    A pair is confirmed or contradicted where its paired difference is, by Holm's correction within
    the table; else it is not decided. What is a property of the images has one value per
    specificity and budget, whatever the method: such pairs are counted once, and where all seeds
    have the same images they stay open.

    Args:
        where: What the paper calls its table.
        by_metric: Metric to rows of `published_frame` of one table.
        evidence: What the measured cells rest on.

    Returns:
        Metric to a count, a sentence per contradicted pair, and what is not decided.
    """
    pairs = {metric: _measured_pairs(metric, rows) for metric, rows in by_metric.items()}
    differences = [
        _difference(metric, low, high, evidence) for metric, of in pairs.items() for low, high in of
    ]
    judged = iter(judge_orders(differences))
    return {
        metric: _sentences(where, metric, of, [next(judged) for _ in of], evidence)
        for metric, of in pairs.items()
    }


def print_number(row: Row) -> str:
    """Return a row's published number as the paper prints it: mean, and SD where there is one."""
    sd, digits = row["published_sd"], row["decimals"]
    more = "" if math.isnan(sd) else f" \N{PLUS-MINUS SIGN} {number(sd, digits)}"
    return number(row["published_mean"], digits) + more


def _measured_pairs(metric: str, rows: Sequence[Row]) -> list[Pair]:
    matched = [row for row in rows if row["counterpart"] == "both" and row["measured_n"]]
    of_images = METRICS[metric].of_images
    if of_images:
        matched = list({(row["specificity"], row["budget"]): row for row in matched}.values())
    return list(_paper_pairs(matched, of_images))


def _paper_pairs(rows: Sequence[Row], of_one_budget: bool) -> Iterator[Pair]:
    """Pairs of rows that the paper orders, the lower one first."""
    for one, other in itertools.combinations(rows, 2):
        if of_one_budget and one["budget"] != other["budget"]:
            continue
        places = [row["published_rank"] or row["published_mean"] for row in (one, other)]
        if places[0] != places[1]:
            yield (one, other) if places[0] < places[1] else (other, one)


def _difference(metric: str, low: Row, high: Row, evidence: Evidence) -> Interval:
    """Return what the paper has higher minus what it has lower."""
    if metric in READ_METRICS:
        return evidence.difference(_key(low), _key(high), metric)
    return seed_difference(low["seeds"], high["seeds"])


def _key(row: Row) -> Key:
    return row["specificity"], row["budget"], row["method"]


def _sentences(
    where: str, metric: str, pairs: list[Pair], judged: list[Order], evidence: Evidence
) -> list[str]:
    words = METRICS[metric].words
    if not pairs:
        return []
    if METRICS[metric].of_images and all(math.isnan(r["measured_low"]) for p in pairs for r in p):
        alike = sum(high["measured_mean"] > low["measured_mean"] for low, high in pairs)
        return [
            f"{count_of(len(pairs), 'pair')} of annotations {has_or_have(len(pairs))} an order by "
            f"{words} in {where}. "
            f"Every seed has the same images, so the measured values are one draw without an "
            f"interval: {len(pairs)} left open; the values are in the paper's order in {alike}."
        ]
    verdicts = [order.verdict for order in judged]
    counted = (
        f"{count_of(len(pairs), 'pair')} of cells {has_or_have(len(pairs))} an order by {words} in "
        f"{where}. By paired differences, with Holm's correction within the table: confirmed "
        f"{verdicts.count('confirmed')}, contradicted {verdicts.count('contradicted')}, not "
        f"decided {verdicts.count('not decided')}."
    )
    if metric not in READ_METRICS:
        counted += " These differences are over seeds alone and say nothing of other images."
    contradicted = [
        _reversal(where, metric, *pair, order)
        for pair, order in zip(pairs, judged, strict=True)
        if order.verdict == "contradicted"
    ]
    undecided = [
        f"{_describe(high)} above {_describe(low)} "
        f"({describe_needed(order, evidence.images(_key(low), metric))})"
        for (low, high), order in zip(pairs, judged, strict=True)
        if order.verdict == "not decided"
    ]
    remaining = [f"{len(undecided) - _NAMED} more"] if len(undecided) > _NAMED else []
    text = f"Not decided: {'; '.join(undecided[:_NAMED] + remaining)}."
    return [counted, *contradicted, *([text] if undecided else [])]


def _describe(row: Row) -> str:
    """Return a cell in words, with the planned seeds that it lacks."""
    return f"{describe_cell(row['cell'])}{without(row['holes'])}"


def describe_needed(order: Order, images: int | None) -> str:
    """Return what would decide an order that is not, if it were the only one of its table."""
    difference = order.difference
    if difference.kind == "none":
        return f"no interval: {difference.reason}"
    if difference.low > 0.0 or difference.high < 0.0:
        return "decided alone, not with the table's correction"
    if order.seeds is not None:
        return f"alone it would need about {count_of(order.seeds, 'seed')}"
    if order.images is not None and images is not None:
        return f"alone it would need about {count_of(math.ceil(order.images * images), 'image')}"
    return "neither seeds nor images would decide a difference of this size"


def _reversal(where: str, metric: str, low: Row, high: Row, order: Order) -> str:
    digits, words = METRICS[metric].digits, METRICS[metric].words
    measured = [number(row["measured_mean"], digits) for row in (low, high)]
    difference = order.difference
    text = (
        f"{sentence(_describe(low))}: measured {words} {measured[0]}, above "
        f"{measured[1]} of {_describe(high)}; the paired difference is "
        f"{number(-difference.mean, digits)} (95 % interval "
        f"{interval(-difference.high, -difference.low, digits)}). "
        f"{where} has it the other way round"
    )
    if low["published_rank"] is not None:
        return f"{text}, without numbers."
    printed = [print_number(row) for row in (low, high)]
    text += f": {printed[0]} below {printed[1]}"
    ends = [
        t_interval(row["published_mean"], row["published_sd"], row["published_seeds"] or 0)
        for row in (low, high)
    ]
    if ends[0][1] >= ends[1][0]:
        return f"{text}, where the paper's own 95 % intervals overlap."
    return f"{text}."
