"""The result tables' schemas, held by a file per version."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from sweeps.results.schemas import SCHEMA_VERSION, TABLES, arrow_schema


def test_a_changed_column_is_a_new_version() -> None:
    """Names, types, units and order are those of this version's file; a change needs a new one.

    To change a table raise SCHEMA_VERSION, migrate older tables where they are read, and add
    `schema_vN.txt`; the files of earlier versions stay as they are.
    """
    golden = Path(__file__).parent / f"schema_v{SCHEMA_VERSION}.txt"
    found = [
        f"{table} {column.name} {column.type} {column.unit}".strip()
        for table, columns in TABLES.items()
        for column in columns
    ]
    assert found == golden.read_text().splitlines()


@pytest.mark.parametrize("table", TABLES)
def test_every_column_says_what_it_means(table: str) -> None:
    """Each has a meaning, and a name that no other column of its table has."""
    columns = TABLES[table]
    assert [column.name for column in columns if not column.meaning] == []
    assert len({column.name for column in columns}) == len(columns)
    assert columns[0].name == "schema_version"


def test_predictions_have_a_column_per_spurious_attribute() -> None:
    """`spurious_NAME` follows the fixed columns, nullable: unknown is not False."""
    schema = arrow_schema("predictions", ("tube", "ink"))
    assert schema.names[-2:] == ["spurious_tube", "spurious_ink"]
    assert schema.field("spurious_tube").type == pa.bool_()
    assert schema.field("spurious_tube").nullable
