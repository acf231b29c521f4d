"""The tables of an evaluation."""

from __future__ import annotations

from docs.generate.documents import code, table
from sweeps.models.tables import EVALUATION_TABLES


def evaluation_columns() -> str:
    """Write the columns of the tables of `sweeps evaluate`."""
    parts = []
    for name, (row, columns) in EVALUATION_TABLES.items():
        rows = [(code(c.name), c.type, c.unit, c.meaning) for c in columns]
        header = ("column", "type", "unit", "meaning")
        parts.append(f"### `{name}.parquet`\n\nA row is {row}.\n\n{table(header, rows)}")
    return "\n\n".join(parts)
