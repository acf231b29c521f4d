"""The page's script: the same advice as Python's, in Node; and the page in a real browser."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from browser import NODE, chromium, needs_chromium, opened
from markets import PRICES, market
from playwright.sync_api import Browser, Page
from report_tables import PLANTED, evidence, report_input, small, with_scores

from spurious.config.options import Prices
from sweeps.report import explore, wording
from sweeps.report.advice import Offer, advise, price_of
from sweeps.report.build import build_report
from sweeps.report.chart import Mark, dollar_scale, frontier_svg
from sweeps.report.explore import script
from sweeps.report.frontier import on_frontier
from sweeps.report.offers import find_offers

AXES = [["training"], ["training", "spurious_labels", "validation"], ["validation", "compute"]]
SCORES = PLANTED | {
    ("box", "all", "erm"): [0.80, 0.81, 0.805],
    ("mask", "600", "erm"): [0.81, 0.80, 0.79],
}
RUN = """
const fs = require("fs");
const page = require(process.argv[1]);
const cases = JSON.parse(fs.readFileSync(0, "utf8"));
console.log(JSON.stringify(cases.map((one) => ({
  advice: page.advise(one.offers, one.draws.map((column) => Uint16Array.from(column)),
                      one.prices, one.dollars, one.axis),
  costs: one.offers.map((offer) => page.priceOf(offer, one.prices, one.axis)),
  front: page.onFrontier(one.offers.map((offer) => page.priceOf(offer, one.prices, one.axis)),
                         one.offers.map((offer) => offer.mean)),
}))));
"""


def in_node(cases: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """What the script answers to each case."""
    path = folder / "explore.js"
    path.write_text(script())
    command = [str(NODE), "-e", RUN, str(path)]
    done = subprocess.run(
        command, input=json.dumps(cases), capture_output=True, text=True, check=True, timeout=60
    )
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


def test_script_and_python_answer_alike(tmp_path: Path) -> None:
    """To the last bit: what is bought, its share, its regret, every price; markets with ties."""
    cases, expected = [], []
    for seed in range(120):
        offers, table = market(seed)
        prices = {name: value * (1 + seed % 3 / 10) for name, value in PRICES.items()}
        axis = AXES[seed % 3]
        costs = [price_of(offer, prices, axis) for offer in offers]
        dollars = [0.03, 2.5, costs[seed % 7], 1e6][seed % 4]  # a sum may be a price
        columns = table.T.tolist()
        as_dicts = [dataclasses.asdict(offer) for offer in offers]
        case = {"offers": as_dicts, "draws": columns, "prices": prices}
        cases.append(case | {"dollars": dollars, "axis": axis})
        front = np.flatnonzero(on_frontier(costs, [offer.mean for offer in offers])).tolist()
        found = advise(offers, table, prices, dollars, axis)
        expected.append({"advice": found, "costs": costs, "front": front})
    answers = in_node(cases, tmp_path)
    assert len({answer["advice"] is None for answer in answers}) == 2
    for answer, one in zip(answers, expected, strict=True):
        assert (answer["costs"], answer["front"]) == (one["costs"], one["front"])
        advice = one["advice"]
        if answer["advice"] is None or advice is None:
            assert answer["advice"] is advice is None
            continue
        answer["advice"].pop("shares")
        assert answer["advice"] == dataclasses.asdict(advice)


def test_script_and_report_write_numbers_alike(tmp_path: Path) -> None:
    """Ties at half a last digit, limits instead of what only rounds to 0 or 1, a minus sign."""
    values = [i / 2000 for i in range(-40, 2041)] + [i / 64 for i in range(-64, 65)]
    run = """
const page = require(process.argv[1]);
const values = JSON.parse(require("fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(values.map((v) => [page.probability(v), page.number(v, 3)])));
"""
    path = tmp_path / "explore.js"
    path.write_text(script())
    command = [str(NODE), "-e", run, str(path)]
    done = subprocess.run(
        command, input=json.dumps(values), capture_output=True, text=True, check=True, timeout=60
    )
    expected = [[wording.probability(value), wording.number(value, 3)] for value in values]
    assert json.loads(done.stdout) == expected


@pytest.fixture(scope="module")
def page_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of eight purchases, compute priced."""
    made = with_scores(small(), SCORES)
    compute = dict.fromkeys(made.trials["trial_id"], 0.25)
    given = report_input(made, compute=compute)
    return build_report(given, tmp_path_factory.mktemp("page")).page


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests of this file."""
    with chromium() as started:
        yield started


def move(page: Page, name: str, value: float) -> None:
    """Move a slider as a user does."""
    page.locator(f"#{name}").evaluate(
        "(element, value) => { element.value = value; element.dispatchEvent(new Event('input')); }",
        value,
    )


def offers_of_page(path: Path) -> tuple[dict[str, Any], list[Offer]]:
    """The data that a page carries, and its ranked offers as Python takes them."""
    text = path.read_text()
    [data] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    carried = json.loads(data)
    rows = [carried["offers"][place] for place in carried["drawn"]]
    offers = [
        Offer(row["name"], row["items"], row["compute"], row["mean"], row["is_named"])
        for row in rows
    ]
    return carried, offers


@needs_chromium
def test_sliders_change_the_advice_as_the_numbers_say(page_path: Path, browser: Browser) -> None:
    """A cheap mask, a small sum, a part of the price taken off: each time what Python says."""
    made = with_scores(small(), SCORES)
    compute = dict.fromkeys(made.trials["trial_id"], 0.25)
    priced, cells, rests_on = evidence(made, compute=compute)
    offers = find_offers(priced, cells, rests_on)
    assert offers is not None
    carried, of_page = offers_of_page(page_path)
    assert carried["draws"] == len(offers.draws) == 4000
    prices, seen = dataclasses.asdict(Prices()), set()
    with opened(browser, page_path) as shown:
        page = shown.page
        for mask, place, part in ((45.0, 200, None), (45.0, 60, None), (0.45, 60, None),
                                  (0.45, 120, "validation"), (45.0, 120, "compute")):  # fmt: skip
            move(page, "price-mask", mask)
            axis = list(carried["axis"])
            if part is not None:
                page.locator(f"#part-{part}").check()
                axis += [part]
            move(page, "sum", place)
            now = prices | {"mask": mask}
            ends = [price_of(offer, now, axis) for offer in of_page]
            everything = [
                price_of(Offer("", row["items"], row["compute"], 0.0), now, axis)
                for row in carried["offers"]
            ]
            low, high = min(everything), max(everything)
            dollars = math.inf if place == 200 else low * (high / low) ** (place / 200)
            assert min(ends) >= low
            found = advise(offers.offers, offers.draws, now, dollars, axis)
            text = page.locator("#advice").inner_text()
            if found is None:
                assert "nothing that is ranked and shown can be bought" in text
            else:
                seen.add(found.first)
                assert f"buy {offers.offers[found.first].name}, for $" in text
                assert f"what it buys {wording.probability(found.probability)}" in text
                assert f"expected regret {found.regret:.3f}" in text
            if part is not None:
                page.locator(f"#part-{part}").uncheck()
        assert len(seen) >= 2
        assert shown.complaints == []
        assert shown.requests == [page_path.as_uri()]


@needs_chromium
def test_without_scripts_everything_is_there(page_path: Path, browser: Browser) -> None:
    """The chart and the tables are; the controls, which would do nothing, are not."""
    with opened(browser, page_path, java_script_enabled=False) as shown:
        assert shown.page.locator("#explore").is_hidden()
        assert shown.page.locator("#chart .mark").count() == 8
        assert shown.page.locator("h2", has_text="With your money, buy this").is_visible()
        still = [mark.get_attribute("transform") for mark in shown.page.locator(".mark").all()]
    with opened(browser, page_path) as moved:
        drawn = [mark.get_attribute("transform") for mark in moved.page.locator(".mark").all()]
        assert moved.page.locator("#explore").is_visible()
    assert still == drawn  # the script's scale is Python's


@needs_chromium
def test_marks_are_chosen_by_keyboard_and_compared(page_path: Path, browser: Browser) -> None:
    """Two at most; a filter hides marks and advises nothing of them."""
    with opened(browser, page_path) as shown:
        page = shown.page
        marks = page.locator(".mark")
        labels = [mark.get_attribute("aria-label") or "" for mark in marks.all()]
        for key, place in (("Enter", 0), (" ", 2), ("Enter", 3)):
            marks.nth(place).focus()
            page.keyboard.press(key)
        pressed = [mark.get_attribute("aria-pressed") for mark in marks.all()]
        assert [i for i, value in enumerate(pressed) if value == "true"] == [2, 3]
        text = page.locator("#pins").inner_text()
        assert labels[2] in text
        assert labels[3] in text
        assert re.search(r"robust AUROC -?\d\.\d{3} \(95 % of draws .* for \$", text)
        page.locator("#filters label", has_text="masks").locator("input").uncheck()
        assert "masks" not in page.locator("#advice").inner_text()
        assert "masks" not in page.locator("#ranked").inner_text()
        assert page.locator(".mark:visible").count() < len(labels)


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
def test_the_page_is_accessible(page_path: Path, browser: Browser, scheme: Any, width: int) -> None:
    """Axe finds no violation; nothing is wider than the screen."""
    options = {"color_scheme": scheme, "viewport": {"width": width, "height": 900}}
    with opened(browser, page_path, bypass_csp=True, **options) as shown:
        found = Axe().run(shown.page).response["violations"]
        assert [(rule["id"], rule["nodes"][0]["html"]) for rule in found] == []
        assert shown.page.evaluate("document.documentElement.scrollWidth") <= width


@needs_chromium
def test_nothing_can_leave_the_page(page_path: Path, browser: Browser) -> None:
    """Its policy refuses what a script that got in would try."""
    with opened(browser, page_path) as shown:
        outcome = shown.page.evaluate(
            "fetch('http://127.0.0.1:9/x').then(() => 'went', (error) => String(error))"
        )
        assert "Failed to fetch" in outcome
        assert any("Content Security Policy" in text for text in shown.complaints)
        assert len(shown.page.context.pages) == 1
        assert shown.page.pdf(format="A4")[:5] == b"%PDF-"


def test_a_large_sweep_carries_fewer_draws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And says how many; the page of 300 purchases stays below 5 MB."""
    monkeypatch.setattr(explore, "MOST_BYTES", 2 * 8 * 700)
    files = build_report(report_input(with_scores(small(), SCORES)), tmp_path)
    text = files.page.read_text()
    assert "It carries\n700 draws of all ranked purchases, fewer than the 4,000" in text
    assert 300 * 4000 * 2 <= 3_500_000


def test_the_chart_names_every_mark_and_spreads_equals() -> None:
    """Two purchases at one point stand apart; free ones have a place on a logarithm."""
    marks = [
        Mark(f"purchase {i}", "box", "40", 0, dollars, 0.8, math.nan, math.nan, f"<{i}>", True)
        for i, dollars in enumerate((0.0, 5.0, 5.0, 900.0))
    ]
    svg = frontier_svg(marks, {"box": "boxes"}, ["erm"])
    places = [float(x) for x in re.findall(r'translate\(([\d.]+) 0\)"><title>', svg)]
    assert len(set(places)) == 4
    assert places == sorted(places)
    assert svg.count('tabindex="0"') == 4
    assert "<title>&lt;0&gt;</title>" in svg
    scale = dollar_scale([0.0, 5.0, 900.0])
    assert scale.is_log
    assert dollar_scale([0.0]).ticks
    assert dollar_scale([3.0, 7.0]).is_log is False
