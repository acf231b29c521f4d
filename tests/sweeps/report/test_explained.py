"""What the models look at: from trials to the page, with trials that were finished before."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import spearmanr
from tiny_sweeps import TEXT, run_here

from cluster.stores.folder import FolderStore
from sweeps.commands.report import read_report_input
from sweeps.plan.facts import plan_on
from sweeps.report.build import ReportFiles, build_report
from sweeps.report.explained import explained_frame, rank_correlation, reduce_explanations
from sweeps.report.explained_pictures import _wrapped, tile
from sweeps.report.trials import price_trials, select_trials
from sweeps.results import tables as results
from sweeps.spec.model import Spec, parse_spec

OVERRIDES: dict[str, Any] = {
    "train.epochs": 1,
    "dataset.n_test": 24,
    "explanations": True,
    "examples": 2,
}
EARLIER = {"axes.specificity": ["mask"], "axes.seed": [0], "explanations": False, "examples": 0}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FolderStore:
    """A store with the sweep's results; the masks of seed 0 were trained before anybody asked."""
    folder = tmp_path_factory.mktemp("swept")
    store = FolderStore(folder / "store")
    run_here(store, parse_spec(TEXT, overrides=OVERRIDES | EARLIER), folder)
    run_here(store, parse_spec(TEXT, overrides=OVERRIDES), folder)
    return store


def report_of(store: FolderStore, spec: Spec, out: Path) -> ReportFiles:
    """The report's files."""
    return build_report(read_report_input(spec, plan_on(spec, store), store), out)


def test_the_page_has_what_the_trials_explained(store: FolderStore, tmp_path: Path) -> None:
    """Numbers are means over images and seeds, recomputed here; older trials are counted."""
    files = report_of(store, parse_spec(TEXT, overrides=OVERRIDES), tmp_path)
    assert files.explanations is not None
    table = pq.read_table(files.explanations).to_pandas()
    trials = results.read_trials(store, results.committed_ids(store))
    explained = results.trials_with(store, "explanations", trials)
    assert (trials.num_rows, explained.num_rows) == (4, 3)
    every = pa.concat_tables(results.each_table(store, "explanations", explained)).to_pandas()
    for row in table.to_dict("records"):
        of = every[
            (every["trial_id"] == row["trial_id"])
            & (every["explanation"] == row["explanation"])
            & (every["region"] == row["region"])
        ]
        assert row["images"] == len(of)
        assert row["zeros"] == int(of["share"].isna().sum())
        for name in ("share", "activation_precision", "pointing", "chance"):
            np.testing.assert_allclose(row[name], of[name].mean())
    page = files.page.read_text()
    section = page[page.index("What the models look at") : page.index("<h2>Measures")]
    assert "1 of 4 trials without explanations: finished before any were asked for" in section
    labels = table[(table["specificity"] == "label") & (table["explanation"] == "grad-cam")]
    for region, of_region in labels.groupby("region"):
        assert f"{of_region['share'].mean():.3f}" in section, region
    text = files.text.read_text()
    assert "| labels |" in text[text.index("## What the models look at") :]


def test_pictures_stand_beside_the_page(store: FolderStore, tmp_path: Path) -> None:
    """Both are files, in the page, and the same bytes again."""
    spec = parse_spec(TEXT, overrides=OVERRIDES)
    files, again = (report_of(store, spec, tmp_path / name) for name in ("one", "two"))
    page = files.page.read_text()
    for path, same in ((files.scatter, again.scatter), (files.examples, again.examples)):
        assert path is not None
        assert same is not None
        assert path.read_bytes() == same.read_bytes()
        assert f"<code>{path.name}</code>" in page
    assert page.count("rank correlation with robust AUROC") == 6  # three maps, two regions


def test_sweeps_that_ask_for_nothing_have_no_section(store: FolderStore, tmp_path: Path) -> None:
    """No file either; asked of trials that are all older, the section says that there are none."""
    silent = parse_spec(TEXT, overrides=OVERRIDES | EARLIER)
    files = report_of(store, silent, tmp_path / "silent")
    assert (files.explanations, files.scatter, files.examples) == (None, None, None)
    assert "What the models look at" not in files.page.read_text()
    asking = parse_spec(TEXT, overrides=OVERRIDES | EARLIER | {"explanations": True})
    page = report_of(store, asking, tmp_path / "asking").page.read_text()
    assert "1 of 1 trial without explanations" in page


def test_what_has_nothing_to_measure_says_so(tmp_path: Path) -> None:
    """A sweep that asked, on images without anything drawn or known: not an older one."""
    spec = parse_spec(
        TEXT,
        overrides=OVERRIDES
        | {"axes.specificity": ["label"], "axes.seed": [0]}
        | {"dataset.test_prevalence": 0.0, "dataset.test_spurious": 0.0},
    )
    store = FolderStore(tmp_path / "store")
    given = read_report_input(spec, run_here(store, spec, tmp_path), store)
    page = build_report(given, tmp_path / "report").page.read_text()
    assert "1 of 1 trial measured nothing: no test image has a mask" in page
    assert "finished before" not in page


def test_features_without_pixels_are_named(store: FolderStore, tmp_path: Path) -> None:
    """Beside what was measured, however long ago."""
    spec = parse_spec(TEXT, overrides=OVERRIDES)
    given = read_report_input(spec, plan_on(spec, store), store)
    assert given.explained is not None
    masks = given.explained[given.explained["region"] != "block"]
    for explained, count in ((given.explained, 0), (masks, 1)):
        page = build_report(replace(given, explained=explained), tmp_path / str(count)).page
        assert page.read_text().count("measured no explanation on block") == count


def test_robust_auroc_is_of_the_epoch_that_is_explained(store: FolderStore, tmp_path: Path) -> None:
    """Whatever epoch the report selects for its other numbers."""
    spec = parse_spec(TEXT, overrides=OVERRIDES | {"train.epochs": 3, "select.epoch": "last"})
    given = read_report_input(spec, run_here(store, spec, tmp_path), store)
    selected = select_trials(given.trials, given.epochs, given.rule)
    chosen = price_trials(selected, given.prices, given.rule, given.axis, "abnormality")
    frame = explained_frame(chosen, given.trials, given.explained)
    kept = given.trials.set_index("trial_id")["test_robust_auroc"]
    assert (frame["robust_auroc"].to_numpy() == kept[frame["trial_id"]].to_numpy()).all()
    last = chosen.set_index("trial_id")["test_robust_auroc"]
    assert (kept != last[kept.index]).any()


def test_means_of_segmenters_are_seen_and_labels_are_whole() -> None:
    """A mean of maps that sum to one is scaled to its highest, as no probability of an image is."""
    mean = {"picture": "prediction", "sample_id": math.nan, "highest": 0.001}
    shape = {"height": 1, "width": 2, "channels": 1, "pixels": np.array([0, 255], np.uint8)}
    assert tile(mean | shape, colour=True).max() > 200
    certain = {"picture": "prediction", "sample_id": "i", "highest": 0.001}
    assert tile(certain | shape, colour=True).max() < 50
    label = "masks 500, exbl(weight=0.1, candidates=6, grid=map, hinge=text, distance=mse)"
    assert max(map(len, _wrapped(label).splitlines())) <= 40
    assert _wrapped(label).replace("\n", " ") == label


def test_maps_of_zeros_are_counted_and_have_no_share() -> None:
    """Their precision is the region's share, by the rule for ties."""
    rows = [
        {"explanation": "grad-cam", "region": "mask", "share": share, "pointing": 0.25}
        | {"activation_precision": 0.25, "chance": 0.25}
        for share in (math.nan, 0.5)
    ]
    [row] = reduce_explanations({"trial_id": "x"}, pa.Table.from_pylist(rows)).to_dict("records")
    assert (row["images"], row["zeros"], row["share"]) == (2, 1, 0.5)


def test_rank_correlation_is_spearmans_rho() -> None:
    """With ties, as scipy has it; nothing of too few values or constant ones."""
    share = [0.1, 0.2, 0.2, 0.4, 0.3]
    robust = [0.5, 0.6, 0.4, 0.9, 0.9]
    values = pd.DataFrame({"share": share, "robust_auroc": robust})
    assert rank_correlation(values) == f"{spearmanr(share, robust).statistic:.2f}"
    assert rank_correlation(values.iloc[:2]) == "\N{EN DASH}"
    assert rank_correlation(values.assign(share=0.3)) == "\N{EN DASH}"
