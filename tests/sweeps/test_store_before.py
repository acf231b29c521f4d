"""A store that an earlier version wrote opens, continues and reports: store_before/."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tiny_sweeps import PROVENANCE, run_here, tables

from cluster.errors import Denied
from cluster.stores.base import Store
from cluster.stores.folder import FolderStore
from sweeps.cli import main
from sweeps.commands.report import read_report_input
from sweeps.plan.facts import plan_on
from sweeps.plan.plan import Plan
from sweeps.plan.prices import cell_price
from sweeps.plan.render import as_dict, as_text
from sweeps.report.build import build_report
from sweeps.results import tables as results
from sweeps.spec.model import load_spec

BEFORE = Path(__file__).parent / "store_before"
CONTINUED, SHARES_A_MODEL = "b3b7a700b7af709b", "a2974433927b6d77"


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    """A copy of the store."""
    shutil.copytree(BEFORE / "store", tmp_path / "store")
    return FolderStore(tmp_path / "store")


def test_the_rest_of_a_sweep_runs_with_the_numbers_of_before(store: Store, tmp_path: Path) -> None:
    """Ids are found again; a checkpoint and a shared first model are continued from, not redone."""
    spec = load_spec(BEFORE / "before.yaml")
    assert {trial.id for trial in plan_on(spec, store).missing} == {CONTINUED, SHARES_A_MODEL}
    models = {path: path.stat().st_ino for path in (tmp_path / "store/stages").rglob("*.pt")}
    plan = run_here(store, spec, tmp_path / "cache")
    assert not plan.missing
    assert models == {path: path.stat().st_ino for path in models}
    assert len(models) == 2
    epochs = dict(zip(*_columns(store, plan), strict=True))
    assert epochs[CONTINUED] == 1
    assert epochs[SHARES_A_MODEL] == 0
    for name, frame in tables(store, plan).items():
        expected = pd.read_parquet(BEFORE / "expected" / f"{name}.parquet")
        expected = expected.drop(columns=[c for c in PROVENANCE if c in expected])
        old = [c for c in expected if c not in ("threads", "device", "versions")]
        # other processors round otherwise
        pd.testing.assert_frame_equal(frame[old], expected[old], rtol=1e-3, atol=1e-4, obj=name)
    report = build_report(read_report_input(spec, plan, store), tmp_path / "report")
    assert all(path.stat().st_size for path in report.paths)
    cells = pd.read_parquet(report.cells).set_index(["specificity", "budget", "method"])
    for cell in plan.cells:
        price = cell_price(spec, cell, plan.facts)
        assert price is not None
        row = cells.loc[cell.key]
        assert row["dollars_mean"] == pytest.approx(price.dollars)
        assert row["validation_dollars"] == pytest.approx(price.cost.validation)


def test_results_of_an_older_revision_are_counted_and_not_used(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line says how many and why, JSON which; the three listings of a plan suffice."""
    listed: list[str] = []
    listing = FolderStore.list

    def noted(store: FolderStore, prefix: str) -> Iterator[str]:
        listed.append(prefix)
        return listing(store, prefix)

    monkeypatch.setattr(FolderStore, "list", noted)
    spec = load_spec(BEFORE / "older.yaml")
    plan = plan_on(spec, store)
    assert listed == ["datasets/gaussian-squares/", "results/trials/", "results/failures/"]
    [trial] = plan.trials
    assert plan.missing == (trial,)
    line = (
        "1 result exists under an older revision of spl with fcn-resnet50 (it compares pixels "
        "before dropout, not after it); it is kept in the store but not counted; "
    )
    assert f"note: {line}running computes it again\n" in as_text(plan, spec) + "\n"
    again = plan.refreshed([trial.id])
    assert f"note: {line}this version has computed it again" in as_text(again, spec)
    [older] = as_dict(plan, spec)["older"]
    assert older["id"] == trial.id
    assert results.trial_key(older["older_id"]) in set(store.list("results/trials/"))
    assert plan_on(load_spec(BEFORE / "before.yaml"), store).older == ()


def _columns(store: Store, plan: Plan) -> list[list[Any]]:
    trials = results.read_trials(store, plan.done)
    return [trials.column(name).to_pylist() for name in ("trial_id", "resumed_from_epoch")]


def test_a_store_that_cannot_be_written_is_reported_on(
    store: FolderStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The report is here alone, which is said; nothing fails by it."""

    def refuse(self: FolderStore, key: str, data: bytes) -> None:
        raise Denied(f"{key}: read-only file system")

    monkeypatch.setattr(FolderStore, "put", refuse)
    spec, out = str(BEFORE / "before.yaml"), tmp_path / "report"
    assert main(["report", spec, "--store", store.url, "--out", str(out)]) == 0
    assert "is not put next to the results, which cannot be written" in capsys.readouterr().err
    assert (out / "report.html").exists()
