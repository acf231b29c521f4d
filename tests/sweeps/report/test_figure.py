"""The figure: deterministic, of any size, and its labels readable."""

from __future__ import annotations

import io
import math
import os
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from report_tables import (
    Made,
    evidence,
    make,
    plan,
    small,
    with_scores,
)

from spurious.config.options import Prices
from sweeps.report import processes
from sweeps.report.figure import draw_frontier_figure
from sweeps.report.labels import Label, write_labels
from sweeps.report.layout import apart, first_free, overlap
from sweeps.report.panels import dollar_axis, draw_band
from sweeps.report.probabilities import attainment_frame
from sweeps.report.processes import begin


@pytest.fixture(scope="module")
def made() -> Made:
    """Labels, boxes and masks on 600 and on all images, three seeds each."""
    return small()


def png_of(made: Made, **changes: object) -> bytes:
    """The figure of these tables."""
    priced, table, rests_on = evidence(made, **changes)
    return draw_frontier_figure(table, priced, attainment_frame(table, rests_on)).png


def test_figure_is_deterministic_and_large_enough(made: Made) -> None:
    """Same tables, same bytes, at least 1200 pixels wide, without metadata that could differ."""
    first = png_of(made)
    assert first == png_of(made)
    image = Image.open(io.BytesIO(first))
    assert image.width >= 1200
    assert not set(image.info) - {"dpi"}


def test_another_process_draws_the_same(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large reports have the figure drawn while the page is made."""
    priced, table, rests_on = evidence(made)
    arguments = (table, priced, attainment_frame(table, rests_on))
    monkeypatch.setattr(processes, "_may_spawn", lambda: True)
    here = begin(len(priced), os.getpid)
    monkeypatch.setattr(processes, "_WORTH_PROCESSES", len(priced))
    elsewhere = begin(len(priced), os.getpid)
    assert here() == os.getpid() != elsewhere()
    drawn = begin(len(priced), draw_frontier_figure, *arguments)
    assert drawn() == draw_frontier_figure(*arguments)


def test_figure_leaves_matplotlib_alone(made: Made) -> None:
    """Drawing changes no global setting, and a user's own settings do not change the drawing."""
    import matplotlib

    plain = png_of(made)
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red"}):
        assert png_of(made) == plain
        assert matplotlib.rcParams["font.size"] == 20


@pytest.mark.parametrize(
    "planned",
    [
        plan(("label",), ("600",), ("erm",)),
        plan(("label",), ("600",), ("erm",), seeds=(0,)),
        plan(("label", "box", "r=4", "mask"), ("100", "300", "600", "1100", "2200", "all"),
             ("erm", "jtt", "george", "ssl", "spl"), seeds=(0, 1)),
    ],
    ids=["one cell", "one seed", "sixty cells"],
)  # fmt: skip
def test_figure_of_any_size(planned: tuple[object, ...]) -> None:
    """One cell, one seed and more than sixty cells are drawn."""
    image = Image.open(io.BytesIO(png_of(make(planned))))  # type: ignore[arg-type]
    assert len(np.unique(np.asarray(image.convert("L")))) > 10


def test_figure_with_free_purchases_and_undefined_metrics(made: Made) -> None:
    """Zero dollars among others, all dollars zero, and no defined AUROC do not stop the figure."""
    labels_free = replace(Prices(), label=0.0)
    assert png_of(made, prices=labels_free) != png_of(made)
    assert png_of(made, prices=replace(Prices(), wage_per_hour=0.0))
    assert png_of(with_scores(made, {one.key: [math.nan] * 3 for one in made.planned}))


@pytest.mark.parametrize(
    ("dollars", "scale"),
    [
        ([16.67, 4000.0], "log"),
        ([16.67, 166.0], "linear"),
        ([0.0, 16.67, 4000.0], "symlog"),
        ([0.0, 0.0], "linear"),
        ([16.67], "linear"),
    ],
)
def test_dollar_axis_fits_the_prices(dollars: list[float], scale: str) -> None:
    """Logarithmic above a ratio of 10, able to show zero, with dollar ticks and room around."""
    axes = Figure().subplots()
    dollar_axis(axes, np.array(dollars))
    assert axes.get_xscale() == scale
    low, high = axes.get_xlim()
    assert low < min(dollars)
    assert max(dollars) < high
    assert axes.xaxis.get_major_formatter()(2000.0, 0) == "$2,000"
    assert axes.xaxis.get_major_formatter()(0.5, 0) == "$0.50"


def test_band_is_drawn_in_steps_up_to_the_edge() -> None:
    """Each sum's range holds until the next sum, the last one to the end of the axis."""
    axes = Figure().subplots()
    axes.set(xlim=(0.0, 10.0), ylim=(0.5, 0.8))
    sums = {"dollars": [1.0, 4.0, 4.0], "attained_low": [0.4, 0.6, 0.6]}
    draw_band(axes, pd.DataFrame({**sums, "attained_high": [0.7, 0.9, 0.9]}))
    [band] = axes.collections
    corners = {tuple(corner) for corner in band.get_paths()[0].vertices.round(6).tolist()}
    assert {(1, 0.4), (4, 0.4), (4, 0.6), (10, 0.6), (10, 0.9), (4, 0.9), (4, 0.7)} <= corners
    low, high = axes.get_ylim()
    assert low < 0.4
    assert high > 0.9
    draw_band(axes, pd.DataFrame(columns=["dollars"]))
    assert len(axes.collections) == 1


POSITIONS = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=40).map(np.array)


@given(POSITIONS)
def test_apart_keeps_order_and_distance(positions: np.ndarray) -> None:
    """Neighbours end at least the least distance apart, in the order they were."""
    moved = apart(positions, 0.01)
    order = np.argsort(positions, kind="stable")
    assert (np.diff(moved[order]) >= 0.01 - 1e-9).all()
    assert moved.mean() == pytest.approx(positions.mean())


def test_apart_leaves_distant_points() -> None:
    """Points that are far enough apart do not move; coinciding ones part symmetrically."""
    assert apart(np.array([0.1, 0.5, 0.9]), 0.01).tolist() == pytest.approx([0.1, 0.5, 0.9])
    assert apart(np.array([0.5, 0.5]), 0.02).tolist() == pytest.approx([0.49, 0.51])


def test_first_free_place() -> None:
    """Taken and outside places are passed over; touching edges are no overlap."""
    frame = (0.0, 0.0, 10.0, 10.0)
    outside, taken, free = (9.0, 9.0, 11.0, 10.0), (0.0, 0.0, 2.0, 2.0), (2.0, 0.0, 4.0, 2.0)
    assert first_free([outside, taken, free], [(1.0, 1.0, 2.0, 2.0)], frame) == free
    assert first_free([outside, taken], [(1.0, 1.0, 2.0, 2.0)], frame) is None
    assert not overlap((0.0, 0.0, 1.0, 1.0), (1.0, 0.0, 2.0, 1.0))


def test_labels_avoid_each_other_and_markers() -> None:
    """Written labels overlap neither one another nor a marker, and lie in the panel."""
    figure = Figure(figsize=(8, 5), dpi=160)
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    generator = np.random.default_rng(3)
    at = generator.uniform((250, 150), (1050, 650), size=(40, 2))
    labels = [
        Label(f"{i},000", (str(i),), "#0072B2", i % 3 == 0, x, y, y - 30, y + 30)
        for i, (x, y) in enumerate(at)
    ]
    write_labels(axes, labels, np.array([[250.0, 200.0], [1050.0, 200.0]]))
    boxes = [tuple(text.get_window_extent().extents) for text in axes.texts]
    frame = tuple(axes.get_window_extent().extents)
    markers = [(x - 6, y - 6, x + 6, y + 6) for x, y in at]
    assert len(boxes) > 25
    for i, box in enumerate(boxes):
        assert first_free([box], [*markers, *boxes[:i]], frame) == box  # type: ignore[list-item]
