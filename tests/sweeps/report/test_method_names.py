"""Long names of methods: short everywhere on the page, in full once; and the page stays usable."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from html import escape, unescape
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser import chromium, needs_chromium, opened
from playwright.sync_api import Browser
from report_tables import make, plan, report_input
from wards import Wards

from spurious.config.methods import Exbl
from sweeps.report.build import ReportFiles, build_report
from sweeps.report.method_names import MOST, short_methods, shorten_in
from sweeps.spec.model import MethodChoice

LONG = [
    MethodChoice("exbl", Exbl(good=f"1.2.840.113654.2.55.{n}", bad=f"1.2.840.113654.2.56.{n}"))
    for n in (68425808326883186792123057288612355322, 257926562693607663865369179341285235858)
]
NAMES = [str(method) for method in LONG]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> ReportFiles:
    """Labels with erm, and with two methods whose names are of more than a hundred letters."""
    made = make(plan(("label", "mask"), ("600", "all"), ("erm", *LONG)))
    given = report_input(made)
    given = replace(given, provenance=replace(given.provenance, spec_text="name: long"))
    return build_report(given, tmp_path_factory.mktemp("long"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests of this file."""
    with chromium() as started:
        yield started


def test_full_names_stand_once_and_short_ones_everywhere(files: ReportFiles) -> None:
    """In the page with its data and its chart, and in Markdown; tables and LaTeX keep them."""
    short = short_methods([*NAMES, "erm"])
    assert set(short) == set(NAMES)
    assert len(set(short.values())) == 2
    assert max(map(len, short.values())) <= MOST + len(" [2]")
    page = files.page.read_text()
    for name in NAMES:
        assert page.count(escape(name)) == 1, name
        assert page.count(escape(short[name])) > 20
        assert files.text.read_text().count(name) == 1
        assert "\\u" not in short[name]
    data = page.partition('id="data">')[2].partition("</script>")[0]
    assert not any(name in unescape(data) for name in NAMES)
    assert max(map(len, re.findall(r"</svg>([^<]+)</li>", page))) <= MOST + len(" [2]")


def test_names_are_found_in_every_spelling() -> None:
    """Plain, HTML and JSON, in lists and dictionaries; what is no text stays."""
    name = 'm(a="<x>", b=' + "9" * 40 + ")"
    short = short_methods([name, "erm"])
    [text] = short.values()
    given = {"a": [f"with {name}", 1.5, None], "b": (escape(name),), "c": r"m(a=\"\u003cx>\", b="}
    given["c"] = str(given["c"]) + "9" * 40 + ")"
    found = shorten_in(given, short)
    assert found["a"] == [f"with {text}", 1.5, None]
    assert found["b"] == (escape(text),)
    assert name not in found["c"]
    assert "9" * 40 not in found["c"]
    assert shorten_in(given, {}) is given


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
def test_the_page_stays_usable(
    files: ReportFiles, wards: Wards, browser: Browser, scheme: Any, width: int
) -> None:
    """No violation of axe, nothing wider than the screen; controls are as wide as their text."""
    options = {"color_scheme": scheme, "viewport": {"width": width, "height": 900}}
    for path in (files.page, wards.files.page):
        with opened(browser, path, bypass_csp=True, **options) as shown:
            found = Axe().run(shown.page).response["violations"]
            assert [(rule["id"], rule["nodes"][0]["html"]) for rule in found] == []
            assert shown.page.evaluate("document.documentElement.scrollWidth") <= width
            assert shown.complaints == []
            labels = shown.page.locator("#filters label").all_inner_texts()
            assert max(map(len, labels)) <= MOST + len(" [2]")


@needs_chromium
def test_all_sections_are_there_without_scripts_and_in_print(
    wards: Wards, browser: Browser, tmp_path: Path
) -> None:
    """Every picture decodes under the page's own policy; nothing is asked of anybody."""
    with opened(browser, wards.files.page, java_script_enabled=False) as shown:
        for heading in ("Subgroups of patients", "Example images", "Training curves"):
            assert shown.page.locator("h2", has_text=heading).is_visible()
        assert shown.requests == [wards.files.page.as_uri()]
        assert len(shown.page.pdf(format="A4")) > 10_000
    with opened(browser, wards.files.page) as shown:
        widths = shown.page.locator("img").evaluate_all("all => all.map((i) => i.naturalWidth)")
        assert len(widths) > 40
        assert min(widths) > 0
        drawn = shown.page.locator(".curves path").evaluate_all(
            "all => all.map((path) => getComputedStyle(path).fill)"
        )
        assert set(drawn) == {"none"}
        assert shown.complaints == []
