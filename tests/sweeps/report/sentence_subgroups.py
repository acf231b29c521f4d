"""Claims of subgroups of patients: divided again, and every AUROC taken of its images alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from sentence_claims import (
    CONSTANT,
    DOCUMENT,
    LIMIT,
    claim,
    limits,
    near,
    number,
    plural,
    reason,
    same,
    table,
)
from sentence_document import Block, Entry, Table
from sentence_facts import Cell, Facts
from sentence_shown import shown
from sentence_statistics import Limits, Read, of_cell

METRICS = ("auroc", "robust_auroc")
FEW, IMAGES = 6, 10


@dataclass(frozen=True, eq=False)
class Part:
    """A purchase in a subgroup: abnormal and normal images, and what is said of its AUROC."""

    name: str
    images: Mapping[str, tuple[int, int]]
    of: Mapping[str, Limits]

    @property
    def is_refused(self) -> bool:
        """Whether neither AUROC has a mean."""
        return all(math.isnan(of.mean) for of in self.of.values())


def rows_of(f: Facts, cell: Cell) -> dict[int, pd.DataFrame]:
    """Seed to predictions of test images at the epoch that counts, where they are stored."""
    found = {}
    for trial in cell.trials:
        rows = f.raw.predictions.get(str(trial.row["trial_id"]), pd.DataFrame())
        if len(rows) and trial.epoch is not None:
            rows = rows[(rows["split"] == "test") & (rows["epoch"] == trial.epoch)]
            if len(rows):
                found[trial.row["seed"]] = rows
    return found


def test_images(f: Facts) -> list[str]:
    """Ids of the test images of what is shown; all trials have the same."""
    every = [rows for cell in shown(f) for rows in rows_of(f, cell).values()]
    return list(every[0]["sample_id"]) if every else []


def divide(values: Mapping[str, Any], ids: Sequence[str]) -> dict[str, set[str]] | str:
    """Subgroup to its images, in order; or why there is none."""
    known = {one: value for one in ids if (value := values.get(one)) is not None}
    distinct = sorted(set(known.values()))
    if not known:
        return "it is not known of any test image"
    if len(distinct) == 1 and len(known) == len(ids):
        return f"it is {distinct[0]} on every test image"
    if isinstance(distinct[0], float) and len(distinct) > FEW:
        ordered = sorted(known.values())
        ends = sorted({ordered[math.ceil(q * len(ordered) / 4) - 1] for q in (1, 2, 3, 4)})
        below, of = ordered[0], {}
        for place, end in enumerate(ends):
            name = f"{'above ' * bool(place)}{below:g} to {end:g}" if below != end else f"{end:g}"
            of[name] = {one for one, v in known.items() if v <= end and (place == 0 or v > below)}
            below = end
    else:
        words = {v: f"{v:g}" if isinstance(v, float) else v for v in distinct}
        of = {words[v]: {one for one in known if known[one] == v} for v in distinct}
    if rest := set(ids) - set(known):
        of["not known"] = rest
    return of


@lru_cache(maxsize=8)
def parts(f: Facts, covariate: str) -> dict[tuple[str, str, str], list[Part]]:
    """Purchase to its subgroups by a covariate; nothing where they are not divided."""
    groups = divide(f.raw.others["covariates"][covariate], test_images(f))
    if isinstance(groups, str):
        return {}
    found = {}
    for cell in shown(f):
        if of := rows_of(f, cell):
            found[cell.key] = [_part(f, name, ids, of) for name, ids in groups.items()]
    return found


def _part(f: Facts, name: str, ids: set[str], of: Mapping[int, pd.DataFrame]) -> Part:
    inside = {seed: rows[rows["sample_id"].isin(ids)] for seed, rows in of.items()}
    images, judged = {}, {}
    reads = {seed: f._read(rows) for seed, rows in inside.items()}
    first = next(iter(inside.values()))
    taken = {"auroc": np.ones(len(first), bool), "robust_auroc": f.count_against(first) > 0}
    for metric in METRICS:
        labels = first["label"].to_numpy()[taken[metric]]
        images[metric] = int((labels == 1).sum()), int((labels == 0).sum())
        known = {seed: both[metric] for seed, both in reads.items() if both[metric] is not None}
        judged[metric] = _judge(known, min(images[metric]))
    return Part(name, images, judged)


def _judge(reads: Mapping[int, Read | None], fewest: int) -> Limits:
    if fewest < IMAGES:
        return Limits((), math.nan, reason="fewer than 10 images of a class")
    if min(read.cases for read in reads.values() if read) < IMAGES:
        return Limits((), math.nan, reason="fewer than 10 patients with an image of a class")
    return of_cell({seed: read.auroc for seed, read in reads.items() if read}, reads)


def divided(f: Facts) -> list[str]:
    """Covariates that have subgroups."""
    return [name for name in sorted(f.raw.others["covariates"]) if parts(f, name)]


def refused(f: Facts, covariate: str) -> dict[str, Part]:
    """Subgroups that no purchase has a number for."""
    columns = zip(*parts(f, covariate).values(), strict=True)
    return {of[-1].name: of[-1] for of in columns if all(part.is_refused for part in of)}


@claim(r"No subgroups by (?P<name>\w+): (?P<why>.+)\.")
def no_subgroups(f: Facts, name: str, why: str) -> None:
    """All images have one value."""
    same(why, str(divide(f.raw.others["covariates"][name], test_images(f))))


@claim(
    r"(?P<n>\d+) of (?P<all>\d+ purchases?) that (?:is|are) shown (?P<verb>has|have) no stored "
    r"predictions at the epoch that counts\."
)
def without(f: Facts, n: str, all: str, verb: str) -> None:
    """So many have none in any seed."""
    of = shown(f)
    count = sum(not rows_of(f, cell) for cell in of)
    assert int(n) == count
    same(all, plural(len(of), "purchase"))
    same(verb, "has" if count == 1 else "have")


@claim(
    r"Each interval is of its subgroup alone and not adjusted for how many are looked at, "
    r"(?P<n>\d+ intervals?) on (?P<covariates>\d+ covariates?) here: about one in twenty misses "
    r"its value by chance, and the subgroup that looks worst tends to look worse than it is\."
)
def caution(f: Facts, n: str, covariates: str) -> None:
    """So many are told."""
    names = divided(f)
    every = [part for name in names for of in parts(f, name).values() for part in of]
    count = sum(of.kind != "none" for part in every for of in part.of.values())
    same(n, plural(count, "interval"))
    same(covariates, plural(len(names), "covariate"))


@claim(r"By (?P<name>\w+)(?::(?P<why> refused: .+\.)?)?")
def by(f: Facts, name: str, why: str | None) -> None:
    """A covariate that divides the images; subgroups without any number stand here."""
    assert name in divided(f)
    if why:
        _refused(f, why.removeprefix(" refused: ").removesuffix("."), name)


@claim(r"Refused: (?P<why>.+)\.")
def refusals(f: Facts, why: str) -> None:
    """Of the page, which has them below the covariate's name."""
    [name] = [
        name for name in divided(f)
        if ", ".join(refused(f, name)).partition(", ")[0] == why.partition(", ")[0]
    ] or ["none"]  # fmt: skip
    _refused(f, why, name)


def _refused(f: Facts, text: str, covariate: str) -> None:
    expected = [
        f"{name}, {part.of['auroc'].reason} ({part.images['auroc'][0]:,} abnormal, "
        f"{part.images['auroc'][1]:,} normal)"
        for name, part in refused(f, covariate).items()
    ]
    same(text, "; ".join(expected))


def _listed(f: Facts, covariate: str) -> Iterator[tuple[Cell, Part]]:
    gone = refused(f, covariate)
    for cell in shown(f):
        for part in parts(f, covariate).get(cell.key, ()):
            if part.name not in gone:
                yield cell, part


def _row(entries: Sequence[Entry], part: Part) -> None:
    same(entries[0].main, part.name)
    for place, metric in enumerate(METRICS[: len(entries) // 3]):
        positives, negatives, mean = entries[1 + 3 * place : 4 + 3 * place]
        counts = int(number(positives.main)), int(number(negatives.main))
        assert counts == part.images[metric], f"{part.name}: {counts}, not {part.images[metric]}"
        of = part.of[metric]
        near(mean.main, of.mean, 1e-6)
        if of.kind == "none":
            reason(mean.below, of.reason)
        else:
            limits(mean.below, of)


@table("purchase")
def in_markdown(f: Facts, of: Table) -> None:
    """A row of each purchase and subgroup."""
    listed = list(_listed(f, of.columns[1]))
    assert len(of.rows) == len(listed)
    for (first, *entries), (cell, part) in zip(of.rows, listed, strict=True):
        same(first.main, cell.name[0].upper() + cell.name[1:])
        _row(entries, part)


@table("subgroup")
def on_page(f: Facts, of: Table) -> None:
    """Below all test images of each purchase its subgroups."""
    listed = list(_listed(f, of.heading.removeprefix("By ")))
    before, rows = None, iter(of.rows)
    for cell, part in listed:
        if cell is not before:
            name, whole, *rest = next(rows)
            same(name.main, f"{cell.name[0].upper()}{cell.name[1:]}: all test images")
            near(whole.main, cell.overall.mean)
            limits(whole.below, cell.overall)
            if rest:
                near(rest[-1].main, cell.robust.mean, LIMIT)
                limits(rest[-1].below, cell.robust)
            before = cell
        _row(next(rows), part)
    assert not list(rows)


def no_robust(f: Facts) -> None:
    """No image that contradicts its label is in any subgroup."""
    every = [part for name in divided(f) for of in parts(f, name).values() for part in of]
    assert every
    assert not any(any(part.images["robust_auroc"]) for part in every)


CONSTANT[
    "AUROC on the test images of each subgroup by what staging carried along, means over seeds "
    "with 95 % intervals for new seeds and new patients of that subgroup."
] = no_robust


def all_tables(f: Facts, blocks: Sequence[Block]) -> None:
    """Each covariate has its table, where some subgroup of it is not refused."""
    count = sum(
        isinstance(block, Table) and block.columns[0].lower() in ("purchase", "subgroup")
        for block in blocks
    )
    assert count == sum(any(True for _ in _listed(f, name)) for name in divided(f))


DOCUMENT.append(all_tables)
