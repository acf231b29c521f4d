"""Prints rows of a query as aligned text, CSV or JSON, or writes them as Parquet."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.common.atomic import open_atomic

if TYPE_CHECKING:
    import pyarrow as pa

MOST_SHOWN = 1000
"""Rows of text that are printed: people do not read more, and columns are aligned in memory."""
_BATCH = 8192


def _iterate_rows(reader: pa.RecordBatchReader) -> Iterator[tuple[Any, ...]]:
    """Yield rows as values of Python, in the order of the columns; names may be equal."""
    for batch in reader:
        for start in range(0, batch.num_rows, _BATCH):
            columns = [column.to_pylist() for column in batch.slice(start, _BATCH).columns]
            yield from zip(*columns, strict=True)


def print_text(reader: pa.RecordBatchReader, most: int = MOST_SHOWN) -> bool:
    """Print aligned columns, numbers to the right; return whether these were all rows."""
    import pyarrow as pa

    kinds = [field.type for field in reader.schema]
    is_number = [
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
        for kind in kinds
    ]
    lines = [list(reader.schema.names)]
    is_all = True
    for row in _iterate_rows(reader):
        if len(lines) > most:
            is_all = False
            break
        lines.append([_show(value) for value in row])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = zip(line, widths, is_number, strict=True)
        padded = (f"{text:>{wide}}" if right else f"{text:<{wide}}" for text, wide, right in cells)
        print("  ".join(padded).rstrip())
    return is_all


def print_csv(reader: pa.RecordBatchReader) -> None:
    """Print a line of names and one per row; null is empty, times are ISO 8601, lists are JSON."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(reader.schema.names)
    for row in _iterate_rows(reader):
        values = map(_plain, row)
        writer.writerow(
            [json.dumps(each) if isinstance(each, list | dict | bool) else each for each in values]
        )


def rows_for_json(reader: pa.RecordBatchReader) -> list[list[Any]]:
    """Return rows as lists for a JSON document; numbers that JSON has not are null."""
    return [[_finite(_plain(value)) for value in row] for row in _iterate_rows(reader)]


def write_parquet(reader: pa.RecordBatchReader, path: Path) -> int:
    """Write rows as a Parquet file, whole or not at all; return their number."""
    import pyarrow.parquet as pq

    rows = 0
    with (
        open_atomic(path) as file,
        pq.ParquetWriter(file, reader.schema, compression="zstd") as writer,
    ):
        for batch in reader:
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


def _show(value: Any) -> str:
    """Return a value as text in one line."""
    if value is None:
        return "null"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    plain = _plain(value)
    text = plain if isinstance(plain, str) else json.dumps(plain)
    return text.replace("\n", "\\n")


def _plain(value: Any) -> Any:
    """Return a value of Arrow as one that JSON and CSV know."""
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal):  # sums of integers are such
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    return value


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_finite(each) for each in value]
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    return value
