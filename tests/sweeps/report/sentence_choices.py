"""Claims of what to buy for a sum, and at which prices that changes; of pairs and orders."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats
from sentence_answer import not_inferior
from sentence_claims import (
    LIMIT,
    cell_of,
    claim,
    limits,
    money,
    near,
    number,
    plural,
    reason,
    record_of,
    same,
    share,
    spread,
    table,
)
from sentence_document import Table
from sentence_facts import Cell, Facts, noun
from sentence_statistics import Judged, Limits, judge

NOTHING = "no other ranked purchase with an interval costs so little"


def drawn(f: Facts) -> list[Cell]:
    """Ranked cells that are in the draws: two seeds or more with predictions of the same images."""
    if f.raw.tables["attainment"].empty and not _any_drawn(f):
        return []
    return [c for c in f.ranked if not math.isnan(c.dollars) and _drawn_seeds(c) >= 2]


def _drawn_seeds(cell: Cell) -> int:
    reads, values = cell.reads("robust_auroc"), cell.values("robust_auroc")
    return sum(reads[seed] is not None for seed in values)


def _any_drawn(f: Facts) -> bool:
    """Whether all readings of ranked cells are of the same images, and there are any."""
    of = [r.images for c in f.ranked for r in c.reads("robust_auroc").values() if r is not None]
    return bool(of) and len(set(of)) == 1


def named(f: Facts) -> list[Cell]:
    """Those of them that have an interval."""
    return [c for c in drawn(f) if c.robust.kind != "none"]


@claim(r"Not known: no ranked purchase has an interval\.")
def nothing_to_spend_on(f: Facts) -> None:
    """None of those that may be advised."""
    assert all(c.robust.kind == "none" for c in f.ranked)


@claim(r"Not known: ranked purchases were scored on different images, or are too many\.")
def not_drawn(f: Facts) -> None:
    """They have intervals, and no draws in common."""
    assert any(c.robust.kind != "none" for c in f.ranked)
    assert not _any_drawn(f)


@claim(r"Not known: the best purchase has no interval to compare others by\.")
def best_without(f: Facts) -> None:
    """It has none."""
    assert f.best is not None
    assert f.best.robust.kind == "none"


@claim(
    r"(?P<n>\d+ purchases?) without two seeds with stored predictions (?P<verb>is|are) in no draw\."
)
def undrawn(f: Facts, n: str, verb: str) -> None:
    """So many ranked cells are in none."""
    count = len(f.ranked) - len(drawn(f))
    same(n, plural(count, "purchase"))
    same(verb, "is" if count == 1 else "are")


@table("from", "buy", "robust AUROC", "P(best)", "expected regret", "highest that the sum reaches")
def spending(f: Facts, of: Table) -> None:
    """Each row is the affordable one with the highest mean; shares are those of the tables."""
    attained = f.raw.tables["attainment"]
    before, bought = -1.0, None
    for record in map(record_of, of.records()):
        cell = cell_of(f, record["buy"].main)
        same(record["buy"].main, cell.named)
        is_new = cell is not bought
        sum_ = cell.dollars if is_new else number(record["from"].main)
        money(record["from"].main, sum_)
        reached = [c for c in named(f) if c.dollars <= sum_ + 0.51 * (not is_new)]
        ordered = sorted(reached, key=lambda c: (-c.robust.mean, c.dollars))
        assert cell.robust.mean == ordered[0].robust.mean
        assert number(record["from"].main) >= before
        before, bought = number(record["from"].main), cell
        near(record["robust auroc"].main, cell.robust.mean)
        limits(record["robust auroc"].below, cell.robust)
        slack = 1e-7 if is_new else 0.51 if "." not in record["from"].main else 0.006
        rows = attained[np.isclose(attained["dollars"], sum_, rtol=1e-9, atol=slack)]
        rows = rows[rows["dollars"] == rows["dollars"].max()]
        mine = rows[(rows[["specificity", "budget", "method"]] == list(cell.key)).all(axis=1)]
        p = float(mine["best_probability"].sum())
        share(record["p(best)"].main, p)
        if is_new:
            _of_two(f, [c for c in drawn(f) if c.dollars <= cell.dollars], cell, p)
        if len(mine):
            near(record["expected regret"].main, float(mine["expected_regret"].iloc[0]))
        first = rows.iloc[0]
        near(record["highest that the sum reaches"].main, first["attained_median"])
        spread(
            record["highest that the sum reaches"].below,
            *(first["attained_low"], first["attained_high"]),
        )
        _runners_up(f, record["next, with its p(best)"].main, cell, ordered, rows)
    costs = [c.dollars for c in named(f)]
    if costs:
        money(of.rows[0][0].main, min(costs))


def _of_two(f: Facts, affordable: Sequence[Cell], cell: Cell, p: float) -> None:
    """Where a sum buys one of two, P(best) is near what their paired difference says."""
    if len(affordable) != 2 or not all(0.2 < c.robust.mean < 0.8 for c in affordable):
        return
    [other] = [c for c in affordable if c is not cell]
    of = f.difference(other, cell)
    if of.kind == "two-sided" and not math.isnan(of.se):
        expected = float(stats.norm.cdf(of.mean / of.se))
        assert abs(p - expected) < 0.15, f"P(best) {p}, of two {expected:.2f}"


def _runners_up(f: Facts, text: str, cell: Cell, ordered: Sequence[Cell], rows: object) -> None:
    parts = [] if text == NOTHING else text.split("; ")
    left = 1.0 - float(rows["best_probability"].sum())  # type: ignore[index]
    if parts and parts[-1].startswith("purchases without an interval ("):
        share(parts.pop().removeprefix("purchases without an interval (").removesuffix(")"), left)
        assert left >= 0.005 - 1e-9
    else:
        assert left < 0.005 + 1e-9
    others = [c for c in ordered if c is not cell]
    assert len(parts) == min(1, len(others)), f"'{text}': {[c.name for c in others]}"
    for part in parts:
        name, _, p = part.removesuffix(")").rpartition(" (")
        other = cell_of(f, name)
        assert other.robust.mean == others[0].robust.mean
        key = (rows[["specificity", "budget", "method"]] == list(other.key)).all(axis=1)  # type: ignore[index]
        share(p, float(rows[key]["best_probability"].sum()))  # type: ignore[index]


@claim(r"Not known: no ranked purchase has an interval to compare by\.")
def no_flips(f: Facts) -> None:
    """Nothing is drawn, or the chosen one is not."""
    assert f.best is None or chosen(f) not in drawn(f)


def rivals(f: Facts) -> list[Cell]:
    """The best and all that are not inferior to it."""
    assert f.best is not None
    return [f.best, *(c for c, _ in not_inferior(f))]


def chosen(f: Facts) -> Cell:
    """The cheapest of them; the best where none is cheaper."""
    of = rivals(f)
    cheapest = min(of, key=lambda c: (c.dollars, -c.robust.mean))
    return cheapest if cheapest.dollars < of[0].dollars else of[0]


@claim(
    r"No price changes the choice: nothing else is shown to be at most (?P<margin>\S+) "
    r"below (?P<cell>.+)\."
)
def no_rivals(f: Facts, margin: str, cell: str) -> None:
    """Nothing but the best is not inferior."""
    assert float(margin) == f.raw.margin
    assert rivals(f) == [cell_of(f, cell)]


@claim(
    r"(?P<cell>[A-Z].+) is the cheapest of (?P<n>\d+ purchases) that are not inferior "
    r"by more than "
    r"(?P<margin>[\d.]+?)(?P<never>, and stays so at any value of any single price)?\."
)
def the_cheapest(f: Facts, cell: str, n: str, margin: str, never: str | None) -> None:
    """So many are not inferior, and none costs less."""
    assert float(margin) == f.raw.margin
    mine = cell_of(f, cell)
    assert mine is chosen(f) or mine.dollars == chosen(f).dollars
    same(n, plural(len(rivals(f)), "purchase"))
    if never:
        assert not [name for name in f.raw.prices if flips(f, name) != (None, None)]


def lines(f: Facts, cell: Cell, name: str) -> tuple[float, float]:
    """Dollars of a cell as a price is 0, and what a unit of it adds."""

    def at(value: float) -> float:
        prices = {**f.raw.prices, name: value}
        click = prices["seconds_per_click"] * prices["wage_per_hour"] / 3600
        total = 0.0
        for part in f.raw.axis:
            if part == "compute":
                total += float(np.nan_to_num(np.mean(cell.of_price("compute"))))
                continue
            of = [sum(prices[k] * n for k, n in t.items[part].items()) for t in cell.trials]
            total += click * float(np.mean(of))
        return total

    return at(0.0), at(1.0) - at(0.0)


def flips(f: Facts, name: str) -> tuple[float | None, float | None]:
    """Where another of those that are not inferior gets as cheap, below and above a price."""
    mine, now = chosen(f), f.raw.prices[name]
    start, slope = lines(f, mine, name)
    low, high = [], []
    for other in rivals(f):
        if other is mine:
            continue
        begin, rise = lines(f, other, name)
        if abs(rise - slope) <= 1e-9 * max(abs(rise), abs(slope)):
            continue
        equal = (start - begin) / (rise - slope)
        if rise < slope and equal >= now:
            high.append(equal)
        if rise > slope and 0 <= equal <= now:
            low.append(equal)
    return max(low, default=None), min(high, default=None)


@table("price", "now", "not below", "below it", "not above", "above it", "unit")
def flip_table(f: Facts, of: Table) -> None:
    """Each price with the values at which a rival is as cheap, and that rival."""
    shown = set()
    for record in map(record_of, of.records()):
        name = record["price"].main
        shown.add(name)
        assert float(record["now"].main) == float(f"{f.raw.prices[name]:g}")
        for at, side in zip(flips(f, name), ("below", "above"), strict=True):
            text, rival = record[f"not {side}"].main, record[f"{side} it"].main
            if at is None:
                assert (text, rival) == ("\N{EN DASH}", "")
                continue
            assert float(text) == float(f"{at:.3g}"), f"{text}, the tables say {at}"
            other = cell_of(f, rival)
            mine = chosen(f)
            prices = (lines(f, c, name) for c in (mine, other))
            costs = [start + slope * at for start, slope in prices]
            assert math.isclose(*costs, rel_tol=1e-6, abs_tol=1e-6)
            assert other in rivals(f)
            assert other is not mine
    left = [name for name in f.raw.prices if name not in shown and flips(f, name) != (None, None)]
    assert not left, f"{left} change the choice, too"


@claim(
    r"Drawn as polygons, this dataset's masks take a median of (?P<two>\S+) vertices "
    r"at a tolerance of 2 "
    r"pixels, (?P<five>\S+) at 5 \((?P<n>[\d,]+ images?) with a mask\); the price "
    r"table has (?P<now>\S+) "
    r"clicks? a mask\."
)
def outlines(f: Facts, two: str, five: str, n: str, now: str) -> None:
    """As counted."""
    of = f.raw.others["outlines"]
    assert (float(two), float(five)) == (of["vertices_2px"], of["vertices_5px"])
    same(n, plural(of["images"], "image"))
    assert float(now) == f.raw.prices["mask"]


@claim(
    r"At that many clicks a mask the choice would be (?P<one>.+) \((?P<a>\$[\d.,]+)\) "
    r"at 2 pixels and "
    r"(?P<two>.+) \((?P<b>\$[\d.,]+)\) at 5 pixels\."
)
def at_vertices(f: Facts, one: str, a: str, two: str, b: str) -> None:
    """The cheapest of the rivals at those clicks."""
    of = f.raw.others["outlines"]
    for name, dollars, clicks in ((one, a, "vertices_2px"), (two, b, "vertices_5px")):
        costs = {}
        for cell in rivals(f):
            start, slope = lines(f, cell, "mask")
            costs[cell.key] = start + slope * of[clicks]
        cell = cell_of(f, name)
        assert costs[cell.key] <= min(costs.values()) + 1e-9
        money(dollars, costs[cell.key])


def orders(f: Facts, pairs: Sequence[tuple[Cell, Cell]]) -> list[Judged]:
    """Judge all pairs of a table together."""
    return judge([f.difference(low, high) for low, high in pairs])


def verdict(text: str, judged: Judged, above: str, below: str, images: int) -> None:
    """What is printed of an order is what the differences say."""
    if judged.verdict != "open":
        same(text, above if judged.verdict == "above" else below)
        return
    assert text.startswith("not decided ("), f"'{text}', p is {judged.p}"
    needed(text.removeprefix("not decided (").removesuffix(")"), judged, images)


def needed(why: str, judged: Judged, images: int) -> None:
    """What would decide an order, up to a seed, or a share of the images."""
    if judged.difference.kind == "none":
        reason(why.removeprefix("no interval: "), judged.difference.reason)
    elif judged.difference.low > 0 or judged.difference.high < 0:
        same(why, "decided alone, not with the table's correction")
    elif not math.isnan(judged.seeds):
        words = why.removeprefix("alone it ").split()
        assert (words[:3], words[4]) == (["would", "need", "about"], "seeds"), why
        assert abs(int(words[3]) - judged.seeds) <= 1, f"{why}: {judged.seeds}"
    elif not math.isnan(judged.times):
        if "neither" in why:  # a limit of rounding
            assert judged.times > 1e3
            return
        words = why.removeprefix("alone it ").split()
        assert words[4].startswith("image"), f"{why}: {judged.times * images}"
        wanted = judged.times * images
        assert abs(number(words[3]) - wanted) <= 1 + 0.05 * wanted, f"{why}: {wanted}"
    else:
        same(why, "neither seeds nor images would decide a difference of this size")


def difference(text: str, of: Limits) -> None:
    """A mean with its interval, where there is one."""
    if not of.seeds:
        same(text, "\N{EN DASH}")
        return
    mean, _, more = text.partition(" (" if " (" in text else ", no interval: ")
    near(mean, of.mean)
    if of.kind == "none":
        if more:
            reason(more, of.reason)
    else:
        spread(more.removesuffix(")"), of.low, of.high, LIMIT)


@table("images", "method", "masks minus boxes", "verdict")
def settled(f: Facts, of: Table) -> None:
    """Boxes against masks of the same images and method."""
    kinds: dict[tuple[str, str], dict[str, Cell]] = {}
    for cell in f.ranked:
        kinds.setdefault(cell.key[1:], {})[cell.key[0].partition("=")[0]] = cell
    pairs = [(k["box"], k["mask"]) for k in kinds.values() if {"box", "mask"} <= k.keys()]
    assert len(pairs) == len(of.rows)
    for record, (box, mask), judged in zip(of.records(), pairs, orders(f, pairs), strict=True):
        row = record_of(record)
        same(row["images"].main.replace(",", ""), mask.key[1])
        same(row["method"].main, mask.key[2])
        entry = row["masks minus boxes"]
        difference(entry.main + (f" ({entry.below})" if entry.more else ""), judged.difference)
        verdict(row["verdict"].main, judged, "masks are above", "boxes are above", box.robust.count)


@table("buy", "images", "method", "against", "robust AUROC", "verdict", "overall AUROC")
def against_erm(f: Facts, of: Table) -> None:
    """Other methods minus ERM on the same annotation."""
    pairs = [
        (erm, other)
        for erm in f.ranked
        if erm.key[2] == "erm"
        for other in f.ranked
        if other.key[:2] == erm.key[:2] and other is not erm
    ]
    assert len(pairs) == len(of.rows)
    for record, (erm, one), judged in zip(of.records(), pairs, orders(f, pairs), strict=True):
        row = record_of(record)
        same(row.get("buy", row.get("annotation")).main, noun(one.key[0]))  # type: ignore[union-attr]
        same(row["method"].main, one.named.rpartition("trained with ")[2])
        same(row["against"].main, erm.named.rpartition("trained with ")[2])
        for name, what in (
            ("robust auroc", judged.difference),
            ("overall auroc", f.difference(erm, one, "auroc")),
        ):
            entry = row[name]
            difference(entry.main + (f" ({entry.below})" if entry.more else ""), what)
        verdict(row["verdict"].main, judged, "above", "below", erm.robust.count)


table("annotation", "images", "method", "against", "robust AUROC", "verdict", "overall AUROC")(
    against_erm
)
