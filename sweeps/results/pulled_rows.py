"""Turns rows of stored tables into rows of pulled ones, and describes them in a file's metadata."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from sweeps.results.pulled import PULLED_VERSION
from sweeps.results.schemas import TableDescription

if TYPE_CHECKING:
    import pyarrow as pa

ALL = "all"
"""The stored text of a budget of all images."""


def pulled_rows(part: pa.Table, sweep: str) -> pa.Table:
    """Return stored rows as `pull` writes them.

    Args:
        part: Some rows of a stored table; text may be numbers into a dictionary, and stays so.
        sweep: Name of the sweep, which becomes the first column.

    Returns:
        The rows without `schema_version`, with nulls for NaN in columns of numbers, and with
        `budget` (where there is one) as an integer, null for all images, and `budget_is_all`.
    """
    import pyarrow as pa

    columns = {"sweep": _repeat(sweep, part.num_rows)}
    for name in part.column_names:
        column = part.column(name)
        if name == "budget":
            columns |= _split_budget(column)
        elif pa.types.is_floating(column.type):
            columns[name] = _nan_to_null(column)
        elif name != "schema_version":
            columns[name] = column
    return pa.table(columns)


def _repeat(text: str, rows: int) -> pa.DictionaryArray:
    import numpy as np
    import pyarrow as pa

    return pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), pa.array([text]))


def _nan_to_null(column: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)


def _split_budget(column: pa.ChunkedArray) -> dict[str, pa.ChunkedArray]:
    """Split budgets as text into numbers of images and whether they are of all images."""
    import pyarrow as pa
    import pyarrow.compute as pc

    text = column.cast(pa.string())
    is_all = pc.equal(text, ALL)
    images = pc.if_else(is_all, pa.scalar(None, pa.string()), text).cast(pa.int64())
    return {"budget": images, "budget_is_all": is_all}


def describe_file(
    name: str, table: TableDescription, schema: pa.Schema, facts: Mapping[str, str]
) -> dict[str, str]:
    """Return the metadata of a pulled file.

    `description` says what a row is and `columns` what each column is, as JSON that any reader of
    Parquet shows. `ARROW:schema` is Arrow's own schema, with the same as metadata of fields and of
    the whole; its types are those of the values, so that no reader gets text as numbers into a
    dictionary.

    Args:
        name: Of the table.
        table: What is in it.
        schema: Its columns, as they are written.
        facts: Further metadata.

    Raises:
        ResultError: a column is described nowhere.
    """
    import pyarrow as pa

    fields, columns = [], {}
    for field in schema:
        is_text = pa.types.is_dictionary(field.type)
        kind = field.type.value_type if is_text else field.type
        column = table.describe(field.name)
        about = {"unit": column.unit, "description": column.meaning}
        columns[field.name] = {"type": str(kind), **about}
        fields.append(pa.field(field.name, kind, metadata=about))
    of_file = {
        "table": name,
        "description": f"one row: {table.row}",
        "columns": json.dumps(columns),
        "schema_version": str(PULLED_VERSION),
        **facts,
    }
    of_arrow = pa.schema(fields, of_file).serialize()
    return {**of_file, "ARROW:schema": base64.b64encode(of_arrow).decode()}
