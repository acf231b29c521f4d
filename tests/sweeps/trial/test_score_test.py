"""`train.score_test: candidates`: fewer rows of test, and no reported number changes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from tiny_sweeps import PROVENANCE, assert_same, run_here, tables

from cluster.stores.folder import FolderStore
from spurious.scoring.selection import parse_rule
from sweeps.commands.context import SpecSource
from sweeps.commands.report import read_report_input, report
from sweeps.errors import SpecError
from sweeps.plan.facts import plan_on
from sweeps.plan.plan import Plan
from sweeps.report.tables import ReportInput
from sweeps.report.trials import select_and_price
from sweeps.spec.model import Spec, load_spec

QUICKSTART = Path(__file__).parents[3] / "sweeps" / "specs" / "quickstart.yaml"
SMALLER = (
    *("axes.budget=[40]", "axes.seed=[0]", "train.epochs=12", "train.learning_rate=0.05"),
    "model.classifier={name: small-cnn, channels: 4, levels: 2}",
    "model.segmenter={name: small-unet, channels: 4, levels: 2}",
)
"""A trial of each kind of annotation; a smaller model whose curves rise and fall."""
OF_TRIALS = ("trial_id", "config", "gpu_hours", "cpu_hours", *PROVENANCE)
"""Columns that differ between trials of other ids, and what they took."""
ORDER = ["specificity", "epoch", "split", "metric", "attribute", "sample_id"]


@dataclass(frozen=True)
class Ran:
    """One sweep with its results."""

    source: SpecSource
    spec: Spec
    store: FolderStore
    plan: Plan

    def tables(self) -> dict[str, pd.DataFrame]:
        """The committed tables without what names a trial, each row with its specificity."""
        found = tables(self.store, self.plan)
        kinds = {trial.id: str(trial.cell.specificity) for trial in self.plan.trials}
        return {
            name: _sorted(frame.assign(specificity=frame["trial_id"].map(kinds)))
            for name, frame in found.items()
        }

    def report(self, folder: Path) -> dict[str, pd.DataFrame]:
        """The report's tables by their file."""
        report(self.source, self.store.url, folder)
        files = sorted(folder.glob("*.parquet"))
        return {path.name: _sorted(pq.read_table(path).to_pandas()) for path in files}

    def selected(self, rule: str) -> pd.DataFrame:
        """Trials at the epochs of a rule, priced."""
        given = read_report_input(self.spec, self.plan, self.store)
        return _at(given, rule)


def _at(given: ReportInput, rule: str) -> pd.DataFrame:
    chosen = select_and_price(given, None if rule == "kept" else parse_rule(rule))
    return _sorted(chosen.drop(columns="cell"))


def _sorted(frame: pd.DataFrame) -> pd.DataFrame:
    by = [column for column in ORDER if column in frame]
    kept = frame.drop(columns=[column for column in OF_TRIALS if column in frame])
    return kept.sort_values(by, kind="stable", ignore_index=True)


def _run(folder: Path, score_test: str) -> Ran:
    source = SpecSource(str(QUICKSTART), (*SMALLER, f"train.score_test={score_test}"))
    spec = load_spec(QUICKSTART, source.overrides)
    store = FolderStore(folder / score_test)
    return Ran(source, spec, store, run_here(store, spec, folder / "cache"))


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ran]:
    """The shipped sweep under both values."""
    folder = tmp_path_factory.mktemp("quickstart")
    return {name: _run(folder, name) for name in ("every", "candidates")}


def test_the_shipped_sweep_scores_candidates() -> None:
    """What is tested here is what ships."""
    assert load_spec(QUICKSTART).train.base.score_test == "candidates"


def test_trials_and_predictions_are_the_same(ran: dict[str, Ran]) -> None:
    """Kept epochs, metrics and predictions; of the epochs table only rows of test are missing."""
    every, some = (ran[name].tables() for name in ("every", "candidates"))
    rows = {"every": every.pop("epochs"), "candidates": some.pop("epochs")}
    assert_same(some, every)
    both = rows["every"].merge(rows["candidates"], how="outer", indicator=True)
    assert len(both) == len(rows["every"])
    missing = both[both["_merge"] != "both"]
    assert set(missing["_merge"]) == {"left_only"}
    assert set(missing["split"]) == {"test"}
    assert len(missing) > len(both) / 10


def test_the_report_says_the_same(ran: dict[str, Ran], tmp_path: Path) -> None:
    """Every number of every table of the report."""
    every, some = (ran[name].report(tmp_path / name) for name in ("every", "candidates"))
    assert {"cells.parquet", "chosen_epochs.parquet", "metrics.parquet"} <= every.keys()
    assert_same(some, every)


@pytest.mark.parametrize(
    "rule",
    ["kept", "last", "best val.auroc", "best val.loss", "best val.brier"],
)
def test_every_rule_of_validation_finds_test_scores(ran: dict[str, Ran], rule: str) -> None:
    """At the epoch that it chooses, the same numbers as where all epochs are scored."""
    every, some = (ran[name].selected(rule) for name in ("every", "candidates"))
    pd.testing.assert_frame_equal(some, every, check_exact=True)
    assert some["test_robust_auroc"].notna().all()


@pytest.mark.parametrize(
    "remedy",
    [
        "train.score_test=every",
        "select.epoch=best val.auroc",
        "select.epoch=last",
        "select.epoch=kept",
        "select.epoch=best test.brier",  # read at the kept and the last epoch, which are scored
    ],
)
def test_an_oracle_over_every_epoch_is_refused(ran: dict[str, Ran], remedy: str) -> None:
    """Before anything is planned or reported; each remedy that the message names is taken."""
    oracle = (*SMALLER, "select.epoch=best test.auroc")
    with pytest.raises(SpecError, match=r"needs test scores of every epoch") as caught:
        report(SpecSource(str(QUICKSTART), oracle), ran["candidates"].store.url, None)
    assert "train.score_test: every" in str(caught.value)
    settings: dict[str, Any] = dict(SpecSource(str(QUICKSTART), (*oracle, remedy)).overrides)
    assert plan_on(load_spec(QUICKSTART, settings), ran["candidates"].store).trials
