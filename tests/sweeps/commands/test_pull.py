"""`sweeps pull`: tables that a stranger can analyse with nothing but the files."""

from __future__ import annotations

import hashlib
import json
import math
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from pulled_sweep import ALL_TABLES, PulledSweep, pull_sweep
from tiny_sweeps import read_json

from sweeps.cli import main
from sweeps.commands.sweep_tables import TABLES
from sweeps.results import reader
from sweeps.results.pulled import PULLED

NAMES = tuple(PULLED)
"""Tables of a sweep without a search, whose own is in `tests/sweeps/search`."""


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> PulledSweep:
    """The sweep and its tables."""
    return pull_sweep(tmp_path_factory.mktemp("pulled"))


def stored(sweep: PulledSweep, name: str) -> pa.Table:
    """A table as it is in the store, one object after the other."""
    paths = sorted((Path(sweep.store.url) / "results" / name).rglob("*.parquet"))
    return pa.concat_tables([pq.read_table(path) for path in paths], promote_options="default")


def null_first(value: float | None) -> float:
    """Where a number stands among numbers and nulls."""
    return -math.inf if value is None else value


@pytest.mark.parametrize("name", NAMES)
def test_every_column_has_unit_and_description_in_the_file(sweep: PulledSweep, name: str) -> None:
    """For Arrow in each field, for DuckDB and Polars in the file's metadata: the same words."""
    path = sweep.tables / f"{name}.parquet"
    schema = pq.read_schema(path)
    found = duckdb.sql(
        f"SELECT decode(key), decode(value) FROM parquet_kv_metadata('{path}')"
    ).fetchall()
    about = dict(found)
    columns = json.loads(about["columns"])
    assert list(columns) == schema.names
    for field in schema:
        metadata = {key.decode(): value.decode() for key, value in field.metadata.items()}
        assert metadata == {key: columns[field.name][key] for key in ("unit", "description")}
        assert metadata["description"]
        assert str(field.type) == columns[field.name]["type"]
        assert not pa.types.is_dictionary(field.type)
    assert json.loads(pl.read_parquet_metadata(path)["columns"]) == columns
    assert json.loads(schema.metadata[b"columns"]) == columns
    assert about["sweep"] == "tiny"
    assert about["description"] == f"one row: {TABLES[name].about.row}"
    assert about["dataset"] == "gaussian-squares"
    assert datetime.fromisoformat(about["pulled_at"]).tzinfo == UTC


@pytest.mark.parametrize("name", NAMES)
def test_files_have_the_columns_that_are_documented(sweep: PulledSweep, name: str) -> None:
    """In that order, with their types; then those of the dataset."""
    schema = pq.read_schema(sweep.tables / f"{name}.parquet")
    types = {
        "string": pa.string(),
        "int64": pa.int64(),
        "float64": pa.float64(),
        "bool": pa.bool_(),
        "timestamp": pa.timestamp("us", tz="UTC"),
        "list<float32>": pa.list_(pa.float32()),
        "list<uint8>": pa.list_(pa.uint8()),
    }
    columns = TABLES[name].about.columns
    assert schema.names[: len(columns)] == [column.name for column in columns]
    for column in columns:
        kind = schema.field(column.name).type
        if pa.types.is_list(kind):
            kind = pa.list_(kind.value_type)
        assert kind == types[column.type], column
    images = name in ("predictions", "embeddings", "explanations", "examples")
    assert schema.names[len(columns) :] == (["spurious_block"] if images else [])


@pytest.mark.parametrize("name", NAMES)
def test_undefined_numbers_are_null(sweep: PulledSweep, name: str) -> None:
    """As many nulls as the store has NaN and null, all other values as they are stored."""
    pulled, original = pq.read_table(sweep.tables / f"{name}.parquet"), stored(sweep, name)
    assert pulled.num_rows == original.num_rows
    for field in original.schema:
        if not pa.types.is_floating(field.type):
            continue
        before = [
            None if value is None or math.isnan(value) else value
            for value in original.column(field.name).to_pylist()
        ]
        after = pulled.column(field.name).to_pylist()
        assert sorted(after, key=null_first) == sorted(before, key=null_first), field.name
    if name == "trials":
        assert pulled.column("val_dice").null_count == 4


def test_averages_are_those_of_the_defined_values(sweep: PulledSweep) -> None:
    """In DuckDB, Polars and pandas; one NaN would make the first two NaN."""
    path = sweep.tables / "trials.parquet"
    values = np.array(stored(sweep, "trials").column("test_dice").to_pylist())
    expected = values[~np.isnan(values)].mean()
    assert 0 < np.isnan(values).sum() < len(values)
    [(of_duckdb,)] = duckdb.sql(f"SELECT avg(test_dice) FROM '{path}'").fetchall()
    assert of_duckdb == pytest.approx(expected)
    assert pl.read_parquet(path)["test_dice"].mean() == pytest.approx(expected)
    assert pd.read_parquet(path)["test_dice"].mean() == pytest.approx(expected)


def test_budgets_are_numbers(sweep: PulledSweep) -> None:
    """All images are null with a flag, so that nothing sorts or averages a word."""
    trials = pl.read_parquet(sweep.tables / "trials.parquet")
    assert trials.schema["budget"] == pl.Int64
    assert trials.schema["budget_is_all"] == pl.Boolean
    words = sorted(stored(sweep, "trials").column("budget").to_pylist())
    assert words == ["20"] * 4 + ["all"] * 4
    pairs = trials.select("budget", "budget_is_all").rows()
    assert sorted(pairs, key=str) == [(20, False)] * 4 + [(None, True)] * 4


@pytest.mark.parametrize(
    ("axis", "counted"),
    [
        ("[training, spurious_labels]", [0, 1]),
        ("[training, spurious_labels, validation, compute]", [0, 1, 2, 3]),
    ],
)
def test_dollars_are_those_of_the_report(
    sweep: PulledSweep, tmp_path: Path, axis: str, counted: list[int]
) -> None:
    """Every item, also where the YAML has another price and another axis."""
    nodes = "{node_types: {here: {dollars_per_hour: 3, cpus: 4}}}"
    more = ["--set", "cost.wage_per_hour=77", "--set", f"cost.axis={axis}"]
    more += ["--set", f"cost.compute={nodes}"] if 3 in counted else []
    assert main(["pull", *sweep.source, *more, "--out", str(tmp_path / "tables")]) == 0
    assert main(["report", *sweep.source, *more, "--out", str(tmp_path / "report")]) == 0
    pulled = pd.read_parquet(tmp_path / "tables" / "trials.parquet").set_index("trial_id")
    shown = pd.read_parquet(tmp_path / "report" / "chosen_epochs.parquet").set_index("trial_id")
    names = ["training_dollars", "spurious_label_dollars", "validation_dollars"]
    names += ["compute_dollars", "dollars"]
    assert (pulled["dollars"] > 0).all()
    pd.testing.assert_frame_equal(pulled[names].sort_index(), shown[names].sort_index())
    parts = pulled[[names[number] for number in counted]]
    np.testing.assert_allclose(pulled["dollars"], parts.sum(axis=1))
    assert pulled["compute_dollars"].isna().all() == (3 not in counted)


def test_times_have_a_zone(sweep: PulledSweep) -> None:
    """Start, commit and the store's own time of each result, for Arrow, Polars and DuckDB."""
    path = sweep.tables / "trials.parquet"
    trials = pq.read_table(path).to_pylist()
    for row in trials:
        key = Path(sweep.store.url) / "results" / "trials" / f"{row['trial_id']}.parquet"
        assert row["written_at"].timestamp() == pytest.approx(key.stat().st_mtime, abs=1e-5)
        assert row["started_at"] < row["finished_at"] < row["written_at"]
    kinds = duckdb.sql(f"SELECT started_at, finished_at, written_at FROM '{path}'").types
    assert {str(kind) for kind in kinds} == {"TIMESTAMP WITH TIME ZONE"}
    assert pl.read_parquet(path)["written_at"].dtype == pl.Datetime("us", "UTC")


def test_pulling_changes_nothing_in_the_store(sweep: PulledSweep, tmp_path: Path) -> None:
    """Neither bytes nor schema of a result: only what `pull` writes is new."""
    folder = Path(sweep.store.url) / "results"

    def digests() -> dict[Path, str]:
        files = folder.rglob("*.parquet")
        return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    before = digests()
    assert main(["pull", *sweep.source, "--out", str(tmp_path / "tables")]) == 0
    assert digests() == before
    trials = stored(sweep, "trials")
    assert trials.schema.field("budget").type == pa.string()
    assert pc.sum(pc.is_nan(trials.column("val_dice"))).as_py() == 4


def test_tables_are_written_part_by_part(
    sweep: PulledSweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are converted in the parts in which they are read; the file is that of one part."""
    monkeypatch.setattr(reader, "ROWS", 1)
    assert main(["pull", *sweep.source, "--out", str(tmp_path / "parts")]) == 0
    for name in ("epochs", "predictions", "embeddings", "explanations", "examples"):
        parts = pq.ParquetFile(tmp_path / "parts" / f"{name}.parquet")
        assert parts.num_row_groups == 8
        assert parts.read().equals(pq.read_table(sweep.tables / f"{name}.parquet"))


def test_tables_are_described_on_the_command_line(
    sweep: PulledSweep, capsys: pytest.CaptureFixture[str]
) -> None:
    """The words of the files; text for people, JSON for programs, a near name for a wrong one."""
    assert main(["tables", "--json"]) == 0
    known = read_json("tables", capsys.readouterr().out)["tables"]
    for name in NAMES:
        columns = json.loads(pq.read_schema(sweep.tables / f"{name}.parquet").metadata[b"columns"])
        for each in known[name]["columns"]:
            if "NAME" not in each["name"] and each["name"] in columns:
                of_file = columns[each["name"]]
                assert (of_file["unit"], of_file["description"]) == (
                    each["unit"],
                    each["description"],
                )
    assert known["chosen_epochs"]["written_by"] == "sweeps report"
    assert main(["tables", "trials"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "trials.parquet (sweeps pull)"
    assert lines[1] == "one row: a finished trial"
    [budget] = [line for line in lines if line.startswith("  budget ")]
    assert budget.split()[1:3] == ["int64", "images"]
    assert main(["tables"]) == 0
    text = capsys.readouterr().out
    assert all(f"{name}.parquet (" in text for name in known)
    assert main(["tables", "trails"]) == 2
    assert "no table 'trails': did you mean trials?" in capsys.readouterr().err


def test_the_sweep_that_is_pulled_has_all_tables(sweep: PulledSweep) -> None:
    """Else the tests above would prove less than they say."""
    files = {path.stem for path in sweep.tables.glob("*.parquet")}
    assert files == set(NAMES)
    assert "select: {epoch: last}" in ALL_TABLES
