"""A store that an earlier version wrote opens, continues and reports: store_before/."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tiny_sweeps import PROVENANCE, run_here, tables

from cluster.stores.base import Store
from cluster.stores.folder import FolderStore
from sweeps.commands.report import read_report_input
from sweeps.plan.facts import plan_on
from sweeps.plan.plan import Plan
from sweeps.report.build import build_report
from sweeps.results import tables as results
from sweeps.spec.model import load_spec

BEFORE = Path(__file__).parent / "store_before"
CONTINUED, SHARES_A_MODEL = "b3b7a700b7af709b", "a2974433927b6d77"


@pytest.fixture
def store(tmp_path: Path) -> Store:
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


def _columns(store: Store, plan: Plan) -> list[list[Any]]:
    trials = results.read_trials(store, plan.done)
    return [trials.column(name).to_pylist() for name in ("trial_id", "resumed_from_epoch")]
