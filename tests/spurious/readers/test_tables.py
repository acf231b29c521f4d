"""Small CSV files: cells that a spreadsheet has cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from spurious.readers.issues import ReaderIssues
from spurious.readers.tables import read_rows


@pytest.mark.parametrize(
    ("length", "program"),
    [
        *((32_767, "Excel"), (32_758, "Excel"), (32_757, None), (32_768, None)),
        *((50_000, "Google Sheets"), (49_991, "Google Sheets"), (49_990, None)),
        *((65_535, "LibreOffice"), (65_530, "LibreOffice"), (65_536, None), (200_000, None)),
    ],
)
def test_cells_that_a_spreadsheet_cut_are_told(
    tmp_path: Path, length: int, program: str | None
) -> None:
    """At the limit, and up to a number's length below it."""
    path, issues = tmp_path / "t.csv", ReaderIssues()
    path.write_text(f"a,b\nx,{'1' * length}\n")
    lines = [line for line, _ in read_rows(path, ("a", "b"), issues)]
    assert lines == ([] if program else [2])
    assert [f"{program} cuts a cell at" in text for text in issues.shown] == [True] * bool(program)
