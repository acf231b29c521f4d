"""`searched.parquet`: what `sweeps pull` writes of searches, as they go on and after their end."""

from __future__ import annotations

import contextlib
import io
import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from searching import real_spec, real_text, run_search_here
from tiny_sweeps import stage_here

from cluster.stores.folder import FolderStore
from sweeps.cli import main
from sweeps.commands.sweep_tables import TABLES
from sweeps.plan.plan import Plan
from sweeps.spec.model import parse_spec

STOPPING = (
    "{trials: 5, batch: 3, stop: asha, metric: val.auroc, "
    "space: {learning_rate: {log: [1.0e-4, 1.0]}, spl: {weight: {log: [0.1, 10]}}}}"
)
PAYING = "{sampler: grid, metric: [val.auroc, dollars], space: {dfr: {balance: [groups, classes]}}}"
REFITTING = "[{name: dfr, first_epochs: 1, refits: 1}]"


@pytest.fixture
def spec_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a test writes its YAML, in the working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "tiny.yaml"


def pulled(store: FolderStore, spec: Path) -> pd.DataFrame:
    """The table as it is pulled, with the columns that the documents name."""
    assert main(["pull", str(spec), "--store", store.url, "--out", "tables"]) == 0
    table = pq.read_table("tables/searched.parquet")
    assert table.column_names == [column.name for column in TABLES["searched"].about.columns]
    frame: pd.DataFrame = table.to_pandas()
    return frame


def seconds_in(store: FolderStore, trial_id: str) -> float:
    """The seconds of a trial's own row; NaN without one."""
    path = Path(store.url) / "results" / "trials" / f"{trial_id}.parquet"
    if not path.exists():
        return math.nan
    [row] = pq.read_table(path).to_pylist()
    return float(row["seconds_total"])


def test_a_row_per_configuration_of_each_cell(tmp_path: Path, spec_file: Path) -> None:
    """With options, value, dollars, seconds, where it was stopped, and one chosen per cell."""
    store, spec = FolderStore(tmp_path / "store"), real_spec(STOPPING)
    spec_file.write_text(real_text(STOPPING))
    plan: Plan = run_search_here(store, spec, tmp_path / "cache")
    frame = pulled(store, spec_file)
    assert list(frame["number"]) == [*range(5), *range(5)]
    assert list(frame["method"]) == ["erm"] * 5 + ["spl"] * 5
    assert set(frame["metric"]) == {"val.auroc"}
    chosen = frame[frame["chosen"]]
    assert [json.loads(text) for text in chosen["options"]] == [s.values for s in plan.searches]
    assert list(chosen["value"]) == list(
        frame[frame["state"] == "finished"].groupby("method")["value"].max()
    )
    assert set(frame[frame["state"] == "stopped"]["stopped_at"]) <= {1, 3}
    assert (frame["stopped_at"].notna() == (frame["state"] == "stopped")).all()
    for row in frame.to_dict("records"):
        expected = sum(seconds_in(store, trial_id) for trial_id in row["trial_ids"].split())
        assert row["seconds"] == pytest.approx(expected, nan_ok=True)
    assert frame["seconds"].notna().any()
    assert frame["seconds"].isna().any()
    costs = {cell["method"]: cell["cost"]["dollars"] for cell in plan_cells(store, spec_file)}
    names = [str(cell.method) for cell in plan.cells]
    assert [*chosen["dollars"]] == pytest.approx([costs[name] for name in names])
    assert frame["same_as"].isna().all()


def plan_cells(store: FolderStore, spec: Path) -> list[dict[str, Any]]:
    """The cells of `plan --json`."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        assert main(["plan", str(spec), "--store", store.url, "--json"]) == 0
    cells: list[dict[str, Any]] = json.loads(text.getvalue())["cells"]
    return cells


def test_dollars_are_of_each_configuration(tmp_path: Path, spec_file: Path) -> None:
    """Refitting on groups buys spurious labels of 30 validation images, a click of a second each.

    The Pareto set is marked, whatever was chosen of it.
    """
    store = FolderStore(tmp_path / "store")
    text = real_text(PAYING).replace("[mask]", "[label]").replace("[erm, spl]", REFITTING)
    spec_file.write_text(text)
    plan = run_search_here(store, parse_spec(text), tmp_path / "cache")
    frame = pulled(store, spec_file)
    assert [json.loads(each)["dfr.balance"] for each in frame["options"]] == ["groups", "classes"]
    assert frame["dollars"][0] - frame["dollars"][1] == pytest.approx(30 / 36, abs=0.01)
    assert set(frame["number"][frame["best"]]) == set(plan.searches[0].best)


def test_a_search_that_goes_on_is_pulled(
    tmp_path: Path, spec_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing before its first batch; then that batch, and the next one waiting."""
    section = STOPPING.replace("stop: asha, ", "")
    store, spec = FolderStore(tmp_path / "store"), real_spec(section)
    spec_file.write_text(real_text(section))
    stage_here(store, spec)
    assert main(["pull", str(spec_file), "--store", store.url]) == 2
    assert "has no finished trial yet; run it: sweeps run" in capsys.readouterr().err
    run_search_here(store, spec, tmp_path / "cache", most=6)
    frame = pulled(store, spec_file)
    assert list(frame["state"]) == 2 * (3 * ["finished"] + 2 * ["waiting"])
    assert not frame["chosen"].any()
    assert len(pq.read_table("tables/trials.parquet")) == 0
