"""Training curves: a line a seed, the chosen epoch marked, nothing where there is one epoch."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from report_tables import (
    EPOCHS_TRAINED,
    KEPT,
    PLANTED,
    Made,
    make,
    plan,
    report_input,
    small,
    with_scores,
)
from report_tables import tables as cells_of
from wards import Wards

from sweeps.report.build import build_report
from sweeps.report.epochs import Epochs
from sweeps.report.histories import Histories
from sweeps.report.shown import Shown
from sweeps.report.training_curves import MOST_SEEDS, curves_context


def shown_of(made: Made) -> tuple[pd.DataFrame, Shown]:
    """Priced trials, and all cells as shown."""
    priced, cells = cells_of(made)
    return priced, Shown(cells.to_dict("records"), "")


def histories_of(made: Made) -> Histories:
    """Metrics of all epochs."""
    return Epochs.of(made.trials, made.epochs).histories


def plots(panel: str) -> list[tuple[list[list[tuple[float, float]]], list[tuple[float, float]]]]:
    """Each plot's lines as points, and the marked points."""
    parts = panel.split('<text class="name"')[1:]
    found = []
    for part in parts:
        lines = [
            [(float(x), float(y)) for x, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", path)]
            for path in re.findall(r'<path [^>]*d="([^"]+)"', part)
        ]
        marks = re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', part)
        found.append((lines, [(float(x), float(y)) for x, y in marks]))
    return found


def test_lines_are_the_epochs_and_marks_the_chosen_one() -> None:
    """Heights are linear in the metric, logarithmic in the loss, which falls from 1 to 1 / 8."""
    made = small()
    priced, shown = shown_of(made)
    found = curves_context(histories_of(made), priced, shown)
    assert found is not None
    assert len(found["panels"]) == len(shown.cells)
    for cell, panel in zip(shown.cells, found["panels"], strict=True):
        metric = "val.auroc" if cell["specificity"] == "label" else "val.dice"
        trials = priced[[key in shown.keys for key in zip(*keys_of(priced), strict=True)]]
        trials = trials[(trials["specificity"] == cell["specificity"])]
        trials = trials[(trials["budget"] == cell["budget"]) & (trials["method"] == cell["method"])]
        (lines, marks), (losses, of_loss) = plots(panel)
        assert (len(lines), len(marks), len(losses), len(of_loss)) == (3, 3, 3, 3)
        values, heights = [], []
        for trial, line in zip(trials.sort_values("seed")["trial_id"], lines, strict=True):
            mine = made.epochs[(made.epochs["trial_id"] == trial)]
            mine = mine[(mine["split"] + "." + mine["metric"] == metric)]
            values += mine.sort_values("epoch")["value"].tolist()
            heights += [y for _, y in line]
            assert len(line) == EPOCHS_TRAINED
        slope, offset = np.polyfit(values, heights, 1)
        assert slope < 0
        assert np.abs(slope * np.array(values) + offset - heights).max() < 0.1
        for line, mark in zip(lines, marks, strict=True):
            assert line[KEPT - 1] == mark
        assert f"seed 0: epoch {KEPT} of {EPOCHS_TRAINED} chosen, {metric}" in panel
        assert "train loss 1 first and 0.125 last" in panel
        assert re.search(r'role="img" aria-labelledby="(curve\d+)-t \1-d"', panel)


def keys_of(priced: pd.DataFrame) -> list[pd.Series]:  # type: ignore[type-arg]
    """The three columns of a cell's key."""
    return [priced[name] for name in ("specificity", "budget", "method")]


def test_a_line_breaks_where_training_was_not_finite() -> None:
    """NaN and infinite values are no points, and nothing is drawn across them."""
    made = make(plan(("label",), ("600",), ("erm",), (0,)))
    epochs = made.epochs.copy()
    loss = (epochs["split"] == "train") & (epochs["metric"] == "loss")
    epochs.loc[loss & (epochs["epoch"] == 3), "value"] = np.nan
    epochs.loc[loss & (epochs["epoch"] == 6), "value"] = np.inf
    priced, shown = shown_of(made)
    found = curves_context(histories_of(replace(made, epochs=epochs)), priced, shown)
    assert found is not None
    _, (lines, marks) = plots(found["panels"][0])
    [path] = re.findall(r'<path class="c0" d="([^"]+)"', found["panels"][0])[1:]
    assert [len(re.findall("L", part)) for part in path.split("M")[1:]] == [1, 1, 1]
    assert len(lines[0]) == EPOCHS_TRAINED - 2
    assert marks == []  # the chosen epoch's loss is infinite
    assert "train loss 1 first and 0.125 last, not finite at 2 epochs" in found["panels"][0]
    assert "nan" not in found["panels"][0]
    seldom = loss & (epochs["epoch"] % 2 == 0)  # not evaluated is not broken
    found = curves_context(histories_of(replace(made, epochs=epochs[~seldom])), priced, shown)
    assert found is not None
    [path] = re.findall(r'<path class="c0" d="([^"]+)"', found["panels"][0])[1:]
    assert [len(re.findall("L", part)) for part in path.split("M")[1:]] == [0, 1]
    assert found["legend"] == ""


def test_what_there_is_too_much_or_too_little_of(tmp_path: Path) -> None:
    """One epoch has no curve; of many seeds some are drawn, and long lines are thinned."""
    made = make(plan(("label",), ("600",), ("erm",), range(MOST_SEEDS + 3)))
    priced, shown = shown_of(made)
    found = curves_context(histories_of(made), priced, shown)
    assert found is not None
    (lines, _), _ = plots(found["panels"][0])
    assert len(lines) == MOST_SEEDS
    assert "3 more seeds not drawn" in found["panels"][0]
    first = made.epochs["epoch"] == 1
    short = made.epochs[first].assign(epoch=1)
    once = replace(made, trials=made.trials.assign(kept_epoch=1, epochs=1), epochs=short)
    page = build_report(report_input(once), tmp_path).page.read_text()
    assert "Training curves" not in page
    priced, shown = shown_of(once)
    assert curves_context(histories_of(once), priced, shown) is None


def test_the_page_draws_the_frontier_and_labels_beside_it(wards: Wards, tmp_path: Path) -> None:
    """Real training, whose loss falls; of planted scores the purchases that win."""
    page = wards.files.page.read_text()
    section = page.partition("<h2>Training curves</h2>")[2].partition("<h2>")[0]
    assert re.findall(r"<figcaption>([^<]+)</figcaption>", section) == [
        *("Labels on 80 images, trained with erm", "Masks on 80 images, trained with erm"),
    ]
    assert ">val.auroc</text>" in section
    assert ">val.dice</text>" in section
    planted = build_report(report_input(with_scores(small(), PLANTED)), tmp_path).page.read_text()
    section = planted.partition("<h2>Training curves</h2>")[2].partition("<h2>")[0]
    assert re.findall(r"<figcaption>([^<]+)</figcaption>", section) == [
        "Labels on 600 images, trained with erm",
        "Labels on all images, trained with erm",
        "Boxes on 600 images, trained with erm",
        "Masks on all images, trained with erm",
    ]
