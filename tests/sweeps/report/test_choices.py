"""What the report says of prices at which the choice changes, and of boxes against masks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from report_tables import PLANTED, Made, evidence, make, plan, report_input, small, with_scores

from spurious.config.options import Prices
from sweeps.report.build import build_report
from sweeps.report.choices import choice_context
from sweeps.report.offers import find_offers

_, BOXES, MASKS = PLANTED
AXIS = ("training", "spurious_labels")
CLOSE = PLANTED | {
    **{BOXES: [0.900, 0.905, 0.902], MASKS: [0.903, 0.901, 0.902]},
    ("mask", "600", "erm"): [0.901, 0.903, 0.904],
}
"""Boxes and masks on 600 images are as good as masks on all."""


@pytest.fixture(scope="module")
def made() -> Made:
    """Labels, boxes and masks on 600 and on all images, three seeds each."""
    return small()


def said(made: Made, outlines: dict[str, float] | None = None, **prices: float) -> dict[str, Any]:
    """What the section has, under a price table."""
    table = Prices(**prices)
    priced, cells, rests_on = evidence(made, prices=table)
    offers = find_offers(priced, cells, rests_on)
    return choice_context(offers, cells, rests_on, table, AXIS, 0.02, outlines)


def test_each_price_says_where_the_choice_ends(made: Made) -> None:
    """Boxes are chosen; a dear box or a cheap mask makes it masks, and setting it does."""
    close = with_scores(made, CLOSE)
    found = said(close)
    assert "boxes on 600 images" in found["flips_note"].lower()
    rows = {row["name"]: row for row in found["flips"]}
    assert "masks on 600 images" in rows["mask"]["below"]
    low, high = float(rows["mask"]["low"]), float(rows["box"]["high"])
    for name, value in (("mask", low * 0.98), ("box", high * 1.02)):
        changed = said(close, **{name: value})["flips_note"]
        assert changed.startswith("Masks on 600 images"), (name, changed)
    for name, value in (("mask", low * 1.02), ("box", high * 0.98)):
        assert said(close, **{name: value})["flips_note"].startswith("Boxes on 600 images")


def test_nothing_as_good_means_that_no_price_matters(made: Made) -> None:
    """And without intervals nobody knows."""
    lone = with_scores(made, PLANTED | {MASKS: [0.97, 0.98, 0.975]})
    assert said(lone)["flips"] == []
    assert said(lone)["flips_note"].startswith("No price changes the choice: nothing else is shown")
    one = make(plan(budgets=("600",), methods=("erm",), seeds=(0,)))
    assert said(one)["flips_note"].startswith("Not known")


def test_measured_outlines_stand_beside_the_price(made: Made) -> None:
    """With what would be chosen at so many clicks a mask; nothing where nobody counted."""
    close = with_scores(made, CLOSE)
    outlines = {"vertices_2px": 21.0, "vertices_5px": 1.0, "images": 1951.0}
    text = said(close, outlines)["outlines"]
    assert "a median of 21 vertices at a tolerance of 2 pixels, 1 at 5 (1,951 images" in text
    assert "has 45 clicks a mask" in text
    assert re.search(r"would be boxes on 600 .* at 2 pixels and masks on 600 .* at 5 pixels", text)
    assert said(close)["outlines"] == ""
    assert said(close, outlines | {"images": 0.0})["outlines"] == ""


def test_boxes_against_masks(made: Made, tmp_path: Path) -> None:
    """Decided, or with what would decide; it stands on the page."""
    apart = with_scores(
        made, PLANTED | {BOXES: [0.50, 0.51, 0.52], ("mask", "600", "erm"): [0.90, 0.91, 0.92]}
    )
    rows = {row["images"]: row for row in said(apart)["settled"] if row["method"] == "erm"}
    assert rows["600"]["verdict"] == "masks are above"
    assert rows["600"]["difference"].startswith("0.400 (")
    near = PLANTED | {BOXES: [0.80, 0.82, 0.81], ("mask", "600", "erm"): [0.83, 0.82, 0.85]}
    close = said(with_scores(made, near))["settled"]
    assert "would need about" in next(row for row in close if row["images"] == "600")["verdict"]
    files = build_report(report_input(apart), tmp_path)
    for path in (files.page, files.text):
        assert "Boxes or masks on the same images" in path.read_text()
        assert "masks are above" in path.read_text()
