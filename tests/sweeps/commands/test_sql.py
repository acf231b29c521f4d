"""`sweeps sql`: queries over a sweep's tables, printed for people and for programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pulled_sweep import PulledSweep, pull_sweep
from tiny_sweeps import TEXT, one, read_json, run_here

from cluster.stores.folder import FolderStore
from sweeps.cli import main
from sweeps.commands import query_output, sweep_tables
from sweeps.commands.sweep_tables import TABLES, SweepTables

CELLS = """
SELECT specificity, budget, count(*) AS trials, avg(val_dice) AS dice, max(written_at) AS written
FROM trials GROUP BY ALL ORDER BY specificity, budget NULLS LAST
"""


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> PulledSweep:
    """The sweep and its tables."""
    return pull_sweep(tmp_path_factory.mktemp("queried"))


def printed(
    sweep: PulledSweep, capsys: pytest.CaptureFixture[str], query: str, *options: str
) -> str:
    """What a query prints."""
    capsys.readouterr()
    assert main(["sql", query, *sweep.source, *options]) == 0
    return capsys.readouterr().out


def failed(
    sweep: PulledSweep, capsys: pytest.CaptureFixture[str], query: str, *options: str
) -> str:
    """The one line of an error."""
    capsys.readouterr()
    assert main(["sql", query, *sweep.source, *options]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    [line] = captured.err.splitlines()
    return line.removeprefix("sweeps: error: ")


def test_text_is_aligned(sweep: PulledSweep, capsys: pytest.CaptureFixture[str]) -> None:
    """Columns begin or end under their heads; null is a word, six digits are enough."""
    lines = printed(sweep, capsys, CELLS).splitlines()
    trials = pd.read_parquet(sweep.tables / "trials.parquet")
    dice = trials[(trials["specificity"] == "mask") & (trials["budget"] == 20)]["val_dice"].mean()
    assert len(lines) == 5
    assert lines[0].split() == ["specificity", "budget", "trials", "dice", "written"]
    assert lines[1].split()[:4] == ["label", "20", "2", "null"]
    assert lines[2].split()[:4] == ["label", "null", "2", "null"]
    assert lines[3].split()[:4] == ["mask", "20", "2", f"{dice:.6g}"]
    ends = {line.index(" 2 ") for line in lines[1:]}
    assert ends == {lines[0].index("trials") + len("trials") - 2}
    times = [line.index("20", lines[0].index("written")) for line in lines[1:]]
    assert set(times) == {lines[0].index("written")}
    assert lines[1].endswith("+00:00")


def test_csv_json_and_parquet_hold_all_digits(
    sweep: PulledSweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same rows in each form, with nulls as each form has them and times of a zone."""
    expected = pd.read_parquet(sweep.tables / "trials.parquet")
    expected = expected.sort_values("trial_id").reset_index(drop=True)
    query = "SELECT trial_id, budget, budget_is_all, val_dice, finished_at FROM trials ORDER BY 1"
    rows = list(csv.DictReader(io.StringIO(printed(sweep, capsys, query, "--csv"))))
    assert [row["trial_id"] for row in rows] == expected["trial_id"].tolist()
    assert {row["budget"] for row in rows} == {"20", ""}
    assert {row["budget_is_all"] for row in rows} == {"true", "false"}
    numbers = pd.Series([float(row["val_dice"]) if row["val_dice"] else None for row in rows])
    pd.testing.assert_series_equal(numbers, expected["val_dice"], check_names=False)

    document = read_json("sql", printed(sweep, capsys, query, "--json"))
    assert [each["name"] for each in document["columns"]] == list(rows[0])
    assert document["columns"][1] == {"name": "budget", "type": "BIGINT"}
    assert document["columns"][4]["type"] == "TIMESTAMP WITH TIME ZONE"
    assert [row[3] for row in document["rows"]] == [
        None if pd.isna(value) else value for value in expected["val_dice"]
    ]
    times = pd.to_datetime([row[4] for row in document["rows"]])
    assert times.equals(pd.DatetimeIndex(expected["finished_at"], name=None))

    file = tmp_path / "answer.parquet"
    assert printed(sweep, capsys, query, "--parquet", str(file)) == f"{file}: 8 rows\n"
    table = pd.read_parquet(file)
    pd.testing.assert_frame_equal(table, expected[list(table.columns)])
    assert pq.read_schema(file).field("finished_at").type == pa.timestamp("us", tz="UTC")


def test_other_types_have_a_plain_form(
    sweep: PulledSweep, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sums of integers, lists, structs, days, bytes, and numbers that JSON does not know."""
    query = """
        SELECT sum(seed) AS total, sum(seed) AS total, [1.5, 'NaN'::DOUBLE] AS list,
               {'a': 1} AS struct, DATE '2026-01-02' AS day, 'x'::BLOB AS bytes,
               'inf'::DOUBLE AS large, 1.25::DECIMAL(5, 2) AS exact, INTERVAL 90 SECOND AS took
        FROM trials
    """
    [row] = read_json("sql", printed(sweep, capsys, query, "--json"))["rows"]
    assert row[:8] == [4, 4, [1.5, None], {"a": 1}, "2026-01-02", "78", None, 1.25]
    names, values = list(csv.reader(io.StringIO(printed(sweep, capsys, query, "--csv"))))
    assert names[3:6] == ["struct", "day", "bytes"]
    assert json.loads(values[3]) == {"a": 1}
    assert "inf" in printed(sweep, capsys, query).splitlines()[1].split()
    text = printed(sweep, capsys, "SELECT traceback FROM failures")
    assert text.splitlines()[1] == "first\\nsecond"


def test_only_the_tables_of_the_query_are_made(
    sweep: PulledSweep, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In capitals, below WITH, in a join and described, and not those whose name is a column."""
    made: list[str] = []

    def watch(name: str, of: SweepTables) -> Iterator[pa.Table]:
        made.append(name)
        yield from TABLES[name].parts(of)

    watched = {name: replace(table, parts=partial(watch, name)) for name, table in TABLES.items()}
    monkeypatch.setattr(sweep_tables, "TABLES", watched)
    for query, used in (
        ("SELECT max(epochs) FROM TRIALS", ["trials"]),
        ("FROM trials SELECT 'predictions'", ["trials"]),
        ("WITH epochs AS (SELECT 1 AS x) SELECT x, seed FROM epochs, trials", ["trials"]),
        (
            "SELECT count(*) FROM trials JOIN (SELECT * FROM epochs) USING (trial_id)",
            ["trials", "epochs"],
        ),
        ("DESCRIBE failures", ["failures"]),
        ("SUMMARIZE trials", ["trials"]),
        ("SELECT 1", []),
    ):
        made.clear()
        assert printed(sweep, capsys, query)
        assert made == used, query


def test_long_text_ends_with_a_note(
    sweep: PulledSweep, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody reads a million lines, and nobody takes the first ones for all."""
    whole = printed(sweep, capsys, "SELECT range FROM range(1000)").splitlines()
    assert len(whole) == 1001
    assert main(["sql", "SELECT range FROM range(1001)", *sweep.source]) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines() == whole
    assert captured.err == "there are more rows: --csv, --json and --parquet FILE give all\n"
    lines = printed(sweep, capsys, "SELECT range FROM range(20000)", "--csv").splitlines()
    assert lines == ["range", *map(str, range(20000))]
    assert query_output.MOST_SHOWN == 1000


@pytest.mark.parametrize(
    ("query", "options", "message"),
    [
        ("SELECT sed FROM trials", (), 'Referenced column "sed" not found'),
        ("SELECT * FROM trails", (), "(tables: trials, epochs, failures, predictions, "),
        ("SELEC 1", (), 'syntax error at or near "SELEC"'),
        ("SELECT 1; SELECT 2", (), "the query has 2 statements; expected one SELECT"),
        ("", (), "the query has 0 statements; expected one SELECT"),
        ("COPY trials TO 'x.csv'", (), "the query is a COPY; expected a SELECT, whose rows"),
        ("CREATE TABLE x AS SELECT 1", (), "the query is a CREATE; expected a SELECT, whose rows"),
        ("SELECT 1", ("--csv", "--json"), "--csv, --json and --parquet exclude each other"),
        ("SELECT 1", ("--parquet", "no/such/x.parquet"), "No such file or directory"),
        ("SELECT 'a'::INTEGER", (), "Conversion Error"),
        ("SELECT * FROM 'https://127.0.0.1:9/x.parquet'", (), "the query failed: "),
    ],
)
def test_a_query_that_cannot_be_run_is_one_clear_line(
    sweep: PulledSweep,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    query: str,
    options: tuple[str, ...],
    message: str,
) -> None:
    """With the tables that there are, and nothing is printed or written."""
    monkeypatch.chdir(tmp_path)
    error = failed(sweep, capsys, query, *options)
    assert message in error
    if "the query failed" in error:
        assert "`sweeps tables` describes their columns" in error
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_without_results_or_a_table_says_so(
    sweep: PulledSweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first with the command that runs it, the second with the key that trials ran with."""
    error = failed(sweep, capsys, "SELECT * FROM trials", "--set", "axes.seed=[5]")
    assert "sweep 'tiny' has no finished trial yet; run it: sweeps run " in error
    plain = FolderStore(tmp_path / "store")
    run_here(plain, one(), tmp_path / "cache")
    (tmp_path / "tiny.yaml").write_text(TEXT)
    query = ["sql", "SELECT * FROM embeddings", str(tmp_path / "tiny.yaml"), "--store", plain.url]
    capsys.readouterr()
    assert main(query) == 2
    assert capsys.readouterr().err == (
        "sweeps: error: sweep 'tiny' has no table embeddings: only trials that ran with "
        "`embeddings: true` have one\n"
    )
