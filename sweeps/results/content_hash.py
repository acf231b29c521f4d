"""A hash of what a table says, whatever its file's compression, encoding or row groups.

`content_sha256` is SHA-256 over these bytes, integers little-endian:

1. A line of JSON in ASCII, ended by a newline: `[[[name, type], ...], rows]`, columns in the
   table's order, `rows` their number. Types are those of Arrow, such as `int64`, `double`, `bool`,
   `string`, `timestamp[us, tz=UTC]`; `list<float>` names its values' type.
2. Column by column, a byte a row: 1 where it has a value, 0 where it is null.
3. After each column's such bytes its values, a null as zero, false or empty:
   - numbers: their own bytes, IEEE 754 for floats (so that NaN is a value and not a null, and 0.0
     is not -0.0); timestamps: int64 in their unit since 1970-01-01 UTC; booleans: a byte, 0 or 1.
   - text: an int64 a row with the length of its UTF-8, then the UTF-8 of all rows.
   - lists: an int64 a row with its length, then steps 2 and 3 for the values of all rows.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa


def content_sha256(table: pa.Table) -> str:
    """Return the hash of a table's schema and values as 64 hex digits; see the module's text.

    Raises:
        TypeError: a column has a type that result tables do not use.
    """
    fields = [[field.name, type_name(field.type)] for field in table.schema]
    digest = hashlib.sha256(json.dumps([fields, table.num_rows]).encode() + b"\n")
    for field, column in zip(fields, table.columns, strict=True):
        pack = _PACKERS.get(field[1]) if table.num_rows == 1 else None
        if pack is not None:  # a row of `trials` takes a third of the time this way
            digest.update(_pack_one(column[0], pack))
        else:
            _add(digest, column.combine_chunks())
    return digest.hexdigest()


def _pack_one(value: pa.Scalar, pack: Callable[[Any], bytes]) -> bytes:
    """Return what `_add` adds for a column of one row."""
    return b"\1" + pack(value.as_py()) if value.is_valid else b"\0" + pack(None)


def _pack_text(value: str | None) -> bytes:
    data = (value or "").encode()
    return struct.pack("<q", len(data)) + data


_PACKERS: Mapping[str, Callable[[Any], bytes]] = {
    "int64": lambda value: struct.pack("<q", value or 0),
    "double": lambda value: struct.pack("<d", 0.0 if value is None else value),
    "bool": lambda value: struct.pack("<B", bool(value)),
    "string": _pack_text,
}
"""By a column's type what packs one value, null as zero, false or empty."""


def type_name(kind: pa.DataType) -> str:
    """Name a column's type, equal for equal values whatever their encoding in memory."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return type_name(kind.value_type)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"list<{type_name(kind.value_type)}>"
    return "string" if pa.types.is_large_string(kind) else str(kind)


def _add(digest: Any, array: pa.Array) -> None:
    """Add an array's validity and values."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = array.type
    if pa.types.is_dictionary(kind):
        array, kind = array.dictionary_decode(), kind.value_type
    digest.update(_numbers(array.is_valid(), np.uint8) if array.null_count else b"\1" * len(array))
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        digest.update(_numbers(_filled(pc.binary_length(array), 0), np.int64))
        digest.update(_text(array))
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        digest.update(_numbers(_filled(pc.list_value_length(array), 0), np.int64))
        _add(digest, array.flatten())
    elif pa.types.is_timestamp(kind):
        digest.update(_numbers(_filled(array.cast(pa.int64()), 0), np.int64))
    elif pa.types.is_boolean(kind):
        digest.update(_numbers(_filled(array, False), np.uint8))
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
        digest.update(_numbers(_filled(array, 0), kind.to_pandas_dtype()))
    else:
        raise TypeError(f"a result table has no columns of type {kind}")


def _filled(array: pa.Array, value: Any) -> pa.Array:
    """Return an array whose nulls are replaced; quickly where it has none."""
    import pyarrow.compute as pc

    return pc.fill_null(array, value) if array.null_count else array


def _numbers(array: pa.Array, dtype: Any) -> bytes:
    """Return the little-endian bytes of an array without nulls."""
    values = array.to_numpy(zero_copy_only=False)
    return bytes(values.astype(np.dtype(dtype).newbyteorder("<")).tobytes())


def _text(array: pa.Array) -> bytes:
    """Return the UTF-8 of all values, one after the other."""
    import pyarrow as pa

    if not len(array):
        return b""
    filled = _filled(array, "").cast(pa.large_binary())
    _, offset_buffer, data = filled.buffers()
    offsets = np.frombuffer(offset_buffer, np.int64)[filled.offset :]
    first, last = int(offsets[0]), int(offsets[len(filled)])
    return bytes(memoryview(data)[first:last]) if last > first else b""
