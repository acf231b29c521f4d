"""The tables of `pull`: their schema, and how stored rows become theirs."""

from __future__ import annotations

import json
import math
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pytest

from sweeps.commands.sweep_tables import TABLES
from sweeps.commands.tables import described_tables
from sweeps.errors import ResultError
from sweeps.results.pulled import PULLED_VERSION
from sweeps.results.pulled_rows import describe_file, pulled_rows

LIKE_ANOTHER = ("likewise", "of these", "those ", "the first two", "for that")
UNITLESS = {
    "number",
    "same_as",
    "seed",
    "science_version",
    "label",
    "score",
    "highest",
    "covariate_NAME",
}
"""Names, numbers of classes and values of the model's or the dataset's own scale."""


def test_a_changed_column_is_a_new_version() -> None:
    """Names, types, units and order are those of this version's file; a change needs a new one.

    To change a table raise PULLED_VERSION and add `pulled_vN.txt`. A new table adds its lines.
    """
    golden = Path(__file__).parent / f"pulled_v{PULLED_VERSION}.txt"
    lines = [
        f"{table} {column.name} {column.type} {column.unit}".strip()
        for table, of in TABLES.items()
        for column in (*of.about.columns, *of.about.families)
    ]
    assert lines == golden.read_text().splitlines()


@pytest.mark.parametrize("name", TABLES)
def test_every_column_is_described_by_itself(name: str) -> None:
    """Numbers and times have a unit, and no meaning needs the line above it."""
    columns = (*TABLES[name].about.columns, *TABLES[name].about.families)
    assert len({column.name for column in columns}) == len(columns)
    assert columns[0].name == "sweep"
    for column in columns:
        assert len(column.meaning.split()) > 1, column
        assert not any(words in column.meaning for words in LIKE_ANOTHER), column
        assert "NaN" not in column.meaning, column
        if column.type in ("int64", "float64", "timestamp"):
            assert bool(column.unit) != (column.name in UNITLESS), column


def test_every_table_has_a_name_of_its_own() -> None:
    """No file name of `pull` and `report` means two things."""
    names = [name for _, name, _ in described_tables()]
    assert len(names) == len(set(names))
    commands = {command for command, _, _ in described_tables()}
    assert commands == {"sweeps pull", "sweeps report", "sweeps evaluate"}


def test_rows_get_nulls_numbers_and_the_sweep() -> None:
    """NaN is null in every column of numbers, infinity stays; text in a dictionary stays there."""
    text = pa.array(["b", None, "b"]).dictionary_encode()
    stored = pa.table(
        {
            "schema_version": [6, 6, 6],
            "budget": pa.array(["40", "all", None]),
            "value": pa.array([math.nan, math.inf, None]),
            "small": pa.array([math.nan, 1.5, 2.0], pa.float32()),
            "count": pa.array([1, None, 3]),
            "text": text,
            "vector": pa.array([[math.nan], [1.0], []], pa.list_(pa.float32())),
        }
    )
    rows = pulled_rows(stored, "mine")
    assert rows.drop_columns("vector").to_pydict() == {
        "sweep": ["mine"] * 3,
        "budget": [40, None, None],
        "budget_is_all": [False, True, None],
        "value": [None, math.inf, None],
        "small": [None, 1.5, 2.0],
        "count": [1, None, 3],
        "text": ["b", None, "b"],
    }
    assert rows.schema.field("budget").type == pa.int64()
    assert rows.schema.field("text").type == text.type
    assert pa.types.is_dictionary(rows.schema.field("sweep").type)
    empty = pulled_rows(stored.slice(0, 0), "mine")
    assert empty.schema == rows.schema
    assert empty.num_rows == 0


def test_a_file_describes_its_columns_and_those_of_its_dataset() -> None:
    """A name of the dataset stands in the text; a column that nobody described is an error."""
    schema = pa.schema(
        [
            pa.field("sweep", pa.dictionary(pa.int32(), pa.string())),
            pa.field("spurious_tube", pa.bool_()),
            pa.field("class", pa.string()),
            pa.field("covariate_class", pa.string()),
            pa.field("probability_COVID", pa.float64()),
        ]
    )
    table = TABLES["predictions"].about
    about = describe_file("predictions", table, schema, {"sweep": "mine"})
    columns = json.loads(about["columns"])
    assert about["sweep"] == "mine"
    assert list(columns) == schema.names
    assert columns["sweep"]["type"] == "string"
    assert "attribute tube is" in columns["spurious_tube"]["description"]
    assert columns["probability_COVID"]["unit"] == "probability"
    assert "class COVID" in columns["probability_COVID"]["description"]
    assert columns["covariate_class"]["description"].startswith("covariate class")
    assert columns["class"]["description"].startswith("true class")
    assert not any("NAME" in each for each in chain(*(of.values() for of in columns.values())))
    with pytest.raises(ResultError, match="the column 'surprise' has no description"):
        describe_file("x", table, pa.schema([pa.field("surprise", pa.string())]), {})
