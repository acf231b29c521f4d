"""Metrics of stored predictions, on trials that ran before these metrics existed."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from cluster.stores.folder import FolderStore
from spurious.scoring import registry, selection
from spurious.scoring.metric import Metric
from spurious.scoring.registry import METRICS, of_scores
from spurious.scoring.selection import parse_rule, select_epoch
from sweeps.commands.report import read_report_input
from sweeps.plan.cell import cell_of
from sweeps.plan.facts import plan_on
from sweeps.report import metrics
from sweeps.report.build import build_report
from sweeps.report.epochs import Epochs
from sweeps.report.readings import READ_METRICS
from sweeps.report.scored import score_epochs
from sweeps.report.tables import ReportInput
from sweeps.report.trials import select_trials
from sweeps.results.tables import read_attempts, read_trials, reduce_attempts
from sweeps.spec.model import load_spec

BEFORE = Path(__file__).parents[1] / "store_before"
KEY = ["trial_id", "attempt", "epoch", "split", "metric", "attribute"]
GROUPS = ["n_y0_s0", "n_y0_s1", "n_y1_s0", "n_y1_s1"]


def read(folder: Path) -> ReportInput:
    """The report's input from a store."""
    spec, store = load_spec(BEFORE / "before.yaml"), FolderStore(folder)
    return read_report_input(spec, plan_on(spec, store), store)


@pytest.fixture(scope="module")
def before() -> ReportInput:
    """Three classifiers and a segmenter that an earlier version trained."""
    return read(BEFORE / "store")


@pytest.fixture(scope="module")
def stored(before: ReportInput) -> pd.DataFrame:
    """Their epochs as they are in the store."""
    trials = read_trials(FolderStore(BEFORE / "store"), before.trials["trial_id"].tolist())
    return read_attempts(FolderStore(BEFORE / "store"), "epochs", trials).to_pandas()


@pytest.fixture(scope="module")
def scored(before: ReportInput) -> pd.DataFrame:
    """What their predictions say."""
    return score(before)


def score(given: ReportInput) -> pd.DataFrame:
    """What stored predictions say, at the report's operating point."""

    def reduce(trial: Mapping[str, Any], table: pa.Table) -> pa.Table:
        segments = cell_of(trial["config"]).segments
        return score_epochs(table, segments, given.provenance.directions, given.point)

    store = FolderStore(BEFORE / "store")
    trials = read_trials(store, given.trials["trial_id"].tolist())
    return pa.concat_tables(reduce_attempts(store, "predictions", trials, reduce)).to_pandas()


def test_recomputed_metrics_are_the_stored_ones(
    before: ReportInput, stored: pd.DataFrame, scored: pd.DataFrame
) -> None:
    """At the kept and the last epoch, on both splits, with their groups; of both kinds of model."""
    both = stored.fillna({"attribute": ""}).merge(
        scored.fillna({"attribute": ""}), on=KEY, suffixes=("", "_again")
    )
    pd.testing.assert_series_equal(
        both["value"], both["value_again"], check_names=False, rtol=0, atol=1e-12
    )
    for group in GROUPS:
        assert (both[group] == both[f"{group}_again"]).all()
    expected = {
        name
        for name, metric in METRICS.items()
        if metric.per_epoch and metric.compute and not metric.needs_classes
    }
    assert set(both["metric"]) == expected
    measured = stored["split"] != "train"  # there methods add numbers of theirs
    assert set(stored.loc[measured, "metric"]) <= set(METRICS)
    assert set(both["trial_id"]) == set(before.trials["trial_id"])
    for trial in before.trials.to_dict("records"):
        epochs = stored[stored["trial_id"] == trial["trial_id"]]
        known = both[both["trial_id"] == trial["trial_id"]]
        assert set(known["epoch"]) == {trial["kept_epoch"], trial["epochs"]}
        at_both = epochs["epoch"].isin(known["epoch"]) & epochs["metric"].isin(expected)
        assert len(known) == at_both.sum()
    segmenter = before.trials.loc[before.trials["specificity"] == "mask", "trial_id"]
    assert "accuracy" not in set(scored.loc[scored["trial_id"].isin(segmenter), "metric"])


def test_readings_are_the_aurocs_of_the_epochs_and_intervals_follow(
    before: ReportInput, tmp_path: Path
) -> None:
    """Value for value, of the same images in every trial; the report's limits come from them."""
    values = before.epochs.rows
    values = values[(values["split"] == "test") & values["attribute"].isna()]
    keyed = values.set_index(["trial_id", "epoch", "metric"])["value"]
    assert {trial for trial, _ in before.readings} == set(before.trials["trial_id"])
    for (trial_id, epoch), taken in before.readings.items():
        for metric, reading in taken.items():
            assert reading.value == pytest.approx(keyed[trial_id, epoch, metric], abs=1e-12)
    for metric in READ_METRICS:
        images = {taken[metric].images for taken in before.readings.values() if metric in taken}
        assert len(images) == 1
    cells = pd.read_parquet(build_report(before, tmp_path).cells)
    limits = cells[["robust_auroc_low", "robust_auroc_high", "auroc_low", "auroc_high"]]
    assert (limits.isna() | ((limits >= 0) & (limits <= 1))).all(axis=None)
    assert (limits.isna().any(axis=1) == (cells["robust_auroc_interval"] == "none")).all()


def test_numbers_that_were_shown_stay(before: ReportInput, stored: pd.DataFrame) -> None:
    """Chosen epochs and the metrics of before are equal with and without predictions."""
    for rule in (None, "last", "best val.auroc", "best test.robust_auroc"):
        parsed = None if rule is None else parse_rule(rule)
        with_them = select_trials(before.trials, before.epochs, parsed)
        without = select_trials(before.trials, Epochs.of(before.trials, stored), parsed)
        new = [m.name for m in METRICS.values() if m.whole and m.compute and not m.per_epoch]
        added = [f"{split}_{name}" for split in ("val", "test") for name in new]
        with_them, without = (table.drop(columns=added) for table in (with_them, without))
        pd.testing.assert_frame_equal(with_them, without, rtol=0, atol=1e-12)


def test_a_rule_on_a_new_metric_reads_the_kept_and_the_last_epoch(
    before: ReportInput, tmp_path: Path
) -> None:
    """The better of the two by it, and the page says so."""
    epochs, rule = before.epochs.rows, parse_rule("best val.brier")
    for row in select_trials(before.trials, before.epochs, rule).to_dict("records"):
        mine = epochs[(epochs["trial_id"] == row["trial_id"]) & (epochs["metric"] == "brier")]
        values = mine[mine["split"] == "val"].sort_values("epoch")
        history = [
            {"epoch": epoch, "val.brier": value}
            for epoch, value in zip(values["epoch"], values["value"], strict=True)
        ]
        assert row["epoch"] == select_epoch(rule, history)
        assert row["epoch"] == values["epoch"].iloc[values["value"].argmin()]
        assert row["epoch"] in (row["kept_epoch"], row["epochs"])
    said = "'best val.brier', the same rule for every trial, of the kept and the last epoch alone"
    assert said in build_report(replace(before, rule=rule), tmp_path).text.read_text()


def test_every_metric_is_shown_with_words_unit_and_direction(
    before: ReportInput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the page and in Markdown, one that was added after the trials, too, with its values."""
    late = Metric(
        name="late",
        words="lateness",
        unit="days",
        better="lower",
        meaning="added after the trials had finished",
        compute=of_scores(lambda labels, scores: 0.125),
    )
    entries = {**METRICS, "late": late}
    for module in (registry, metrics):
        monkeypatch.setattr(module, "METRICS", entries)
    files = build_report(read(BEFORE / "store"), tmp_path)
    page, text = files.page.read_text(), files.text.read_text()
    for metric in entries.values():
        assert metric.words
        assert metric.unit
        assert metric.meaning
        assert metric.better in ("higher", "lower", "neither")
        row = f"| {metric.words} | {metric.name} | {metric.unit} | {metric.better} |"
        assert row in text
        assert f"<td>{metric.words}</td><td><code>{metric.name}</code></td>" in page
    assert "Lateness \N{DOWNWARDS ARROW}" in page
    assert "| 0.125 |" in text
    table = pd.read_parquet(files.metrics)
    assert set(table.loc[table["metric"] == "late", "value"]) == {0.125}
    everywhere = {m.name for m in entries.values() if m.compute and m.fits(segments=True)}
    for _, mine in table[table["split"] != "train"].groupby(["trial_id", "split"]):
        assert everywhere <= set(mine["metric"])


def test_metrics_of_one_kind_are_selectable_by_the_registry_alone() -> None:
    """Rules and kept checkpoints read the registry: no list of names stands beside it."""
    assert set(selection.PER_EPOCH) < set(selection.SELECTABLE) < set(METRICS)
    assert {"average_precision", "brier", "calibration_error"} <= set(selection.SELECTABLE)
    assert not {"threshold", "auroc_gap", "variance_measure"} & set(selection.SELECTABLE)


def test_removed_predictions_leave_a_report_that_says_so(tmp_path: Path) -> None:
    """Metrics of every epoch stay; what only predictions give is undefined, counted, never 0."""
    shutil.copytree(BEFORE / "store", tmp_path / "store")
    gone = sorted((tmp_path / "store/results/predictions").rglob("*.parquet"))
    for path in gone[:1]:
        path.unlink()
    text = build_report(read(tmp_path / "store"), tmp_path / "report").text.read_text()
    assert "1 trial of 4 has no stored predictions at the epoch that counts" in text
    assert "1 undefined" in text


def test_a_sensitivity_fixes_the_threshold(before: ReportInput, scored: pd.DataFrame) -> None:
    """It is reached on validation by every trial, and Youden's threshold differs."""
    spec = load_spec(
        BEFORE / "before.yaml", overrides={"select.operating_point": {"sensitivity": 0.9}}
    )
    store = FolderStore(BEFORE / "store")
    asked = read_report_input(spec, plan_on(spec, store), store)
    assert str(asked.point) == "a sensitivity of at least 0.9 on validation"
    values = score(asked)
    on_val = values[(values["split"] == "val") & (values["metric"] == "sensitivity")]
    assert (on_val["value"] >= 0.9).all()
    thresholds = [table[table["metric"] == "threshold"] for table in (values, scored)]
    assert (thresholds[0]["value"] < thresholds[1]["value"]).any()
    one_each = thresholds[0].groupby(["trial_id", "epoch"])["value"].nunique()
    assert (one_each == 1).all()  # test has that of validation
