"""Claims of what is looked at closely: which purchases, their training by epoch, example images."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from sentence_answer import not_inferior
from sentence_claims import CONSTANT, DOCUMENT, claim, near, plural, same
from sentence_document import Block, Text
from sentence_facts import Cell, Facts, Trial
from sentence_methods import MOST as LONGEST

MOST, MOST_SEEDS = 8, 10


def recommended(f: Facts) -> list[Cell]:
    """The best, the cheapest that is not inferior, and the frontier from high to low."""
    if f.best is None:
        return []
    equals = sorted((c for c, _ in not_inferior(f)), key=lambda c: (c.dollars, -c.robust.mean))
    chosen = [c for c in equals[:1] if c.dollars < f.best.dollars]
    front = sorted(f.front(), key=lambda c: -c.robust.mean)
    return list({c.key: c for c in (f.best, *chosen, *front)}.values())


def labels_beside(f: Facts, cell: Cell) -> Cell | None:
    """Labels on as many images: of the same method, else of erm, else of any."""
    of = [c for c in f.cells if c.key[:2] == ("label", cell.key[1]) and c.trials]
    order = [cell.key[2], "erm"]
    place = {method: order.index(method) for method in order}
    return min(of, key=lambda c: place.get(c.key[2], 2), default=None)


def shown(f: Facts) -> list[Cell]:
    """What is looked at closely, in the order of the table of purchases."""
    if f.best is None:
        return [c for c in f.cells if c.trials][:MOST]
    first = recommended(f)[:MOST]
    keys = {c.key for c in (*first, *(labels_beside(f, c) for c in first)) if c is not None}
    return [c for c in f.cells if c.key in keys]


@claim(r"Shown: purchases with a result(?P<left>, the first 8 of (?P<n>\d+))?; none is ranked\.")
def unranked(f: Facts, left: str | None, n: str | None) -> None:
    """Nothing is ranked."""
    assert not f.ranked
    having = sum(bool(c.trials) for c in f.cells)
    assert (left is not None) == (having > MOST)
    assert left is None or int(n or 0) == having


@claim(
    r"Shown: what is recommended and the frontier, (?P<n>\d+ purchases?)(?P<few>, of which the "
    r"best 8 are here)?(?P<labels>, and labels on as many images)?\."
)
def answer_and_frontier(f: Facts, n: str, few: str | None, labels: str | None) -> None:
    """So many, and labels where they are others."""
    of = recommended(f)
    same(n, plural(len(of), "purchase"))
    assert (few is not None) == (len(of) > MOST)
    assert (labels is not None) == (len(shown(f)) > len(of[:MOST]))


def drawn(f: Facts) -> list[Cell]:
    """Those whose training has two epochs or more in some seed."""
    return [c for c in shown(f) if any(int(t.row["epochs"]) > 1 for t in c.trials)]


def _seeds(cell: Cell) -> Sequence[Trial]:
    return sorted(cell.trials, key=lambda t: t.row["seed"])[:MOST_SEEDS]


@claim(r"seed (?P<seed>\d+)", whole=True)
def line_of_seed(f: Facts, seed: str) -> None:
    """A legend's entry: some purchase's curve is of this seed, and others are of another."""
    of = {t.row["seed"] for cell in drawn(f) for t in _seeds(cell)}
    assert len(of) > 1
    assert int(seed) in of


NAME = r"(?:Labels|Boxes|One box|Coarse masks|Masks) [^;:]*images, trained with [^;:]+?"


@claim(rf"(?P<name>{NAME}(?<=[\w)]))", whole=True)
def caption(f: Facts, name: str) -> None:
    """The purchase whose training is drawn."""
    assert name[0].lower() + name[1:] in {c.name for c in drawn(f)}


@claim(rf"(?P<name>{NAME}): (?P<seeds>seed \d+: .+)\.", whole=True)
def curve(f: Facts, name: str, seeds: str) -> None:
    """Each seed's epoch of so many, the metric there, the loss first and last."""
    cell = f.named[name[0].lower() + name[1:]]
    trials, parts = _seeds(cell), seeds.split("; ")
    if (more := len(cell.trials) - len(trials)) > 0:
        same(parts.pop(), f"{plural(more, 'more seed')} not drawn")
    rule = trials[0].rule
    metric = "val.auroc" if rule == "last" else rule.removeprefix("best ")
    assert len(parts) == len(trials)
    for part, trial in zip(parts, trials, strict=True):
        _line(part, trial, metric)


def _line(text: str, trial: Trial, metric: str) -> None:
    seed = trial.row["seed"]
    if trial.epoch is None:
        same(text, f"seed {seed}: no epoch chosen")
        return
    match = re.fullmatch(
        r"seed (\d+): epoch (\d+) of (\d+) chosen, (\S+) (\S+) there"
        r"(?:, train loss (\S+) first and (\S+) last)?(?:, not finite at (\d+ epochs?))?",
        text,
    )
    assert match, f"'{text}' is of no known form"
    numbers = tuple(map(int, match.groups()[:3]))
    assert numbers == (seed, trial.epoch, int(trial.row["epochs"])), f"{text}: {trial.epoch}"
    same(match[4], metric)
    near(match[5], trial.values[metric])
    rows = trial.history
    rows = rows[(rows["split"] == "train") & (rows["metric"] == "loss")].sort_values("epoch")
    losses = [value for value in rows["value"] if math.isfinite(value)]
    assert (match[6] is not None) == bool(losses)
    if losses:
        assert [match[6], match[7]] == [f"{losses[i]:.3g}" for i in (0, -1)], text
    same(match[8] or "", plural(n, "epoch") if (n := len(rows) - len(losses)) else "")


def all_curves(f: Facts, blocks: Sequence[Block]) -> None:
    """The page has a picture of every purchase whose training is drawn, in their order."""
    if not any(isinstance(block, Text) and block.kind == "alt" for block in blocks):
        return  # Markdown has no pictures
    of = [b.words.partition(": ")[0] for b in blocks if isinstance(b, Text) and b.kind == "svg"]
    expected = [c.name[0].upper() + c.name[1:] for c in drawn(f)]
    assert of == expected, f"curves of {of}, the tables say {expected}"
    headings = [b.words for b in blocks if isinstance(b, Text) and b.kind == "h"]
    assert headings.count("Training curves") == bool(expected)


def no_pictures(f: Facts) -> None:
    """No trial of what is shown has example images."""
    ids = {t.row["trial_id"] for cell in shown(f) for t in cell.trials}
    assert not ids & set(f.raw.others["examples"])


def some_long(f: Facts) -> None:
    """A method's name is too long for the report."""
    assert any(len(c.key[2]) > LONGEST for c in f.cells)


DOCUMENT.append(all_curves)
CONSTANT["Methods in full"] = some_long
CONSTANT["No trial of the purchases that are shown kept example images."] = no_pictures
CONSTANT[
    "With examples: 2 in the specification, trials that run from then on keep two of each group, "
    "and what their models look at."
] = no_pictures
