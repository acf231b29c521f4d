"""Files of a report: Parquet tables that stand alone, written whole or not at all."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sweeps.report.tables import REPORT_SCHEMA_VERSION, REPORT_TABLES
from sweeps.results.described import described_schema

if TYPE_CHECKING:
    import pandas as pd


def to_parquet(table: pd.DataFrame, name: str, families: Sequence[str] = ()) -> bytes:
    """Return a table as a Parquet file, with null for NaN and a description of every column.

    Args:
        table: With these columns at least.
        name: A key of `REPORT_TABLES`, whose columns are written.
        families: Names of columns of its families that follow.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = described_schema(name, REPORT_TABLES[name], families, REPORT_SCHEMA_VERSION)
    arrow = pa.Table.from_pandas(table[schema.names], schema=schema, preserve_index=False)
    buffer = io.BytesIO()
    pq.write_table(arrow.replace_schema_metadata(schema.metadata), buffer)
    return buffer.getvalue()


def write_files(out: Path, contents: Mapping[str, bytes]) -> list[Path]:
    """Write files that everybody may read, so that a reader never sees half of one.

    Args:
        out: Folder, made where it is missing.
        contents: By name of the file; written in this order.
    """
    from cluster.common.atomic import write_atomic  # reading tables and rendering need no cluster

    out.mkdir(parents=True, exist_ok=True)
    for name, data in contents.items():
        write_atomic(out / name, data, mode=0o644)
    return [out / name for name in contents]
