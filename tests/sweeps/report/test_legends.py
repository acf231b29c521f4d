"""Names of methods in figures: apart, and never at the cost of the plot."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from report_tables import Made, evidence, make, plan, tables

from spurious.config.exemplars import Exbl
from sweeps.report import resolution
from sweeps.report.explained_scatter import scatter_png
from sweeps.report.figure import draw_frontier_figure
from sweeps.report.probabilities import attainment_frame
from sweeps.report.projection import projection_png
from sweeps.report.short_names import shorten
from sweeps.spec.values import MethodChoice

DICOM = [f"1.2.840.113619.2.55.3.{10**41 // 7 + i}" for i in range(4)]
UUIDS = [
    str(uuid.UUID(int=(i + 1) * 0x9E3779B97F4A7C15F39CC0605CEDC834 % 2**128)) for i in range(84)
]
SETS = {
    "DICOM UIDs": DICOM,
    "UUIDs": UUIDS[:4],
    "wide": ["W" * 64, "W" * 63 + "V", "W" * 30 + "V" + "W" * 33, "W" * 65],
    "many": UUIDS,
    "many alike": [f"{'A' * 40}{i:02}{'B' * 40}" for i in range(84)],
}


def methods_of(ids: Sequence[str]) -> list[str | MethodChoice]:
    """A method without options, and `exbl` for each two ids."""
    pairs = zip(ids[::2], ids[1::2], strict=True)
    return ["erm", *(MethodChoice("exbl", Exbl(good=good, bad=bad)) for good, bad in pairs)]


def made_of(ids: Sequence[str], *specificities: str) -> Made:
    """A finished sweep of these methods, two seeds each."""
    return make(plan(specificities or ("label",), ("600",), methods_of(ids), seeds=(0, 1)))


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


def assert_readable(figure: Figure, legends: Sequence[Legend], names: int, least: float) -> None:
    """Legends lie in the figure and name every method once; the plot keeps its width."""
    low, high = figure.bbox.extents[:2] - 1, figure.bbox.extents[2:] + 1
    panels = [axes.get_window_extent().extents for axes in figure.axes]
    texts: list[str] = []
    for legend in legends:
        box = legend.get_window_extent().extents
        assert (box[:2] >= low).all()
        assert (box[2:] <= high).all()
        for panel in panels:
            assert (box[2:] <= panel[:2]).any() or (panel[2:] <= box[:2]).any()
        texts += [text.get_text() for text in legend.get_texts()]
    assert len({text for text in texts if text.startswith(("exbl", "erm"))}) == names
    assert np.ptp([panel[[0, 2]] for panel in panels]) >= least * figure.bbox.width


@pytest.mark.parametrize("ids", SETS.values(), ids=SETS)
def test_the_frontier_keeps_its_width(drawn: list[Figure], ids: list[str]) -> None:
    """And is the same again, of any length and number of names."""
    priced, table, rests_on = evidence(made_of(ids))
    attained = attainment_frame(table, rests_on)
    assert draw_frontier_figure(table, priced, attained) == draw_frontier_figure(
        table, priced, attained
    )
    assert_readable(drawn[0], drawn[0].legends, 1 + len(ids) // 2, 0.6)


@pytest.mark.parametrize("ids", SETS.values(), ids=SETS)
def test_shares_of_explanations_keep_their_width(drawn: list[Figure], ids: list[str]) -> None:
    """Of one region, where the figure is narrow."""
    priced, cells = tables(made_of(ids))
    trials = priced.rename(columns={"test_robust_auroc": "robust_auroc"})
    measured = {"explanation": "saliency", "share": 0.3, "chance": 0.2}
    assert scatter_png(trials.assign(region="mask", **measured), cells)
    assert_readable(drawn[0], drawn[0].legends, 1 + len(ids) // 2, 0.45)


@pytest.mark.parametrize("ids", SETS.values(), ids=SETS)
def test_resolutions_keep_their_panels(drawn: list[Figure], ids: list[str]) -> None:
    """Each panel's legend stands below it, and the figure grows."""
    made = made_of(ids, "r=1", "r=4", "r=40")
    priced, cells = tables(made)
    nothing = pd.DataFrame(columns=["cell", "variance_measure"])
    assert resolution.resolution_png(cells, priced, nothing, None)
    left, right = drawn[0].axes
    assert_readable(drawn[0], [left.get_legend()], 1 + len(ids) // 2, 0.9)
    assert left.get_window_extent().width / drawn[0].bbox.width > 0.4
    assert left.get_window_extent().height == pytest.approx(0.7 * 4.8 * resolution.DPI)
    assert not right.get_legend()


def test_titles_of_embeddings_fit_their_panels(drawn: list[Figure]) -> None:
    """None reaches into the next one."""
    priced, cells = tables(made_of(DICOM))
    few = pd.DataFrame({"sample_id": ["a"], "label": [1], "embedding": [[0.0]]})
    trials = priced[priced["seed"] == 0]["trial_id"]
    assert projection_png(dict.fromkeys(trials, few), priced, cells)
    lefts = [axes.get_window_extent().x0 for axes in drawn[0].axes]
    titles = [axes._left_title.get_window_extent() for axes in drawn[0].axes]
    for title, following in zip(titles, [*lefts[1:], drawn[0].bbox.x1], strict=True):
        assert title.x1 <= following


def test_short_names_keep_options_and_ends() -> None:
    """Long values are cut alike; what fits stays as it is; what looks alike has a number."""
    name = f"exbl(good={DICOM[0]}, bad={DICOM[1]})"
    assert shorten([name, "erm"], 40) == {
        "erm": "erm",
        name: "exbl(good=1.2.8\N{HORIZONTAL ELLIPSIS}14285, bad=1.2.8\N{HORIZONTAL ELLIPSIS}14286)",
    }
    alike = [f"A{'x' * 30}{middle}{'x' * 30}B" for middle in "ab"]
    assert list(shorten(alike, 9).values()) == [
        f"Axxx\N{HORIZONTAL ELLIPSIS}xxxB [{i}]" for i in (1, 2)
    ]


TEXTS = st.text("ab,=( \N{HORIZONTAL ELLIPSIS}[12]", max_size=6)
ALIKE = TEXTS.map(lambda text: f"{'a' * 15}{text}{'b' * 15}")


@given(st.lists(TEXTS | ALIKE), st.integers(4, 20))
def test_short_names_stay_distinct(names: list[str], most: int) -> None:
    """Whatever they are."""
    short = shorten(names, most)
    assert set(short) == set(names)
    assert len(set(short.values())) == len(set(names))
