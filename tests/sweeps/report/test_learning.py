"""What the report says of further images, and when it says that nobody knows."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from report_tables import Made, evidence, make, plan, report_input, with_scores

from spurious.config.options import Prices
from sweeps.report.build import build_report
from sweeps.report.learning import learning_context
from sweeps.report.offers import find_offers

RISING = {
    ("mask", "600", "erm"): [0.70, 0.71, 0.705],
    ("mask", "1100", "erm"): [0.78, 0.79, 0.785],
    ("mask", "2200", "erm"): [0.86, 0.865, 0.87],
    ("label", "600", "erm"): [0.60, 0.61, 0.605],
    ("label", "1100", "erm"): [0.60, 0.605, 0.60],
    ("label", "2200", "erm"): [0.603, 0.60, 0.607],
}


@pytest.fixture(scope="module")
def made() -> Made:
    """Labels and masks on three budgets."""
    budgets = ("600", "1100", "2200")
    return with_scores(make(plan(("label", "mask"), budgets, ("erm",))), RISING)


def said(made: Made) -> dict[str, Any]:
    """What the section has."""
    priced, cells, rests_on = evidence(made)
    offers = find_offers(priced, cells, rests_on)
    return learning_context(offers, priced, dataclasses.asdict(Prices()))


def test_images_for_a_score(made: Made, tmp_path: Path) -> None:
    """Masks get there, with an interval; flat labels are not told; both stand on the page."""
    found = said(made)
    rows = {(row["annotation"], row["target"]): row["images"] for row in found["needed"]}
    told = re.fullmatch(r"about ([\d,]+) \(([\d,]+) to ([\d,]+)\)", rows["masks", "0.8"])
    assert told is not None, rows
    middle, low, high = (int(part.replace(",", "")) for part in told.groups())
    assert 600 < low <= 1300 <= high < 2200
    assert 1100 < middle < 1500
    assert rows["labels", "0.8"].startswith("not told: 0.00 of the fits reach it with up to 4,400")
    assert "interval for" in found["needed_note"]
    assert "of 2 curves" in found["needed_note"]
    files = build_report(report_input(made), tmp_path)
    for path in (files.page, files.text):
        assert rows["masks", "0.8"] in path.read_text()


def test_the_next_images_have_a_worth_and_a_price(made: Made) -> None:
    """A hundred more masks raise it, labels do not; dollars are of training annotation."""
    worth = {row["annotation"]: row for row in said(made)["worth"]}
    assert float(worth["masks"]["gain"].split()[0]) > 0.002
    assert abs(float(worth["labels"]["gain"].split()[0].replace("\N{MINUS SIGN}", "-"))) < 0.002
    assert worth["labels"]["dollars"] == "$2.78"  # a click an image
    assert worth["masks"]["beyond"] == "2,200"


def test_fewer_budgets_are_refused() -> None:
    """Two tell a slope and no number of images; one tells nothing."""
    two = said(make(plan(("mask",), ("600", "1100"), ("erm",))))
    assert two["needed"] == []
    assert "that needs 3 budgets" in two["needed_note"]
    assert len(two["worth"]) == 1
    [few] = said(make(plan(("mask",), ("40", "60"), ("erm",))))["worth"]
    assert few["gain"] == "not told: beyond 2 times the largest budget"
    one = said(make(plan(("mask",), ("600",), ("erm",))))
    assert one["worth"] == []
    assert one["needed_note"].startswith("Not known: no kind of annotation has two ranked budgets")
