"""Claims of published numbers beside measured ones."""

from __future__ import annotations

import itertools
import math
import re
from typing import Any

from sentence_choices import needed, orders
from sentence_claims import LIMIT, cell_of, claim, near, number, plural, same
from sentence_facts import Cell, Facts

MOST = 6
METRICS = {"robust AUROC": "robust_auroc", "overall AUROC": "auroc"}
Pair = tuple[Cell, Cell, Any, Any]


def pairs(f: Facts, words: str, where: str) -> list[Pair] | None:
    """Pairs of measured cells that a paper orders, the lower first; None of other metrics."""
    metric = METRICS.get(words)
    [table] = [t for t in f.raw.others["published"] if t.where == where]
    if metric is None or table.epoch is not None or len(table.metrics) > 1:
        return None
    matched = []
    for cell in f.cells:
        kind, budget, method = cell.key
        coarse = "box" if kind.startswith("box") else kind
        base = method.partition("(")[0]
        for v in table.values:
            fits = v.metric == metric and v.specificity == coarse
            if fits and v.budget in (None, budget) and v.method in (None, base):
                if cell.values(metric):
                    matched.append((cell, v))
                break
    found = []
    for (one, v), (other, w) in itertools.combinations(matched, 2):
        places = [v.rank or v.mean, w.rank or w.mean]
        if places[0] != places[1]:
            low = (one, other, v, w) if places[0] < places[1] else (other, one, w, v)
            found.append(low)
    return found


ORDER = (
    r"(?P<n>\d+ pairs?) of cells (?P<verb>has|have) an order by (?P<words>.+) in (?P<where>.+)\."
)


@claim(ORDER)
def counted(f: Facts, n: str, verb: str, words: str, where: str) -> None:
    """So many pairs have an order in the paper and are measured."""
    found = pairs(f, words, where)
    if found is not None:
        same(n, plural(len(found), "pair"))
    same(verb, "has" if n == "1 pair" else "have")


def _known(f: Facts) -> list[Pair] | None:
    tables = f.raw.others["published"]
    if len(tables) != 1 or tables[0].metrics != ("robust_auroc",):
        return None
    return pairs(f, "robust AUROC", tables[0].where)


@claim(
    r"By paired differences, with Holm's correction within the table: confirmed "
    r"(?P<yes>\d+), contradicted "
    r"(?P<no>\d+), not decided (?P<open>\d+)\."
)
def verdicts(f: Facts, yes: str, no: str, open: str) -> None:
    """By Holm's rule over the table."""
    found = _known(f)
    if found is not None:
        of = [j.verdict for j in orders(f, [(low, high) for low, high, _, _ in found])]
        assert [int(yes), int(no), int(open)] == [of.count(v) for v in ("above", "below", "open")]


@claim(r"Not decided: (?P<pairs>.+)\.")
def undecided(f: Facts, pairs: str) -> None:
    """Those pairs, with what would decide them."""
    parts = re.split(r"; (?=(?:labels|boxes|masks|one box|coarse masks|\d+ more))", pairs)
    found = _known(f)
    more = int(parts.pop().split()[0]) if re.fullmatch(r"\d+ more", parts[-1]) else 0
    assert len(parts) <= MOST
    if found is None:
        return
    judged = orders(f, [(low, high) for low, high, _, _ in found])
    open_ = [(p, j) for p, j in zip(found, judged, strict=True) if j.verdict == "open"]
    assert len(parts) + more == len(open_)
    for part, ((low, high, _, _), j) in zip(parts, open_, strict=False):
        text = f"{high.named} above {low.named} ("
        assert part.startswith(text), f"'{part}', expected '{text}'"
        needed(part.removeprefix(text).removesuffix(")"), j, low.robust.count)


@claim(
    r"(?P<low>[A-Z].+): measured (?P<words>.+?) (?P<a>[\d.]+), above (?P<b>[\d.]+) of "
    r"(?P<high>.+); the "
    r"paired difference is (?P<mean>\S+) \(95 % interval (?P<from>\S+) to (?P<to>\S+)\)\."
)
def reversal(f: Facts, **said: str) -> None:
    """The measured order is the other way round, with an interval that excludes 0."""
    low, high = cell_of(f, said["low"]), cell_of(f, said["high"])
    assert number(said["mean"]) > 0
    if said["words"] != "robust AUROC":
        return
    near(said["a"], low.robust.mean)
    near(said["b"], high.robust.mean)
    of = f.difference(low, high)
    near(said["mean"], -of.mean)
    near(said["from"], -of.high, LIMIT)
    near(said["to"], -of.low, LIMIT)
    assert -of.high > 0


@claim(
    r"(?P<where>.+) has it the other way round(: (?P<a>\S+)( ± \S+)? below (?P<b>\S+)( "
    r"± \S+)?(, where the "
    r"paper's own 95 % intervals overlap)?|, without numbers)\."
)
def other_way(f: Facts, where: str, a: str | None, b: str | None) -> None:
    """The paper's numbers."""
    assert where in [t.where for t in f.raw.others["published"]]
    assert a is None or b is None or number(a) <= number(b)


@claim(r"In this sweep and not in (?P<where>.+): (?P<names>.+)\.")
def alone(f: Facts, where: str, names: str) -> None:
    """Cells that no published number covers."""
    [table] = [t for t in f.raw.others["published"] if t.where == where][:1]
    shown = {f.named[name].key for name in names.split("; ")}
    for cell in f.cells:
        coarse = "box" if cell.key[0].startswith("box") else cell.key[0]
        base = cell.key[2].partition("(")[0]
        is_covered = any(
            v.specificity == coarse and v.budget in (None, cell.key[1]) and v.method in (None, base)
            for v in table.values
        )
        assert is_covered != (cell.key in shown), cell.name


@claim(r"The published numbers are of (?P<one>\S+), this sweep is on (?P<other>\S+)\.")
def other_data(f: Facts, one: str, other: str) -> None:
    """They are of different datasets."""
    assert one != other == f.trials[0].row["dataset"]


@claim(
    r"Judged at (?P<epoch>.+) \('(?P<rule>.+)'\), as the paper does, whatever the rule of "
    r"this report\."
)
def judged_at(f: Facts, epoch: str, rule: str) -> None:
    """The table's own rule."""
    assert rule in [str(t.epoch) for t in f.raw.others["published"]]
    assert (epoch == "the last epoch") == (rule == "last")


@claim(
    r"SIIM-ACR's robust AUROC rests on 85 negatives and 66 positives: a 95 % "
    r"half-width of 0\.066 at an "
    r"AUROC of 0\.82 for one model, wider than the spreads that the paper prints\."
)
def siim(f: Facts) -> None:
    """By Hanley and McNeil's variance of an AUROC of 0.82 with 66 positives and 85 negatives."""
    a, m, n = 0.82, 66, 85
    q1, q2 = a / (2 - a), 2 * a * a / (1 + a)
    variance = (a * (1 - a) + (m - 1) * (q1 - a * a) + (n - 1) * (q2 - a * a)) / (m * n)
    assert math.isclose(1.96 * math.sqrt(variance), 0.066, abs_tol=0.006)
