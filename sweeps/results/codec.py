"""Result tables as Parquet objects that carry a hash of their content."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from sweeps.errors import DamagedResult, ResultError
from sweeps.results.content_hash import content_sha256, type_name
from sweeps.results.schemas import SCHEMA_VERSION, TABLES, arrow_schema, migrate

if TYPE_CHECKING:
    import pyarrow as pa

CONTENT_KEY: Final = b"content_sha256"
"""Key of the hash in a Parquet file's metadata."""
_FIRST_HASHED: Final = 3
"""The first schema version whose tables all carry the hash."""
_LARGE = 100
"""Rows from which on compressing a column saves more than setting up its encoder costs."""


def encode(
    table: str,
    rows: Sequence[Mapping[str, Any]],
    attributes: Sequence[str] = (),
    classes: Sequence[str] = (),
) -> bytes:
    """Return rows as one Parquet object of the table's schema, with the hash of its content.

    `schema_version` is filled in.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    full = [{"schema_version": SCHEMA_VERSION, **row} for row in rows]
    content = pa.Table.from_pylist(full, schema=arrow_schema(table, attributes, classes))
    buffer = io.BytesIO()
    large = len(full) >= _LARGE
    pq.write_table(
        content.replace_schema_metadata({CONTENT_KEY: content_sha256(content)}),
        buffer,
        compression="zstd" if large else "none",
        use_dictionary=large,
    )
    return buffer.getvalue()


def decode(data: bytes, key: str) -> pa.Table:
    """Read one result object, in today's schema; its metadata are left out.

    Raises:
        DamagedResult: not a result table, or its content is not what its hash says.
        ResultError: of a newer schema than this version knows.
    """
    return decode_verified(data, key)[0]


def decode_verified(data: bytes, key: str, *, is_known: bool = False) -> tuple[pa.Table, bool]:
    """Read one result object as `decode` does; return also whether a hash vouches for its content.

    Args:
        data: The object.
        key: Its key.
        is_known: Whether its SHA-256 is the one that its trial's row names, which says more than
            the hash of its content.

    Raises:
        DamagedResult, ResultError: see `decode`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # not `read_table`, which takes three times as long for a row
        table = pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)
        expected = (table.schema.metadata or {}).get(CONTENT_KEY)
        is_hashed = expected is not None
        table = table.replace_schema_metadata(None)
        if is_hashed and not is_known and content_sha256(table).encode() != expected:
            raise DamagedResult(f"{key} is damaged: its content is not what its hash says")
        versions = set(table.column("schema_version").unique().to_pylist())
        if versions and max(versions) > SCHEMA_VERSION and is_hashed:
            raise ResultError(
                f"{key} has schema version {sorted(versions)}, this program knows "
                f"{SCHEMA_VERSION}: use a program at least as new as the one that wrote it"
            )
        table = _migrate(table, versions, key, is_hashed=is_hashed)
    except ResultError:
        raise
    except Exception as error:  # noqa: BLE001 (damaged bytes may raise anything in a reader)
        raise DamagedResult(f"{key} is not a readable result table ({error})") from None
    return table, is_hashed


@lru_cache(maxsize=64)
def _named_types(schema: pa.Schema) -> list[tuple[str, str]]:
    """Names and types of columns; tables of one kind have the same ones."""
    return [(field.name, type_name(field.type)) for field in schema]


def _migrate(table: pa.Table, versions: set[Any], key: str, *, is_hashed: bool) -> pa.Table:
    """Return a table of any known version as one of this version, with all of its columns."""
    known = range(_FIRST_HASHED, SCHEMA_VERSION + 1) if is_hashed else range(1, _FIRST_HASHED)
    if not versions <= set(known):
        raise DamagedResult(
            f"{key} is damaged: it has schema version {sorted(versions)} and "
            f"{'a' if is_hashed else 'lacks a'} hash of its content"
        )
    if versions and versions != {SCHEMA_VERSION}:
        table = migrate(table)
    name = key.split("/")[1]
    if name in TABLES:
        fixed = _named_types(arrow_schema(name))
        if _named_types(table.schema)[: len(fixed)] != fixed:
            raise DamagedResult(f"{key} is damaged: it lacks columns of '{name}'")
    return table
