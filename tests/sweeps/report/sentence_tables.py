"""Claims of the tables of purchases, trials, groups and prices."""

from __future__ import annotations

import math
import re
from collections import Counter

import numpy as np
from sentence_claims import (
    limits,
    money,
    near,
    number,
    reason,
    record_of,
    row_cell,
    same,
    share,
    spread,
    table,
)
from sentence_document import Entry, Table
from sentence_facts import Cell, Facts


def hours(text: str, cells: list[Cell]) -> None:
    """Wall time by kind of device."""
    of: Counter[str] = Counter()
    for cell in cells:
        for t in cell.trials:
            of["CPU" if t.row["device"] == "cpu" else "GPU"] += t.row["seconds_total"] / 3600
    known = [(kind, of[kind]) for kind in ("GPU", "CPU") if of[kind]]
    parts = [] if text == "\N{EN DASH}" else text.split(", ")
    assert len(parts) == len(known), text
    for part, (kind, value) in zip(parts, known, strict=True):
        shown, _, unit = part.rpartition(" ")
        same(unit, kind)
        if shown == "under 0.1":
            assert 0 < value < 0.05 + 1e-9
        else:
            near(shown, value)
            assert number(shown) > 0


def _cost(entry: Entry, cell: Cell) -> None:
    money(entry.main, cell.dollars)
    low, high = min(cell.of_price(), default=0.0), max(cell.of_price(), default=0.0)
    if entry.more:
        ends = entry.below.split(" to ")
        money(ends[0], low)
        money(ends[1], high)
    assert bool(entry.more) == (high - low > 0.005) or not cell.trials


def _seeds(text: str, cell: Cell) -> None:
    same(text, f"{len(cell.trials)} of {len(cell.planned)}")


@table(
    "annotation", "images", "method", "cost", "robust AUROC", "overall AUROC", "seeds", "frontier"
)
def purchases(f: Facts, of: Table) -> None:
    """The table of purchases in Markdown."""
    assert len(of.rows) == len(f.cells)
    front = f.front()
    for row, cell in zip(map(record_of, of.records()), f.cells, strict=True):
        assert row_cell(f, row) is cell
        given = " (given the groups)" * cell.oracle
        same(row["method"].main, f"{cell.key[2]}{given}")
        money(row["cost"].main, cell.dollars)
        _aurocs(row, cell)
        _seeds(row["seeds"].main, cell)
        yes, _, why = row["frontier"].main.partition(", not named: ")
        same(yes, "yes" if cell in front else "no")
        reason(why, f.reasons[cell.key] or "")
        share(row["p(on the frontier)"].main, _own(f, cell, "frontier_probability"))


def _own(f: Facts, cell: Cell, column: str) -> float:
    value = f.own(cell, column)
    assert math.isnan(value) or (f.reasons[cell.key] is None and cell.robust.kind != "none")
    return value


def _aurocs(row: dict[str, Entry], cell: Cell) -> None:
    for name, of in (("robust auroc", cell.robust), ("overall auroc", cell.overall)):
        entry = row[name]
        near(entry.main, of.mean)
        below = [
            part for part in entry.more if part not in ("\N{EN DASH}", "no better than chance")
        ]
        if of.seeds:
            limits(below[0], of)
        else:
            assert not below, below
        if "no better than chance" in entry.more:
            assert of.mean <= 0.5


@table(
    "Buy",
    "Images",
    "Method",
    "Cost",
    "Robust AUROC",
    "SD over seeds",
    "Overall AUROC",
    "SD over seeds",
)
def all_purchases(f: Facts, of: Table) -> None:
    """The page's table: the same, and spreads, gaps, Dice, hours."""
    names = [*of.columns[:5], "SD", "Overall AUROC", "SD of all", *of.columns[8:]]
    front = f.front()
    assert len(of.rows) == len(f.cells)
    for entries, cell in zip(of.rows, f.cells, strict=True):
        row = {name.lower(): entry for name, entry in zip(names, entries, strict=True)}
        assert row_cell(f, row) is cell
        _cost(row["cost"], cell)
        _aurocs(row, cell)
        robust, overall = (np.array(v.seeds) for v in (cell.robust, cell.overall))
        sd = robust.std(ddof=1) if len(robust) > 1 else math.nan
        near(row["sd"].main, sd)
        if len(robust):
            spread(row["sd"].below, robust.min(), robust.max())
        near(row["sd of all"].main, overall.std(ddof=1) if len(overall) > 1 else math.nan)
        gaps = [t.values["test.auroc"] - t.values["test.robust_auroc"] for t in cell.trials]
        gaps = [gap for gap in gaps if not math.isnan(gap)]
        near(row["gap"].main, float(np.mean(gaps)) if gaps else math.nan)
        near(row["dice"].main, cell.mean("test.dice"))
        _seeds(row["seeds"].main, cell)
        flag = row["seeds"].below
        if cell.failed:
            same(flag, f"{cell.failed} failed")
        else:
            same(flag, "incomplete" * bool(cell.holes))
        share(row["p(on the frontier)"].main, _own(f, cell, "frontier_probability"))
        hours(row["hours"].main, [cell])
        reason(row["method"].below.removeprefix("not named: "), f.reasons[cell.key] or "")
    _probabilities(f, front)


def _probabilities(f: Facts, front: list[Cell]) -> None:
    """Shares of one set of draws agree: the cheapest is always on the frontier, and sums are 1."""
    drawn = [c for c in f.cells if not math.isnan(f.own(c, "frontier_probability"))]
    if not drawn or any(c.robust.kind == "none" for c in f.ranked):
        return
    cheapest = min(drawn, key=lambda c: c.dollars)
    alone = [c for c in drawn if c.dollars == cheapest.dollars]
    if len(alone) == 1:
        assert f.own(cheapest, "frontier_probability") == 1.0
        assert cheapest in front
    assert math.isclose(sum(f.own(c, "best_probability") for c in drawn), 1.0, abs_tol=1e-9)
    for cell in drawn:
        assert f.own(cell, "best_probability") <= f.own(cell, "frontier_probability") + 1e-9


@table(
    "Buy",
    "Images",
    "Method",
    "Cost",
    "Training annotation",
    "Spurious labels",
    "Validation annotation",
)
def frontier(f: Facts, of: Table) -> None:
    """From cheap to dear, each step from the one above."""
    front = sorted(f.front(), key=lambda c: c.dollars)
    rows = [record_of(record) for record in of.records()]
    assert {row_cell(f, row).key for row in rows} == {cell.key for cell in front}
    assert len(rows) == len(front)
    before: Cell | None = None
    for row in rows:
        cell = row_cell(f, row)
        money(row["cost"].main, cell.dollars)
        for name, part in (
            ("training annotation", "training"),
            ("spurious labels", "spurious_labels"),
            ("validation annotation", "validation"),
        ):
            money(row[name].main, float(np.mean(cell.of_price(part))))
        _aurocs(row, cell)
        assert ("no better than chance" in row["robust auroc"].more) == (cell.robust.mean <= 0.5)
        step = row["step from the one above"]
        if before is None:
            same(step.main + step.below, "")
        else:
            assert cell.dollars >= before.dollars
            near(step.main.removeprefix("+"), cell.robust.mean - before.robust.mean)
            assert re.match(r"\+\d", step.main), step.main
            money(
                step.below.removeprefix("for ").removesuffix(" more"), cell.dollars - before.dollars
            )
        before = cell
        share(row["p(on the frontier)"].main, _own(f, cell, "frontier_probability"))
        share(row["p(best)"].main, _own(f, cell, "best_probability"))
        _seeds(row["seeds"].main, cell)
        same(row["seeds"].below, "incomplete" * bool(cell.holes))


@table("price", "value", "unit")
def prices(f: Facts, of: Table) -> None:
    """All prices in force."""
    shown = {r["Price"].main: float(r["Value"].main) for r in of.records()}
    assert shown == {name: float(f"{value:g}") for name, value in f.raw.prices.items()}


@table("attribute", "split", "y = 0, s = 0")
def groups(f: Facts, of: Table) -> None:
    """Images by group, and which two the robust AUROC compares."""
    for entries in of.rows:
        attribute, split = entries[0].main, entries[1].main
        sign = f.raw.directions.get(attribute, 0)
        used = {1: (1, 2), -1: (0, 3)}.get(sign, ())
        for place, entry in enumerate(entries[2:]):
            assert entry.main.endswith(" *") == (place in used), f"{attribute}: {entry.main}"
            name = ("n_y0_s0", "n_y0_s1", "n_y1_s0", "n_y1_s1")[place]
            e = f.raw.others["merged_epochs"]
            mine = (
                (e["metric"] == "robust_auroc")
                & (e["attribute"] == attribute)
                & (e["split"] == split)
            )
            known = sorted({int(v) for v in e.loc[mine, name].dropna()})
            expected = f"{known[0]:,}" if len(known) == 1 else f"{known[0]:,} to {known[-1]:,}"
            same(entry.main.removesuffix(" *"), expected)


@table("trial", "seed", "reason")
def undefined(f: Facts, of: Table) -> None:
    """Finished trials without a defined robust AUROC."""
    lost = [t for t in f.trials if math.isnan(t.values["test.robust_auroc"])]
    assert len(of.rows) == len(lost)
    for row in map(record_of, of.records()):
        key, seed = f.named[row["trial"].main].key, int(row["seed"].main)
        [trial] = [t for t in lost if (t.key, t.row["seed"]) == (key, seed)]
        if trial.epoch is None:
            assert row["reason"].main.startswith(
                f"rule '{trial.rule}': the metric is NaN or absent in"
            )
        else:
            assert f"the robust AUROC on test is NaN at epoch {trial.epoch}" in row["reason"].main
