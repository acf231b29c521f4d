"""What a report gives for papers: the figure as vectors, and the table as LaTeX."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from report_tables import PLANTED, Made, report_input, small, with_scores

from sweeps.report.build import ReportFiles, build_report
from sweeps.report.latex import escape


@pytest.fixture(scope="module")
def made() -> Made:
    """Labels, boxes and masks on 600 and on all images, three seeds each."""
    return with_scores(small(), PLANTED)


@pytest.fixture(scope="module")
def files(made: Made, tmp_path_factory: pytest.TempPathFactory) -> ReportFiles:
    """Its report."""
    return build_report(report_input(made), tmp_path_factory.mktemp("papers"))


def test_the_figure_is_there_as_vectors(files: ReportFiles, made: Made, tmp_path: Path) -> None:
    """SVG with its text as text, PDF with TrueType fonts, PNG at 200 dots an inch; no dates."""
    words = set(re.findall(r"<text[^>]*>([^<]+)</text>", files.figure_svg.read_text()))
    assert {"Robust AUROC on test", "Annotation cost (US dollars)"} <= words
    pdf = files.figure_pdf.read_bytes()
    assert pdf.startswith(b"%PDF-")
    assert b"/CreationDate" not in pdf
    assert b"/Type3" not in pdf
    with Image.open(files.figure) as picture:
        assert picture.info["dpi"] == pytest.approx((200, 200), abs=0.1)
    again = build_report(report_input(made), tmp_path)
    for name in ("figure", "figure_svg", "figure_pdf", "latex"):
        assert getattr(again, name).read_bytes() == getattr(files, name).read_bytes(), name


def test_the_table_has_every_purchase(files: ReportFiles) -> None:
    """A row of eight columns for each, intervals beside AUROCs, the frontier in bold."""
    text = files.latex.read_text()
    body = text.partition("\\midrule\n")[2].partition("\\bottomrule")[0].strip().splitlines()
    cells = pd.read_parquet(files.cells)
    assert len(body) == len(cells)
    for line, cell in zip(body, cells.to_dict("records"), strict=True):
        assert len(re.split(r"(?<!\\)&", line)) == 8
        assert line.endswith(r" \\")
        assert (r"\textbf{" in line) == cell["on_frontier"]
        low, high = cell["robust_auroc_low"], cell["robust_auroc_high"]
        assert f"{cell['robust_auroc_mean']:.3f} ({low:.3f} to {high:.3f})" in line
    assert text.count(r"\begin{") == text.count(r"\end{") == 2
    assert re.search(r"(?<!\\)\$(?!-\$)", text) is None  # dollars are escaped
    assert "95 \\% intervals" in text


def test_text_from_outside_stays_text(made: Made, tmp_path: Path) -> None:
    """What LaTeX would read as a command, a comment or mathematics."""
    assert escape(r"a_b\c{d}%$&#~^<>") == (
        r"a\_b\textbackslash{}c\{d\}\%\$\&\#\textasciitilde{}\textasciicircum{}"
        r"\textless{}\textgreater{}"
    )
    given = report_input(made)
    named = replace(given, provenance=replace(given.provenance, sweep=r"\input{x}%"))
    text = build_report(named, tmp_path).latex.read_text()
    assert r"\textbackslash{}input\{x\}\%" in text
