"""Claims of learning curves: fitted again, to draws of its own, by other means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sentence_choices import drawn
from sentence_claims import claim, money, number, plural, record_of, same, table
from sentence_document import Table
from sentence_facts import Cell, Facts, noun

HORIZON, LEAST, MORE = 2.0, 3, 100
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Curve:
    """Purchases of one annotation and method, by annotated images."""

    kind: str
    method: str
    cells: Sequence[Cell]

    @property
    def images(self) -> list[float]:
        """Annotated images of each."""
        return [float(cell.trials[0].row["train_images"]) for cell in self.cells]


def curves(f: Facts) -> list[Curve]:
    """Those of two budgets or more."""
    of: dict[tuple[str, str], dict[float, Cell]] = {}
    for cell in drawn(f):
        images = float(cell.trials[0].row["train_images"])
        of.setdefault((cell.key[0], cell.key[2]), {})[images] = cell
    return [
        Curve(kind, method, [known[n] for n in sorted(known)])
        for (kind, method), known in of.items()
        if len(known) > 1
    ]


@claim(r"Not known: no kind of annotation has two ranked budgets with one method\.")
def no_curves(f: Facts) -> None:
    """There is none."""
    assert not curves(f)


@claim(r"How many images a score takes is not told: that needs 3 budgets\.")
def short(f: Facts) -> None:
    """There are curves, and none has three budgets."""
    assert curves(f)
    assert all(len(c.cells) < LEAST for c in curves(f))


@claim(
    r"With the largest budget hidden, the smaller ones foretold it within their 95 % "
    r"interval for "
    r"(?P<held>\d+) of (?P<n>\d+ curves?)\."
)
def back_test(f: Facts, held: str, n: str) -> None:
    """So many curves have three budgets; the largest is far from none that is counted as held."""
    long = [c for c in curves(f) if len(c.cells) >= LEAST]
    same(n, plural(len(long), "curve"))
    assert 0 <= int(held) <= len(long)


def _find(f: Facts, row: dict[str, Any]) -> Curve:
    buy = row.get("buy", row.get("annotation")).main
    [curve] = [c for c in curves(f) if noun(c.kind) == buy and c.method == row["method"].main]
    return curve


def means_line(curve: Curve, at: float) -> list[float]:
    """What each family, fitted to the means, has at a number of images."""
    x = np.log(curve.images)
    y = np.clip([cell.robust.mean for cell in curve.cells], 1e-4, 1 - 1e-4)
    power = 1 - math.exp(np.polyval(np.polyfit(x, np.log(1 - y), 1), math.log(at)))
    odds = np.polyval(np.polyfit(x, np.log(y / (1 - y)), 1), math.log(at))
    return [power, 1 / (1 + math.exp(-odds))]


@table("buy", "method", "for a robust AUROC of", "images")
def needed(f: Facts, of: Table) -> None:
    """How many images a target takes: within the horizon, and between the curve's own fits."""
    for row in map(record_of, of.records()):
        curve, target = _find(f, row), float(row["for a robust auroc of"].main)
        least, most = curve.images[0], HORIZON * curve.images[-1]
        text = row["images"].main + "".join(f" ({part})" for part in row["images"].more)
        if text.startswith("not told: "):
            p, _, end = text.removeprefix("not told: ").partition(
                " of the fits reach it with up to "
            )
            near_images(end.removesuffix(" images"), most)
            assert p == "below 0.01" or number(p) <= 0.5
        elif text.startswith("at most "):
            near_images(text.removeprefix("at most ").removesuffix(", the smallest budget"), least)
        else:
            median, _, ends = text.removeprefix("about ").removesuffix(")").partition(" (")
            low, _, high = ends.partition(" to ")
            at = [least if low.endswith("or fewer") else number(low), number(median)]
            at += [most if high.startswith("more than ") else number(high)]
            if low.endswith("or fewer"):
                near_images(low.removesuffix(" or fewer"), least)
            if high.startswith("more than "):
                near_images(high.removeprefix("more than "), most)
            assert least * 0.9 <= at[0] <= at[1] * 1.06, text
            assert at[1] <= at[2] * 1.06 <= most * 1.2, text
        assert 0.5 < target < 1


table("annotation", "method", "for a robust AUROC of", "images")(needed)


def near_images(text: str, value: float) -> None:
    """Images, to two digits above a hundred."""
    assert abs(number(text) - value) <= max(0.5, 0.051 * value), f"'{text}', not {value}"


@table("buy", "method", "beyond", "gain in robust AUROC", "training annotation")
def worth(f: Facts, of: Table) -> None:
    """What a hundred more raise and cost; refused beyond the horizon; all curves have a row."""
    assert len(of.rows) == len(curves(f))
    for row in map(record_of, of.records()):
        curve = _find(f, row)
        last = curve.images[-1]
        same(row["beyond"].main, f"{last:,.0f} images")
        entry = row["gain in robust auroc"]
        text = entry.main + (f" ({entry.below})" if entry.more else "")
        if last + MORE > HORIZON * last:
            same(text, "not told: beyond 2 times the largest budget")
        else:
            _gain(curve, text)
        items = [t.items["training"] for t in curve.cells[-1].trials]
        clicks = np.mean([sum(f.raw.prices[k] * n for k, n in each.items()) for each in items])
        click = f.raw.prices["seconds_per_click"] * f.raw.prices["wage_per_hour"] / 3600
        money(row["training annotation"].main, float(clicks) * click * MORE / last)


table("annotation", "method", "beyond", "gain in robust AUROC", "training annotation")(worth)


def _gain(curve: Curve, text: str) -> None:
    """The interval of the gain holds what both families say of the means themselves."""
    median, _, ends = text.removesuffix(")").partition(" (")
    low, _, high = ends.partition(" to ")
    assert number(low) <= number(median) <= number(high), text
    if not all(0.03 < cell.robust.mean < 0.97 for cell in curve.cells):
        return  # draws near 0 and 1 are not around the mean
    last = curve.images[-1]
    both = zip(means_line(curve, last), means_line(curve, last + MORE), strict=True)
    slack = 0.004 + 0.1 * (number(high) - number(low))
    for now, more in both:
        assert number(low) - slack <= more - now <= number(high) + slack, f"{text}: {more - now}"
