"""Claims of what limits the answer."""

from __future__ import annotations

import math
import re

from sentence_answer import CHOSEN, best
from sentence_claims import (
    LIMIT,
    cell_of,
    claim,
    names,
    near,
    plural,
    reason,
    same,
    share,
)
from sentence_facts import Facts


@claim(r"ORACLE: the epochs were chosen with the rule '(?P<rule>.+)', which reads the test split\.")
def oracle(f: Facts, rule: str) -> None:
    """Some rule reads the test split."""
    assert rule.startswith("best test.")
    same(rule, ", ".join(sorted({t.rule for t in f.trials if "test." in t.rule})))


@claim(
    r"(?P<methods>.+) (?P<verb>is|are) given the groups of the training images, for which spurious "
    r"labels are bought\."
)
def groups(f: Facts, methods: str, verb: str) -> None:
    """These methods, and no others."""
    of = sorted({c.key[2] for c in f.cells if c.oracle})
    same(methods, ", ".join(of))
    same(verb, "is" if len(of) == 1 else "are")
    mine = [t for t in f.trials if t.key[2] in of]
    assert all(t.items["spurious_labels"]["spurious_label"] > 0 for t in mine)


@claim(
    r"That is not a limit for methods without them(?:: on the same annotation a mean "
    r"without them is "
    r"above one with them in (?P<n>\d+ pairs?), e\.g\. (?P<one>.+?), (?P<mean>[01]\.\d\d)"
    r"(?P<holes>, without [^.]+?)?, above (?P<other>.+?), (?P<below>[01]\.\d\d)(?P<gone>, "
    r"without .+)?)?\."
)
def no_bound(f: Facts, **said: str) -> None:
    """How many pairs are the other way round, and one of them."""
    pairs = [
        (a, b)
        for a in f.ranked
        for b in f.ranked
        if a.key[:2] == b.key[:2] and b.oracle and not a.oracle and a.robust.mean > b.robust.mean
    ]
    if said["n"] is None:
        assert not pairs
        return
    same(said["n"], plural(len(pairs), "pair"))
    one = cell_of(f, said["one"])
    near(said["mean"], one.robust.mean)
    [other] = [b for a, b in pairs if a is one and b.key[2] == said["other"]]
    near(said["below"], other.robust.mean)
    same(said["holes"] or "", one.named.removeprefix(one.name))
    same(said["gone"] or "", other.named.removeprefix(other.name))


@claim(
    r"(?P<n>\d+ purchases?) of (?P<all>\d+) (?P<verb>is|are) not shown to have learned the "
    r"abnormality, and (?P<again>is|are) neither ranked nor on the "
    r"frontier: (?P<names>.+)\."
)
def unranked(f: Facts, n: str, all: str, verb: str, again: str, names: str) -> None:
    """Those that the gate keeps from being an answer, with why."""
    lost = [c for c in f.cells if (why := f.reasons[c.key]) and not why.startswith(CHOSEN)]
    same(n, plural(len(lost), "purchase"))
    assert int(all) == len(f.cells)
    same(verb, "is" if len(lost) == 1 else "are")
    same(again, verb)
    for part, cell in zip(_names(f, names, lost), lost, strict=False):
        reason(part.removeprefix(f"{cell.name} (").removesuffix(")"), f.reasons[cell.key] or "")


_names = names


@claim(
    r"Provisional: (?P<n>\d+) of (?P<all>[\d,]+ planned trials?) (?P<verb>has|have) no result"
    r"(?P<unequal>, so purchases rest on unequal numbers of seeds)?\."
)
def provisional(f: Facts, n: str, all: str, verb: str, unequal: str | None) -> None:
    """Trials lack, and purchases have as many seeds, or not."""
    assert int(n) == len(f.unfinished) > 0
    same(all, plural(len(f.raw.planned), "planned trial"))
    same(verb, "has" if int(n) == 1 else "have")
    assert (unequal is not None) == (len({len(c.trials) for c in f.cells}) > 1)


@claim(
    r"(?P<n>\d+ finished trials?) (?P<verb>has|have) no defined robust AUROC; left out "
    r"of every mean, "
    r"never counted as 0\."
)
def undefined(f: Facts, n: str, verb: str) -> None:
    """So many finished trials lack it."""
    count = sum(math.isnan(t.values["test.robust_auroc"]) for t in f.trials)
    same(n, plural(count, "finished trial"))
    same(verb, "has" if count == 1 else "have")


@claim(r"No ranked purchase does better than chance \(0\.5\) on average\.")
def at_chance(f: Facts) -> None:
    """The best of the ranked is at chance at most."""
    assert all(c.robust.mean <= 0.5 for c in f.ranked)


@claim(r"The best purchase's interval includes 0\.5, which is chance\.")
def includes_chance(f: Facts) -> None:
    """It does."""
    assert best(f).robust.low <= 0.5 + LIMIT < best(f).robust.mean + LIMIT
    assert best(f).robust.high >= 0.5


@claim(
    r"The best of (?P<n>\d+) is picked by the numbers that are shown, so it tends to "
    r"look better than "
    r"it will be; confirm it with new seeds before spending\."
)
def picked(f: Facts, n: str) -> None:
    """So many are ranked."""
    assert int(n) == len(f.ranked) > 1


@claim(r"It is the best with a probability of (?P<p>.+)\.")
def best_probability(f: Facts, p: str) -> None:
    """As the report's table of cells has it, which sums to what all together can be."""
    share(p, f.own(best(f), "best_probability"))
    known = f.raw.tables["cells"]["best_probability"].dropna()
    assert known.sum() <= 1 + 1e-9


@claim(
    r"(?P<most>At most )?(?P<n>\d seeds) per purchase are few: where training differs "
    r"much from seed "
    r"to seed, 95 % intervals of 3 seeds held the truth in 91 to 95 % of simulations\."
)
def few_seeds(f: Facts, most: str | None, n: str) -> None:
    """Two to four seeds are the most that a ranked purchase has."""
    of = [len(c.robust.seeds) for c in f.ranked]
    assert 2 < max(of) < 5
    same(n, plural(max(of), "seed"))
    assert (most is not None) == (min(of) < max(of))


@claim(
    r"An AUROC near 0 or 1 on few images has an interval that is somewhat too narrow "
    r"\(91 to 95 % in "
    r"simulations\): (?P<names>.+)\."
)
def weak(f: Facts, names: str) -> None:
    """Means of 0.95 or more, or 0.05 or less, on at most 20 patients of the rarer class."""
    few = [c for c in f.ranked if c.robust.kind == "two-sided" and c.robust.cases <= 20]
    beyond = {c.key: abs(c.robust.mean - 0.5) - 0.45 for c in few}
    of = [c for c in few if beyond[c.key] > 1e-9 or (beyond[c.key] > -1e-9 and c.name in names)]
    for part, cell in zip(_names(f, names, of), of, strict=False):
        same(part, cell.named)


@claim(r"The trials ran with different software versions; see the provenance\.")
def versions(f: Facts) -> None:
    """They did."""
    assert len({t.row["versions"] for t in f.trials}) > 1


@claim(
    r"(?P<n>\d+ purchases?) are (?P<grids>\d+ grids?) of (?P<of>.+): one of each is "
    r"ranked, that with "
    r"the highest mean AUROC on validation over the seeds that all have, by "
    r"(?P<trials>\d+ trials?) in "
    r"all(?:; (?P<ties>\d+) lost to an equal value that comes first)?\."
)
def tuned(f: Facts, n: str, grids: str, of: str, trials: str, ties: str | None) -> None:
    """How many values of how many grids were tried."""
    known = f.raw.others["grids"]
    keys = [key for grid in known for key in grid]
    same(n, plural(len(keys), "purchase"))
    same(grids, plural(len(known), "grid"))
    same(of, " and ".join(f.raw.others["tune"]))
    same(trials, plural(sum(t.key in keys for t in f.trials), "trial"))
    count = sum(why.endswith("which comes first") for why in f.not_chosen.values())
    assert int(ties or 0) == count


@claim(r"All of a grid share one annotation, which is the price\.")
def same_price(f: Facts) -> None:
    """Purchases of a grid cost the same."""
    assert not _price_differs(f)


@claim(r"Values differ in price, and whoever tries all of them pays more than for the one ranked\.")
def other_price(f: Facts) -> None:
    """Some of a grid costs more."""
    assert _price_differs(f)


def _price_differs(f: Facts) -> bool:
    differ = []
    for grid in f.raw.others["grids"]:
        known = [c.dollars for c in f.cells if c.key in grid and c.trials]
        differ.append(max(known) - min(known) if known else 0.0)
    return max(differ) > 0.005


EVENTS = {
    "the metric that was to choose an epoch is undefined in all of them, so the first "
    "one was kept; do "
    "not read these numbers": "undefined",
    "the images that chose the epoch are of one class, so the choice judged one kind of "
    "error alone": "one-sided",
    "the metric that chose the epoch is the same in every epoch, so the first one was "
    "kept": "constant",
    "training diverged: the loss is far above that of a constant predictor; lower the "
    "learning rate": "diverged",
    "the model never moved: its weights, its losses or its scores stayed the same; raise "
    "the learning "
    "rate": "never",
}


@claim(
    r"(?P<method>[\w-]+(?:\(.+?\))?), (?P<n>\d+) of (?P<all>\d+ trials?) \((?P<names>.+)\): "
    r"(?P<what>the (?:metric|images|model) .+|training .+)\."
)
def event(f: Facts, method: str, n: str, all: str, names: str, what: str) -> None:
    """So many trials of a method have it, and these purchases."""
    mine = [t for t in f.trials if t.key[2] == method]
    having = [t for t in mine if EVENTS[what] in _events(f, t)]
    assert int(n) == len(having), f"{n}, the tables say {len(having)}"
    same(all, plural(len(mine), "trial"))
    cells = [c for c in f.cells if any(t.key == c.key for t in having)]
    parts = names.split("; ")
    if len(cells) > 4:
        same(parts.pop(), f"{len(cells) - 4} more")
    for part, cell in zip(parts, cells, strict=False):
        same(part, cell.name.rpartition(", trained")[0])


def _events(f: Facts, trial: object) -> set[str]:
    """What is odd about a trial's training, from its curves."""
    from sentence_events import events_of

    return events_of(f, trial)


@claim(r"(?P<n>\d+ results?) (?P<verb>is|are) damaged and left out: (?P<names>.+)\.")
def damaged(f: Facts, n: str, verb: str, names: str) -> None:
    """The damaged ones, the first by name."""
    of = f.raw.others["damaged"]
    same(n, plural(len(of), "result"))
    same(verb, "is" if len(of) == 1 else "are")
    shown = [f"{label} ({why})" for label, why in list(of.items())[:4]]
    same(names, "; ".join(shown + ([f"{len(of) - 4} more"] if len(of) > 4 else [])))


@claim(
    r"(?P<n>\d+) of (?P<all>\d+ results?) cannot be verified: written before results "
    r"had checksums, so "
    r"damage to their numbers would not be seen\."
)
def unverified(f: Facts, n: str, all: str) -> None:
    """So many have none."""
    assert int(n) == f.raw.others["unverified"]
    same(all, plural(len(f.trials), "result"))


@claim(r"Synthetic images \((?P<what>.+)\): no number here is about patients\.")
def synthetic(f: Facts, what: str) -> None:
    """What drew them."""
    same(what, str(f.raw.others["synthetic"]))


@claim(r"(?P<tables>.+) is of real images: not a comparison\.")
def of_real(f: Facts, tables: str) -> None:
    """Synthetic images beside a paper's."""
    assert f.raw.others["synthetic"] is not None
    same(tables, " and ".join(f.raw.others["papers"]))
    assert re.search(r"\w", tables)


@claim(r"2 seeds per purchase give no interval, which needs 3: any difference may be chance\.")
def two_seeds(f: Facts) -> None:
    """No ranked purchase has more than two, and none an interval."""
    assert max(len(c.robust.seeds) for c in f.ranked) == 2
    assert all(c.robust.kind == "none" for c in f.ranked)


OTHERS = {
    "a group of label and spurious attribute has no image among those whose groups the method is "
    "told, so it cannot protect that group": "absent_groups",
    "nearly all images of a class count as errors of the first model, so the method is little else "
    "than ERM on balanced classes": "jtt_wrong_classes",
    "the good explanation has no more of its strongest pixels in the region than the bad one, so "
    "that the pair says little; name other examples, or train the first model "
    "longer": "exemplars_alike",
    "the first model has no error on its training images, so that the method is plain ERM there; "
    "lower first_epochs or raise first_weight_decay": "jtt_errors_y",
}


@claim(
    r"(?P<method>[\w-]+(?:\(.+?\))?), (?P<n>\d+) of (?P<all>\d+ trials?) \((?P<names>.+)\): "
    r"(?P<what>a group of .+|nearly all .+|the good .+|the first model .+)\."
)
def noted(f: Facts, method: str, n: str, all: str, names: str, what: str) -> None:
    """What so many trials of a method noted of themselves, and their purchases."""
    mine, metric = [t for t in f.trials if t.key[2] == method], OTHERS[what]
    having = []
    for t in mine:
        rows = t.history[t.history["metric"].str.startswith(metric)]["value"]
        if metric == "jtt_errors_y":
            having += [t] if len(rows) and rows.sum() == 0 else []
        elif (rows > 0).any():
            having.append(t)
    assert int(n) == len(having), f"{n}, the tables say {len(having)}"
    same(all, plural(len(mine), "trial"))
    cells = [c for c in f.cells if any(t.key == c.key for t in having)]
    parts = names.split("; ")
    if len(cells) > 4:
        same(parts.pop(), f"{len(cells) - 4} more")
    for part, cell in zip(parts, cells, strict=False):
        same(part, cell.name.rpartition(", trained")[0])
