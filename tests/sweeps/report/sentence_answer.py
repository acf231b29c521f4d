"""Claims of the answer."""

from __future__ import annotations

import math

from sentence_claims import (
    LIMIT,
    cell_of,
    claim,
    figures,
    money,
    near,
    number,
    same,
    share,
)
from sentence_facts import ABOVE, Cell, Facts
from sentence_statistics import Limits

CHOSEN = "not chosen on validation"


@claim(
    r"(?P<cell>[A-Z].+?), reached the highest mean robust AUROC of the (?P<n>\d+) purchases "
    r"compared: (?P<numbers>.+), for (?P<dollars>\S+) of (?P<what>[a-z ]+)\."
)
def best_of_many(f: Facts, cell: str, n: str, numbers: str, dollars: str, what: str) -> None:
    """No ranked purchase has a higher mean."""
    assert int(n) == len(f.ranked) > 1
    _headline(f, cell, numbers, dollars, what)


@claim(
    r"(?P<cell>[A-Z].+?), is the only (?P<why>ranked purchase|purchase)(?P<more> [^;]+)?; its mean "
    r"robust AUROC: (?P<numbers>.+), for (?P<dollars>\S+) of (?P<what>[a-z ]+)\."
)
def only_one(
    f: Facts, cell: str, why: str, more: str, numbers: str, dollars: str, what: str
) -> None:
    """Nothing else is ranked, for the reason that is said."""
    assert len(f.ranked) == 1
    finished = [c for c in f.cells if c.trials]
    ranked = [c for c in finished if f.reasons[c.key] is None]
    more = (more or "").strip()
    if more == "with a result so far":
        assert len(finished) == 1
    elif more == "with a defined robust AUROC":
        of = ranked if why == "ranked purchase" else finished
        assert sum(bool(c.values("robust_auroc")) for c in of) == 1
    elif more == f"that is {ABOVE}":
        assert len(ranked) == 1
        assert not any((f.reasons[c.key] or "").startswith(CHOSEN) for c in finished)
    else:
        same(more, f"that is {ABOVE} and was chosen on validation")
        assert len(ranked) == 1
    _headline(f, cell, numbers, dollars, what)


def _headline(f: Facts, cell: str, numbers: str, dollars: str, what: str) -> None:
    named = cell_of(f, cell)
    assert f.best is not None
    assert named.robust.mean == f.best.robust.mean == max(c.robust.mean for c in f.ranked)
    assert named.dollars <= f.best.dollars or math.isnan(named.dollars)
    figures(f, named, numbers)
    money(dollars, named.dollars)
    bought = ["annotation"] if set(f.raw.axis) - {"compute"} else []
    same(what, " and ".join(bought + ["compute"] * ("compute" in f.raw.axis)))


@claim(
    r"No purchase (?P<why>[^,]+), so nothing can be recommended; the reasons are "
    r"(?P<at>\w+) below\."
)
def nothing(f: Facts, why: str, at: str) -> None:
    """Nothing is ranked."""
    assert not f.ranked
    finished = [c for c in f.cells if c.trials]
    defined = [c for c in finished if c.values("robust_auroc")]
    if why == "has a defined robust AUROC yet":
        assert not defined
    elif why == f"is {ABOVE}":
        assert all(f.reasons[c.key] and not f.reasons[c.key].startswith(CHOSEN) for c in finished)
    else:
        same(why, "with a defined robust AUROC is ranked")
        assert defined
        assert all(f.reasons[c.key] for c in defined)


def best(f: Facts) -> Cell:
    assert f.best is not None
    return f.best


@claim(r"One seed gives no interval, so any difference may be chance\.")
def one_seed(f: Facts) -> None:
    """The best one has one seed."""
    assert len(best(f).robust.seeds) == 1


@claim(r"Without an interval no cheaper alternative is named\.")
def no_interval(f: Facts) -> None:
    """The best one has several seeds and no interval."""
    assert len(best(f).robust.seeds) > 1
    assert best(f).robust.kind == "none"


@claim(r"That interval is wider than 0\.5: no cheaper alternative is named\.")
def wide(f: Facts) -> None:
    """The best one may be anything."""
    assert best(f).robust.width > 0.5


def not_inferior(f: Facts) -> list[tuple[Cell, Limits]]:
    """Others whose lower limit of the difference to the best is above minus the margin."""
    top = best(f)
    if not top.robust.width <= 0.5:
        return []
    of = [(c, f.difference(top, c)) for c in f.ranked if c is not top]
    return [(c, d) for c, d in of if d.low > -f.raw.margin]


@claim(
    r"No cheaper one is shown to be at most (?P<margin>\S+) lower"
    r"(?:; the likeliest is (?P<cell>.+), for (?P<dollars>\S+), with a probability of (?P<p>.+))?\."
)
def none_cheaper(
    f: Facts, margin: str, cell: str | None, dollars: str | None, p: str | None
) -> None:
    """No cheaper purchase is not inferior; of the others the likeliest is named."""
    assert float(margin) == f.raw.margin
    top = best(f)
    assert not [c for c, _ in not_inferior(f) if c.dollars < top.dollars - 1e-9]
    cheaper = [c for c in f.ranked if c.dollars < top.dollars]
    known = {c.key: f.own(c, "non_inferior_probability") for c in cheaper}
    known = {key: value for key, value in known.items() if not math.isnan(value)}
    assert (cell is not None) == bool(known)
    if cell and dollars and p:
        named = cell_of(f, cell)
        assert known[named.key] == max(known.values())
        money(dollars, named.dollars)
        share(p, known[named.key])


@claim(
    r"The cheapest purchase that is not inferior to it by more than (?P<margin>\S+) is "
    r"(?P<cell>.+?), "
    r"for (?P<dollars>\$\S+): (?P<numbers>.+)\."
)
def cheapest(f: Facts, margin: str, cell: str, dollars: str, numbers: str) -> None:
    """None that is not inferior costs less."""
    assert float(margin) == f.raw.margin
    chosen, equals = cell_of(f, cell), [c for c, _ in not_inferior(f)]
    assert chosen in equals
    assert chosen.dollars < best(f).dollars
    assert chosen.dollars <= min(c.dollars for c in equals) + 1e-9
    money(dollars, chosen.dollars)
    figures(f, chosen, numbers)


@claim(
    r"Paired by seed on the same images it differs by (?P<mean>\S+) \(95 % interval "
    r"(?P<low>\S+) to "
    r"(?P<high>\S+)\)\."
)
def paired(f: Facts, mean: str, low: str, high: str) -> None:
    """The difference of the cheapest of those that are not inferior."""
    of = min(not_inferior(f), key=lambda pair: (pair[0].dollars, -pair[0].robust.mean))[1]
    near(mean, of.mean)
    near(low, of.low, LIMIT)
    near(high, of.high, LIMIT)
    assert number(low) > -f.raw.margin - 6e-4
