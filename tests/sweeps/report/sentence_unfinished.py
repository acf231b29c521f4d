"""Claims of what failed, was skipped, stopped or never converged, counted in the raw tables."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from sentence_caveats import EVENTS
from sentence_claims import DOCUMENT, claim, number, plural, reason, record_of, same, table
from sentence_document import Block, Table, Text
from sentence_events import events_of
from sentence_facts import Cell, Facts, Trial


@claim(r"None is missing: every planned trial has a result\.")
def all_done(f: Facts) -> None:
    """They do."""
    assert not f.unfinished


@claim(
    r"Of (?P<all>[\d,]+ planned trials?) (?P<done>[\d,]+) (?P<has>has|have) a result, "
    r"(?P<failed>[\d,]+) failed, and (?P<left>[\d,]+) (?P<verb>has|have) neither a whole result "
    r"nor a failure\."
)
def unfinished(f: Facts, all: str, done: str, has: str, failed: str, left: str, verb: str) -> None:
    """Every planned trial is one of these."""
    lost = sum(trial_id in f.failed_ids for _, _, trial_id in f.unfinished)
    same(all, plural(len(f.raw.planned), "planned trial"))
    assert (number(done), number(failed)) == (len(f.trials), lost)
    assert number(left) == len(f.raw.planned) - len(f.trials) - lost
    for count, word in ((done, has), (left, verb)):
        same(word, "has" if count == "1" else "have")
    assert f.unfinished


@claim(
    r"(?P<n>\d+ purchases?) (?P<verb>has|have) no trial yet, since the search is not over; `sweeps "
    r"status` counts their seeds as missing\."
)
def waiting(f: Facts, n: str, verb: str) -> None:
    """So many searches go on, and no trial of theirs is planned."""
    of = [search["key"] for search in f.raw.others["searches"] if not search["is_over"]]
    same(n, plural(len(of), "purchase"))
    same(verb, "has" if len(of) == 1 else "have")
    assert not {one[:3] for one in f.raw.planned} & set(of)


def few(names: Iterable[str]) -> str:
    """Four names at most, each once, and how many more."""
    of = list(dict.fromkeys(names))
    return "; ".join(of[:4] + ([f"{len(of) - 4:,} more"] if len(of) > 4 else []))


def purchases_of(f: Facts, trials: Iterable[Trial]) -> str:
    """The purchases of trials, in words."""
    names = {cell.key: cell.name for cell in f.cells}
    return few(names[trial.key] for trial in trials)


@lru_cache(maxsize=4)
def counts(f: Facts) -> list[tuple[str, int, str]]:
    """What happened at all, how often, and to what."""
    return [row for row in _counts(f) if row[1]]


def _counts(f: Facts) -> Iterator[tuple[str, int, str]]:
    empty = [cell for cell in f.cells if not cell.trials]
    yield "Purchases without a result", len(empty), few(cell.name for cell in empty)
    skipped = Counter(f.raw.others["skipped"])
    reasons = [f"{reason} ({n:,})" for reason, n in skipped.items()]
    yield "Purchases of the axes that cannot run, skipped", skipped.total(), few(reasons)
    searches = f.raw.others["searches"]
    tried = [one for s in searches for one in zip(s["states"], s["trials"], strict=True)]
    stopped, lost = ([n for state, n in tried if state == w] for w in ("stopped", "failed"))
    which = f"{plural(sum(stopped), 'trial')} of searches"
    yield "Configurations that a search stopped early", len(stopped), which
    yield "Configurations of a search without a value", len(lost), "see what was searched"
    damaged = [f"{label} ({why})" for label, why in f.raw.others["damaged"].items()]
    yield "Damaged results, left out", len(damaged), few(damaged)
    events = [(trial, events_of(f, trial)) for trial in f.trials]
    for words, event in EVENTS.items():
        having = [trial for trial, known in events if event in known]
        what = words.split(";")[0].split(":")[0]
        yield f"Finished trials: {what}", len(having), purchases_of(f, having)
    undefined = [trial for trial in f.trials if math.isnan(trial.values["test.robust_auroc"])]
    yield "Finished trials without a robust AUROC", len(undefined), purchases_of(f, undefined)
    whys = [why for cell in f.cells if cell.trials and (why := why_not(f, cell))]
    yield "Purchases with results that are not ranked", len(whys), few(whys)


def why_not(f: Facts, cell: Cell) -> str:
    """Why a purchase is not ranked; empty where it is."""
    if cell in f.ranked:
        return ""
    return f.reasons[cell.key] or "no defined robust AUROC"


@table("what", "how many", "which")
def happened(f: Facts, of: Table) -> None:
    """All that happened at all, in this order."""
    shown = [tuple(entry.main for entry in row) for row in of.rows]
    expected = [(what, f"{n:,}", which) for what, n, which in counts(f)]
    assert [row[:2] for row in shown] == [row[:2] for row in expected], (shown, expected)
    for (what, _, text), (_, _, which) in zip(shown, expected, strict=True):
        if what.endswith("not ranked"):  # limits in reasons are rounded
            reason(text, which)
        else:
            same(text, which)


@claim(
    r"Of trials of the purchases; `sweeps failures (?P<name>\S+)` counts those of the search, too\."
)
def of_purchases(f: Facts, name: str) -> None:
    """There is a search."""
    same(name, f.raw.others["sweep"])
    assert f.raw.others["searches"]


def classes(f: Facts, of: Table) -> None:
    """Attempts and trials of each class of failure, and those without a result; the most first."""
    failures, done = f.raw.failures, {trial.row["trial_id"] for trial in f.trials}
    meanings = f.raw.others["failure_meanings"]
    expected = []
    for name, rows in failures.groupby("failure_class"):
        ids = set(rows["trial_id"])
        meaning = meanings.get(name, "a class of an earlier version")
        expected.append((-len(rows), name, meaning, len(rows), len(ids), len(ids - done)))
    shown = [
        (row[0].main, row[1].main, *(int(number(entry.main)) for entry in row[2:]))
        for row in of.rows
    ]
    assert shown == [row[1:] for row in sorted(expected)], (shown, expected)
    assert len(of.columns) == 5


for first in ("class", "failed attempts"):
    table(first, "meaning", "attempts", "trials", "of them without a result")(classes)


@table("failed trial", "seed", "id", "class", "attempts", "last message", "node")
def failed(f: Facts, of: Table) -> None:
    """Every trial without a result and with a failure, with its last one."""
    wanted = {(key, seed): i for key, seed, i in f.unfinished if i in f.failed_ids}
    assert len(of.rows) == len(wanted)
    for row in map(record_of, of.records()):
        cell = f.named[row["failed trial"].main]
        trial_id = wanted[cell.key, int(row["seed"].main)]
        same(row["id"].main, trial_id)
        mine = f.raw.failures[f.raw.failures["trial_id"] == trial_id].sort_values("failed_at")
        assert int(row["attempts"].main) == len(mine)
        same(row["last message"].main, mine["message"].iloc[-1])
        same(row["class"].main, mine["failure_class"].iloc[-1])


@table("missing trials", "seeds")
def missing(f: Facts, of: Table) -> None:
    """Every other one."""
    shown = {
        (f.named[r["Missing trials"].main].key, int(seed))
        for r in of.records()
        for seed in r["Seeds"].main.split(", ")
    }
    assert shown == {(key, seed) for key, seed, i in f.unfinished if i not in f.failed_ids}


def all_tables(f: Facts, blocks: Sequence[Block]) -> None:
    """Every table is there that has something to tell, and no other one."""
    is_page = any(isinstance(block, Text) and block.kind == "alt" for block in blocks)
    failed = any(trial_id in f.failed_ids for _, _, trial_id in f.unfinished)
    of_page = {
        "failed trial": failed,
        "missing trials": any(trial_id not in f.failed_ids for _, _, trial_id in f.unfinished),
        "trial": any(math.isnan(trial.values["test.robust_auroc"]) for trial in f.trials),
    }
    wanted = {"what": bool(counts(f)), "failed attempts": len(f.raw.failures) > 0}
    if is_page:
        wanted = {"what": bool(counts(f)), "class": len(f.raw.failures) > 0, **of_page}
    first = [block.columns[0].lower() for block in blocks if isinstance(block, Table)]
    assert {name: first.count(name) for name in wanted} == wanted


DOCUMENT.append(all_tables)
