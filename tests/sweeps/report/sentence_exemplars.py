"""Claims of the section of exemplary explanations: which images, and how they were judged."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sentence_claims import CONSTANT, DOCUMENT, near, record_of, row_cell, same, table
from sentence_document import Block, Entry, Table
from sentence_facts import Facts, Trial

GOOD, BAD = "exemplar_good", "exemplar_bad"
HEADING = "Exemplary explanations"


def noted(trial: Trial) -> dict[str, float]:
    """Return what a trial noted of its two examples."""
    mine = trial.history[trial.history["metric"].str.startswith((GOOD, BAD))]
    return dict(zip(mine["metric"], mine["value"], strict=True))


@table("buy", "images", "method", "seed", "good", "bad")
def exemplars(f: Facts, of: Table) -> None:
    """A row per trial that has them; an image by its id, a precision where a rule picked it."""
    expected = {(t.key, t.row["seed"]): noted(t) for t in f.trials if noted(t)}
    for row in map(record_of, of.records()):
        values = expected.pop((row_cell(f, row).key, int(row["seed"].main)))
        for which, name in (("good", GOOD), ("bad", BAD)):
            _example(f, row[which], values[name], values.get(f"{name}_precision", math.nan))
    assert not expected, f"no row of {list(expected)}"


def _example(f: Facts, entry: Entry, place: float, precision: float) -> None:
    ids = f.raw.others["sample_ids"]
    known = ids is not None and place < len(ids)
    name, _, below = entry.main.removesuffix(")").partition(" (")  # in Markdown in brackets
    below = below or entry.below
    same(name, ids[int(place)] if known else f"image {int(place)} by ascending id")
    assert bool(below) != math.isnan(precision)
    if below:
        assert below.startswith("AP ")
        near(below.removeprefix("AP "), precision)


table("annotation", "images", "method", "seed", "good", "bad")(exemplars)

CONSTANT.update(
    dict.fromkeys(
        (
            "The training images whose explanations by the first model were the good and the bad "
            "example of a trial.",
            "AP: activation precision, the share of the explanation's strongest 5 % inside the "
            "region, where the rule picked them.",
        )
    )
)
"""`exemplars` holds the table to them."""


def section(f: Facts, blocks: Sequence[Block]) -> None:
    """The section is there where a trial has examples, and nowhere else."""
    tables = [block for block in blocks if isinstance(block, Table) and block.heading == HEADING]
    assert len(tables) == any(noted(trial) for trial in f.trials)


DOCUMENT.append(section)
