"""Every sentence and table row of random reports is held to its claim, computed apart from them.

What writes the sentences is not what checks them: `sentence_*.py` import nothing of the package
but for `sentence_raw.py`, which unpacks the report's input into plain tables. Pictures are left out
of most of these reports: they have tests of their own.
"""

from __future__ import annotations

import importlib
import io
from pathlib import Path

import pytest
from PIL import Image
from random_results import Result, random_result
from sentence_claims import check_report
from sentence_document import Block, Text, read_html, read_markdown
from sentence_facts import Facts
from sentence_raw import raw_of

from sweeps.report import explained_scatter, figure
from sweeps.report.build import build_report

CHECKERS = (
    *(
        "answer",
        "caveats",
        "choices",
        "learning",
        "tables",
        "metrics",
        "page",
        "published",
        "explained",
        "shown",
        "subgroups",
        "unfinished",
        "squares",
        "examples",
        "exemplars",
        "pictures",
    ),
    "constants",
    "constants_more",
)
for _name in CHECKERS:
    importlib.import_module(f"sentence_{_name}")

SETS, FAST, CHUNK = 200, 20, 10
"""All; those of `make test`, the others are slow; those of one test."""
DRAWN = 40
"""Every such result set has its figure drawn."""


def _one_pixel() -> bytes:
    """Return a picture, as small as can be."""
    data = io.BytesIO()
    Image.new("RGB", (1, 1)).save(data, "png")
    return data.getvalue()


PICTURE = figure.Drawing(_one_pixel(), b"svg", b"pdf")


def build(result: Result, folder: Path) -> tuple[Facts, dict[str, list[Block]]]:
    """Make the report, and return what is true and what it says."""
    build_report(result.source, folder)
    pages = {
        "report.md": read_markdown((folder / "report.md").read_text()),
        "report.html": read_html((folder / "report.html").read_text()),
    }
    return Facts(raw_of(result.source, result.epochs, result.predictions, folder)), pages


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(first, marks=() if first < FAST else pytest.mark.slow)
        for first in range(0, SETS, CHUNK)
    ],
)
def test_every_sentence_is_true(
    first: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two hundred result sets of all kinds, in words and in tables, as Markdown and as a page."""
    for seed in range(first, first + CHUNK):
        with monkeypatch.context() as patch:
            if seed % DRAWN:
                patch.setattr(figure, "draw_frontier_figure", lambda *_: PICTURE)
                patch.setattr(explained_scatter, "as_png", lambda _: PICTURE.png)
            facts, pages = build(random_result(seed), tmp_path / str(seed))
        for name, blocks in pages.items():
            try:
                assert check_report(facts, blocks) > 30
            except AssertionError as error:
                raise AssertionError(f"result set {seed}, {name}: {error}") from None


def test_an_unknown_sentence_fails(tmp_path: Path) -> None:
    """A sentence without a checker is not believed, nor a known one with another number."""
    facts, pages = build(random_result(3), tmp_path)
    blocks = pages["report.md"]
    with pytest.raises(AssertionError, match="no checker knows this sentence"):
        check_report(facts, [*blocks, Text("Masks are the best of all worlds.", "p")])
    with pytest.raises(AssertionError, match="trials finished"):
        check_report(
            facts, [Text("11 of 12 trials finished, 4 purchases of 3 seeds; 1 hours.", "p")]
        )
