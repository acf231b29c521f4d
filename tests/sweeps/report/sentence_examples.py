"""Claims of the table of example images: which are shown, their scores, and what is answered."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sentence_claims import CONSTANT, DOCUMENT, cell_of, claim, near, number, plural, same, table
from sentence_document import Block, Entry, Table
from sentence_facts import Cell, Facts
from sentence_shown import shown
from sentence_statistics import Array

MOST, LARGEST = 12, 8
"""Images on the page, and groups of which trials keep pictures."""
KINDS = {"saliency", "Grad-CAM", "predicted pixels"}
CONSTANT.update(
    dict.fromkeys(
        (
            "On the left the mean map over all test images of a label.",
            "Groups with * contradict the label: robust AUROC is of these.",
            "Single images show what happens, not how often.",
        )
    )
)


def pictured(f: Facts) -> dict[Cell, Any]:
    """Purchases that are shown, with the trial of the first seed that kept pictures."""
    ids = f.raw.others.get("pictured", ())
    of = {c: [t for t in c.trials if t.row["trial_id"] in ids] for c in shown(f)}
    return {cell: min(having, key=lambda t: t.row["seed"]) for cell, having in of.items() if having}


def kept(f: Facts, trial: Any, split: str) -> pd.DataFrame:
    """Predictions of the kept model on a split, by image."""
    rows = f.raw.predictions[trial.row["trial_id"]]
    return rows[rows["kept"] & (rows["split"] == split)].sort_values("sample_id")


def groups(f: Facts, most: int = MOST) -> dict[str, list[str]]:
    """Words of each group of test images to the ids of its first few; so many in all."""
    names, columns = sorted(f.raw.directions), [f"spurious_{n}" for n in f.raw.directions]
    rows = kept(f, next(iter(pictured(f).values())), "test")
    rows = rows.assign(against=f.count_against(rows) > 0)
    of: dict[str, list[str]] = {}
    sizes = rows.groupby(["label", *columns]).size()
    largest = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:LARGEST]
    rows = rows[[key in dict(largest) for key in rows[["label", *columns]].itertuples(False, None)]]
    for (label, *having), group in rows.groupby(["label", *(f"spurious_{n}" for n in names)]):
        parts = [f"{'' if has else 'no '}{n}" for n, has in zip(names, having, strict=True)]
        words = ", ".join([f"y = {label}", *parts]) + " *" * bool(group["against"].all())
        of[words] = list(group["sample_id"][: f.raw.others["pictured_each"]])
    return {words: ids[: max(1, most // len(of))] for words, ids in list(of.items())[:most]}


def is_short_for(text: str, name: str) -> bool:
    """Whether it is an image's id, or its two ends."""
    start, gap, end = text.partition("\N{HORIZONTAL ELLIPSIS}")
    return text == name or bool(gap and name.startswith(start) and name.endswith(end))


def youden(labels: Array, scores: Array) -> float:
    """The highest of the scores with the highest sensitivity + specificity - 1; else above all."""
    positives, negatives = int((labels == 1).sum()), int((labels == 0).sum())
    best, at = 0, math.inf
    for score in sorted(set(scores), reverse=True):
        hits = int((scores[labels == 1] >= score).sum())
        alarms = int((scores[labels == 0] >= score).sum())
        if (j := hits * negatives - alarms * positives) > best:
            best, at = j, float(score)
    return at


@claim(
    r"The first test images of each group of label \(y\) and spurious attributes, of the eight "
    r"largest groups where there are more, masks outlined, "
    r"and what the kept model of each purchase's first seed with pictures makes of them: its "
    r"score, what it answers at its threshold \((?P<point>[^)]+)\), and maps of what it looks at, "
    r"each scaled to its own highest value, predicted pixels from 0 to 1\."
)
def first_images(f: Facts, point: str) -> None:
    """`example_images` holds images, seeds, scores and answers."""
    same(point, f.raw.others["point"])
    same(point, "the highest Youden's J on validation")


@claim(r"(?P<n>[\d,]+) more example images? (?P<verb>is|are) in the tables and not on the page\.")
def more_images(f: Facts, n: str, verb: str) -> None:
    """Those that trials kept beyond twelve."""
    every, here = (sum(map(len, groups(f, most).values())) for most in (10**6, MOST))
    assert number(n) == every - here > 0
    same(verb, "is" if every - here == 1 else "are")


@claim(
    r"(?P<n>[\d,]+) of (?P<all>[\d,]+ purchases?) kept no pictures: their trials ran without "
    r"`?examples`?\."
)
def no_pictures(f: Facts, n: str, all: str) -> None:
    """Of those that are shown."""
    assert number(n) == len(shown(f)) - len(pictured(f)) > 0
    same(all, plural(len(shown(f)), "purchase"))


@claim(r"test image (?P<name>\S+)")
def image(f: Facts, name: str) -> None:
    """One that is shown."""
    assert name in {one for ids in groups(f).values() for one in ids}


@claim("saliency|Grad-CAM|predicted pixels")
def kind(f: Facts) -> None:
    """Of a map, which purchases have."""
    assert pictured(f)


@table("mean")
def example_images(f: Facts, of: Table) -> None:
    """The groups' first images, and of every purchase with pictures its scores and answers."""
    expected = groups(f)
    assert list(of.columns) == ["mean", *expected]
    ids = [one for names in expected.values() for one in names]
    names, *rows = of.rows[1:]
    assert [entry.main for entry in names[:3]] == ["Image", "y = 0", "y = 1"]
    for entry, name in zip(names[3:], ids, strict=True):
        assert is_short_for(entry.below, name), f"{entry.below}, expected {name}"
    purchases = [row for row in rows if row[0].main]
    assert len(purchases) == len(pictured(f))
    for row in rows:
        assert row[0].more[-1] in KINDS
        assert len(row) == 3 + len(ids)
        if not row[0].main:
            assert not any(entry.main for entry in row)
    for row, (cell, trial) in zip(purchases, pictured(f).items(), strict=True):
        assert cell_of(f, row[0].main) is cell
        _answers(f, trial, row, ids)


def _answers(f: Facts, trial: Any, row: tuple[Entry, ...], ids: list[str]) -> None:
    match = re.fullmatch(r"seed (\d+), threshold (\S+)", row[0].more[0])
    assert match, row[0]
    assert int(match[1]) == trial.row["seed"]
    val, test = (kept(f, trial, split) for split in ("val", "test"))
    threshold = youden(val["label"].to_numpy(), val["score"].to_numpy())
    near(match[2], threshold if threshold < math.inf else np.nextafter(val["score"].max(), 2.0))
    of = test.set_index("sample_id")
    for entry, name in zip(row[3:], ids, strict=True):
        score, label = of.at[name, "score"], of.at[name, "label"]
        near(entry.main, score)
        words = "abnormal" if score >= threshold else "normal"
        wrong = (score >= threshold) != (label == 1)
        assert entry.more == (words, "wrong")[: 1 + wrong], f"{name}: {entry}"


def section(f: Facts, blocks: Sequence[Block]) -> None:
    """The page has the table where a purchase that is shown has pictures, and there alone."""
    if any(getattr(block, "kind", "") == "alt" for block in blocks):  # Markdown has no pictures
        tables = [block for block in blocks if isinstance(block, Table)]
        assert sum(of.columns[0] == "mean" for of in tables) == bool(pictured(f))


DOCUMENT.append(section)
