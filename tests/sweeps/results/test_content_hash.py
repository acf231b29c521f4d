"""The hash of a table's content: of all that it says, and of nothing else."""

from __future__ import annotations

import hashlib
import io
import json
import math
import struct
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sweeps.results.content_hash import content_sha256

WHEN = datetime(2026, 1, 2, tzinfo=UTC)
TABLE = pa.table(
    {
        "name": pa.array(["a", None, "", "ü€"]),
        "n": pa.array([1, None, 0, -2], pa.int64()),
        "value": pa.array([0.5, None, math.nan, -0.0], pa.float64()),
        "kept": pa.array([True, None, False, True]),
        "when": pa.array([WHEN, None, WHEN, WHEN], pa.timestamp("us", tz="UTC")),
        "vector": pa.array([[0.5, -1.0], None, [], [2.0]], pa.list_(pa.float32())),
    }
)


def packed(code: str, *values: Any) -> bytes:
    """Little-endian values of one `struct` type."""
    return struct.pack(f"<{len(values)}{code}", *values)


def test_the_hash_is_of_the_bytes_that_its_docstring_says() -> None:
    """Written out here, a column a line; text, lists and nulls included."""
    head = '[[["name", "string"], ["n", "int64"], ["value", "double"], ["kept", "bool"], '
    head += '["when", "timestamp[us, tz=UTC]"], ["vector", "list<float>"]], 4]\n'
    assert json.loads(head)[1] == 4
    valid, when = b"\1\0\1\1", int(WHEN.timestamp()) * 10**6
    parts = [
        head.encode(),
        valid + packed("q", 1, 0, 0, 5) + "aü€".encode(),
        valid + packed("q", 1, 0, 0, -2),
        valid + packed("d", 0.5, 0.0, math.nan, -0.0),
        valid + b"\1\0\0\1",
        valid + packed("q", when, 0, when, when),
        valid + packed("q", 2, 0, 0, 1) + b"\1\1\1" + packed("f", 0.5, -1.0, 2.0),
    ]
    assert content_sha256(TABLE) == hashlib.sha256(b"".join(parts)).hexdigest()


@pytest.mark.parametrize("number", range(4))
def test_the_hash_of_a_row_is_the_same_however_it_is_computed(number: int) -> None:
    """Rows of `trials` are hashed value by value; the bytes are those of the docstring."""
    names = ["name", "n", "value", "kept", "when", "vector"]
    row = TABLE.slice(number, 1)
    name, n, value, kept, when, vector = (row[each][0].as_py() for each in names)
    text = (name or "").encode()
    types = ["string", "int64", "double", "bool", "timestamp[us, tz=UTC]", "list<float>"]
    head = json.dumps([list(map(list, zip(names, types, strict=True))), 1])
    parts = [
        f"{head}\n".encode(),
        name is not None, packed("q", len(text)) + text,
        n is not None, packed("q", n or 0),
        value is not None, packed("d", 0.0 if value is None else value),
        kept is not None, bytes([bool(kept)]),
        when is not None, packed("q", 0 if when is None else int(when.timestamp()) * 10**6),
        vector is not None, packed("q", len(vector or [])) + b"\1" * len(vector or []),
        packed("f", *(vector or [])),
    ]  # fmt: skip
    content = b"".join(bytes([part]) if isinstance(part, bool) else part for part in parts)
    assert content_sha256(row) == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "none", "use_dictionary": False},
        {"compression": "zstd", "use_dictionary": True, "row_group_size": 1},
        {"compression": "snappy", "version": "1.0", "store_schema": False},
        {"data_page_version": "2.0", "write_page_checksum": True},
    ],
)
def test_the_hash_does_not_depend_on_the_encoding(options: dict[str, Any]) -> None:
    """Compression, dictionaries, row groups and versions of Parquet change nothing."""
    buffer = io.BytesIO()
    pq.write_table(TABLE, buffer, **options)
    assert content_sha256(pq.read_table(buffer)) == content_sha256(TABLE)


def test_the_hash_does_not_depend_on_the_memory() -> None:
    """Slices, chunks and dictionaries of equal values are equal."""
    longer = pa.concat_tables([TABLE.slice(2), TABLE, TABLE.slice(1, 2)])
    assert content_sha256(longer.slice(2, 4)) == content_sha256(TABLE)
    parts = pa.concat_tables([TABLE.slice(0, 1), TABLE.slice(1)])
    assert content_sha256(parts) == content_sha256(TABLE)
    encoded = TABLE.set_column(0, "name", TABLE["name"].dictionary_encode())
    large = TABLE.set_column(0, "name", TABLE["name"].cast(pa.large_string()))
    assert content_sha256(encoded) == content_sha256(large) == content_sha256(TABLE)
    assert content_sha256(TABLE.slice(0, 0)) == content_sha256(TABLE.schema.empty_table())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.array([math.nan]), pa.array([None], pa.float64())),
        (pa.array([0.0]), pa.array([-0.0])),
        (pa.array([0.0]), pa.array([None], pa.float64())),
        (pa.array([0]), pa.array([0.0])),
        (pa.array([1, 2]), pa.array([2, 1])),
        (pa.array([0]), pa.array([0, 0])),
        (pa.array(["", "x"]), pa.array([None, "x"])),
        (pa.array(["ab", "c"]), pa.array(["a", "bc"])),
        (pa.array([False]), pa.array([None], pa.bool_())),
        (pa.array([[1.0], []]), pa.array([[], [1.0]])),
        (pa.array([[]], pa.list_(pa.float32())), pa.array([None], pa.list_(pa.float32()))),
        (pa.array([[math.nan]]), pa.array([[None]], pa.list_(pa.float64()))),
    ],
)
def test_tables_that_say_different_things_differ(one: pa.Array, other: pa.Array) -> None:
    """NaN is not null, text is not its neighbour's, and the order counts."""
    assert content_sha256(pa.table({"a": one})) != content_sha256(pa.table({"a": other}))
    assert content_sha256(pa.table({"a": one})) != content_sha256(pa.table({"b": one}))
    both = {"a": one, "b": one}
    swapped = pa.table(both).select(["b", "a"])
    assert content_sha256(pa.table(both)) != content_sha256(swapped)
