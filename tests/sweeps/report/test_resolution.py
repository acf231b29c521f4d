"""The report's figure of resolutions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure
from report_tables import Made, make, plan, report_input, tables, with_scores

from spurious.config.datasets import GaussianSquares
from sweeps.report import resolution
from sweeps.report.build import build_report

RESOLUTIONS = (1, 2, 4, 20, 40)
SCORES = {(f"r={r}", "all", "erm"): [r / 50, r / 50 + 0.1, r / 50 + 0.2] for r in RESOLUTIONS}
NO_MEASURES = pd.DataFrame(columns=["cell", "variance_measure"])


def made_of(*specificities: str) -> Made:
    """A finished sweep of three seeds over some specificities."""
    return with_scores(make(plan(specificities, ("all",), ("erm",))), SCORES)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are saved."""
    found: list[Figure] = []
    save = Figure.savefig

    def keep(figure: Figure, *arguments: Any, **options: Any) -> None:
        found.append(figure)
        save(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    return found


def test_robust_auroc_is_drawn_against_r(drawn: list[Figure]) -> None:
    """Means at each r, and every seed; labels and masks have no r and are left out."""
    priced, cells = tables(made_of("label", *(f"r={r}" for r in RESOLUTIONS), "mask"))
    assert resolution.resolution_png(cells, priced, NO_MEASURES, None) is not None
    left, right = drawn[0].axes
    [bars] = left.containers
    x, y = bars[0].get_data()
    assert list(x) == list(RESOLUTIONS)
    assert list(y) == pytest.approx([r / 50 + 0.1 for r in RESOLUTIONS])
    dots = next(line for line in left.lines if line.get_alpha() == 0.4)
    assert sorted(dots.get_ydata()) == pytest.approx(sorted(v for s in SCORES.values() for v in s))
    assert right.lines == [] or all(len(line.get_xdata()) == 0 for line in right.lines)


def test_measures_of_squares_are_drawn_in_both_forms(drawn: list[Figure]) -> None:
    """By equation the variance stays from r = 1 to 2, exactly it rises; information ends at 0."""
    priced, cells = tables(made_of(*(f"r={r}" for r in RESOLUTIONS)))
    resolution.resolution_png(cells, priced, NO_MEASURES, GaussianSquares())
    lines = {line.get_label(): list(line.get_ydata()) for line in drawn[0].axes[1].lines}
    assert lines["variance, closed form"][:2] == pytest.approx([1.0, 1.0])
    assert lines["variance, exact"][:2] == pytest.approx([9.487600 / 10.250551, 1.0])
    assert lines["mutual information, closed form"][3] == 1.0
    assert lines["mutual information, exact"][2] == 1.0
    assert lines["mutual information, exact"][4] == lines["mutual information, closed form"][4] == 0


def test_a_report_has_it_from_three_resolutions_on(tmp_path: Path) -> None:
    """A file and a figure on the page; two resolutions are a table's business."""
    many = build_report(report_input(made_of("r=1", "r=4", "r=40")), tmp_path / "many")
    assert many.resolution is not None
    assert many.resolution.read_bytes().startswith(b"\x89PNG")
    assert "Against the resolution r of the masks" in many.page.read_text()
    few = build_report(report_input(made_of("r=1", "r=40", "mask")), tmp_path / "few")
    assert few.resolution is None
    assert not (tmp_path / "few" / "resolution.png").exists()
    assert "Against the resolution r of the masks" not in few.page.read_text()
