"""Packs: rows of many result objects of one table as one Parquet file, named by its SHA-256.

An index, likewise named, says of every object which bytes it had (size, tag, SHA-256) and where its
rows are. Both are written once and never changed, here in a store and in a local cache.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from sweeps.results.keys import object_key
from sweeps.results.schemas import SCHEMA_VERSION, TABLES, arrow_schema, migrate

if TYPE_CHECKING:
    import pyarrow as pa

PACKED: Final = ("trials", "epochs", "predictions", "failures")
"""Tables whose rows are packed; of an attempt's optional ones the hash alone is kept."""
LARGEST: Final = 1 << 20
"""Bytes of an object up to which reading it by itself costs more than its share of a pack."""
ROWS: Final = 1 << 17
"""Rows from which on a pack is full."""
BYTES: Final = 16 << 20
"""Bytes in memory from which on a pack is full."""
_VERSION_KEY: Final = b"schema_version"
_EXTRA_TYPES: Final = ("bool", "string", "double")


@dataclass(frozen=True, slots=True)
class Fact:
    """What is known of one result object while its size and tag stay the same.

    Attributes:
        table, trial_id, attempt: Which object.
        size_bytes, tag: As the store listed the bytes that were read.
        sha256: Of these bytes.
        is_hashed: Whether the object carried a hash of its content.
        columns: Columns after those of every such table, `NAME:TYPE` each, separated by commas.
        rows: How many it has; -1 where it was not decoded.
        pack: The pack that holds them; None where none does.
        first: Number of the first of them there.
    """

    table: str
    trial_id: str
    attempt: str
    size_bytes: int
    tag: str
    sha256: str
    is_hashed: bool
    columns: str = ""
    rows: int = -1
    pack: str | None = None
    first: int = 0

    @property
    def key(self) -> str:
        """The object's key."""
        return object_key(self.table, self.trial_id, self.attempt)


_FIELDS: Final = tuple(field.name for field in fields(Fact))


def digest(data: bytes) -> str:
    """Return the name of a pack or an index: the SHA-256 of its bytes."""
    return hashlib.sha256(data).hexdigest()


def extra_columns(table: pa.Table, name: str) -> str | None:
    """Describe a table's columns after the fixed ones; None where a pack cannot hold them."""
    extra = list(table.schema)[len(TABLES[name]) :]
    if any(str(field.type) not in _EXTRA_TYPES for field in extra):
        return None
    return ",".join(f"{field.name}:{field.type}" for field in extra)


def schema_of(name: str, columns: str) -> pa.Schema:
    """Return the schema of a table with these columns after its fixed ones."""
    import pyarrow as pa

    types = {"bool": pa.bool_(), "string": pa.string(), "double": pa.float64()}
    schema = arrow_schema(name)
    for column in filter(None, columns.split(",")):
        label, _, kind = column.rpartition(":")
        schema = schema.append(pa.field(label, types[kind]))
    return schema


def encode_pack(table: pa.Table) -> bytes:
    """Return rows as a pack; equal rows give equal bytes."""
    texts = [field.name for field in table.schema if str(field.type) in ("string", "int64")]
    return _write(table, use_dictionary=texts)


def decode_pack(
    data: bytes, name: str, columns: Sequence[str] | None = None, *, by_dictionary: bool = False
) -> pa.Table:
    """Read a pack, in today's schema.

    Args:
        data: The pack, which was compared with its hash.
        name: The table that it is of.
        columns: Columns to read; None reads all.
        by_dictionary: Leave text as numbers into a dictionary, which takes a tenth of the memory.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = [field.name for field in arrow_schema(name) if field.type == pa.string()]
    file = pq.ParquetFile(pa.BufferReader(data), read_dictionary=texts if by_dictionary else None)
    version = int(file.schema_arrow.metadata[_VERSION_KEY])
    if version == SCHEMA_VERSION:
        return file.read(columns, use_threads=False).replace_schema_metadata(None)
    table = migrate(file.read(use_threads=False))
    return table.replace_schema_metadata(None).select(columns or table.column_names)


def encode_index(facts: Iterable[Fact]) -> bytes:
    """Return facts as an index, by key; equal facts give equal bytes."""
    import pyarrow as pa

    rows = [asdict(fact) for fact in sorted(facts, key=lambda fact: fact.key)]
    return _write(pa.Table.from_pylist(rows, schema=_index_schema()))


def decode_index(data: bytes) -> pa.Table | None:
    """Read an index; None of a newer schema than this version knows, which is left alone."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(pa.BufferReader(data))
    if int(file.schema_arrow.metadata[_VERSION_KEY]) > SCHEMA_VERSION:
        return None
    return file.read(list(_FIELDS), use_threads=False).replace_schema_metadata(None)


def facts_of(index: pa.Table) -> list[Fact]:
    """Return the facts of an index, or of some of its rows."""
    names: dict[Any, Any] = {}
    columns = [index.column(name).to_pylist() for name in _FIELDS]
    for position in (0, _FIELDS.index("columns"), _FIELDS.index("pack")):  # few values, many rows
        columns[position] = [names.setdefault(value, value) for value in columns[position]]
    return [Fact(*row) for row in zip(*columns, strict=True)]


def _index_schema() -> pa.Schema:
    import pyarrow as pa

    types: Mapping[str, Any] = {"int": pa.int64(), "bool": pa.bool_()}
    return pa.schema([(each.name, types.get(str(each.type), pa.string())) for each in fields(Fact)])


def _write(table: pa.Table, **options: Any) -> bytes:
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    noted = table.replace_schema_metadata({_VERSION_KEY: str(SCHEMA_VERSION).encode()})
    pq.write_table(noted, buffer, compression="zstd", compression_level=1, **options)
    return buffer.getvalue()
