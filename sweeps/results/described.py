"""Schemas of the Parquet files that users get, whose columns and rows describe themselves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sweeps.results.schemas import TableDescription

if TYPE_CHECKING:
    import pyarrow as pa


def described_schema(
    name: str, about: TableDescription, families: Sequence[str], version: int
) -> pa.Schema:
    """Return a table's schema with metadata, in words, of each column and of the whole.

    Any reader of Parquet shows `description`, what a row is, and `columns`, JSON with type, unit
    and description of each.

    Args:
        name: Of the table.
        about: What is in it.
        families: Names of columns of its families that follow its own.
        version: Of its schema.

    Raises:
        ResultError: a column is described nowhere.
    """
    import pyarrow as pa

    columns = [*about.columns, *(about.describe(each) for each in families)]
    words = {each.name: {"unit": each.unit, "description": each.meaning} for each in columns}
    types = {each.name: pa.type_for_alias(each.type) for each in columns}
    fields = [pa.field(each, types[each], metadata=of) for each, of in words.items()]
    described = {each: {"type": str(types[each]), **of} for each, of in words.items()}
    whole = {
        "table": name,
        "description": f"one row: {about.row}",
        "columns": json.dumps(described),
        "schema_version": str(version),
    }
    return pa.schema(fields, whole)
