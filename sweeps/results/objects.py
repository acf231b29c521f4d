"""Reads result objects one by one, checks them, and packs their rows for every later use."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from cluster.errors import Corrupt, NotFound
from sweeps.errors import DamagedResult
from sweeps.results.codec import decode_verified
from sweeps.results.keys import READERS, table_of, trial_of
from sweeps.results.listing import ResultListing
from sweeps.results.packs import (
    BYTES,
    LARGEST,
    PACKED,
    ROWS,
    Fact,
    encode_pack,
    extra_columns,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from cluster.stores.base import Store
    from sweeps.results.known import KnownObjects
    from sweeps.results.pack_cache import PackCache

_WINDOW: Final = 16 * READERS
"""Objects that are asked for before the first of them is packed."""


@dataclass
class _Heap:
    """Rows of one table and schema that wait for a pack."""

    facts: list[Fact] = field(default_factory=list)
    tables: list[pa.Table] = field(default_factory=list)
    rows: int = 0
    size_bytes: int = 0

    def add(self, fact: Fact, table: pa.Table) -> None:
        import pyarrow as pa

        self.facts.append(replace(fact, first=self.rows))
        self.tables.append(table)
        self.rows += table.num_rows
        self.size_bytes += table.nbytes
        if len(self.tables) >= _WINDOW:  # a table of one row takes many times its bytes
            self.tables = [pa.concat_tables(self.tables).combine_chunks()]

    @property
    def is_full(self) -> bool:
        return self.rows >= ROWS or self.size_bytes >= BYTES


class ObjectReader:
    """Reads objects of a store; what it has read is known on this machine from then on."""

    def __init__(
        self, store: Store, cache: PackCache, listing: ResultListing, known: KnownObjects
    ) -> None:
        """Keep packs in `cache` and facts in `known`; `listing` follows what was read."""
        self._store, self._cache, self._listing, self._known = store, cache, listing, known

    def read(
        self, keys: Sequence[str], expected: Mapping[str, str]
    ) -> Iterator[Fact | tuple[str, DamagedResult]]:
        """Read objects and yield a fact about each, or its key and why it is damaged.

        Args:
            keys: Which; those that are gone by now are left out.
            expected: By key the SHA-256 that a trial's row names.

        Raises:
            ResultError: an object is of a newer schema than this version knows.
            Denied, Unavailable: from the store.
        """
        heaps: dict[tuple[str, str], _Heap] = {}
        with ThreadPoolExecutor(READERS) as pool:
            for start in range(0, len(keys), _WINDOW):
                window = keys[start : start + _WINDOW]
                for key, outcome in zip(
                    window, pool.map(lambda key: self._outcome(key, expected), window), strict=True
                ):
                    if isinstance(outcome, DamagedResult):
                        yield key, outcome
                    elif outcome is not None:
                        yield from self._take(*outcome, heaps)
        for heap in heaps.values():
            yield from self._pack(heap)

    def table(self, fact: Fact) -> pa.Table:
        """Read the rows of an object that no pack holds.

        Raises:
            DamagedResult: its bytes are not those of the fact.
            NotFound, Denied, Unavailable: from the store.
        """
        data = self._store.get(fact.key)
        sha256 = hashlib.sha256(data).hexdigest()
        if sha256 != fact.sha256:
            raise DamagedResult(
                f"{fact.key} is damaged or was replaced: it has SHA-256 {sha256}, and had "
                f"{fact.sha256}"
            )
        return decode_verified(data, fact.key, is_known=True)[0]

    def _take(
        self, fact: Fact, table: pa.Table | None, heaps: dict[tuple[str, str], _Heap]
    ) -> Iterator[Fact]:
        """Yield the fact where no pack is to hold its rows, else those of a pack that is full."""
        if table is None:
            heap = heaps.setdefault(("", ""), _Heap())
            heap.facts.append(fact)
            if len(heap.facts) >= _WINDOW:
                yield from self._pack(heaps.pop(("", "")))
            return
        name = fact.table, fact.columns
        heap = heaps.setdefault(name, _Heap())
        heap.add(fact, table)
        if heap.is_full:
            yield from self._pack(heaps.pop(name))

    def _pack(self, heap: _Heap) -> Iterator[Fact]:
        """Write a pack and its index; yield the facts, which name it."""
        import pyarrow as pa

        facts = heap.facts
        if heap.tables:
            name = self._cache.put(encode_pack(pa.concat_tables(heap.tables)))
            facts = [replace(fact, pack=name) for fact in facts]
        self._known.keep(fact for fact in facts if fact.tag)
        yield from facts

    def _outcome(
        self, key: str, expected: Mapping[str, str]
    ) -> tuple[Fact, pa.Table | None] | DamagedResult | None:
        """Read one object: what is known of it and its rows, what is wrong, or None if gone."""
        try:
            data, item = self._store.read(key)
        except NotFound:
            self._listing.forget(key)
            return None
        except Corrupt as error:
            return DamagedResult(f"{key} is damaged: {error}")
        self._listing.update(item)
        sha256 = hashlib.sha256(data).hexdigest()
        if sha256 != expected.get(key, sha256):
            return DamagedResult(
                f"{key} is damaged: it has SHA-256 {sha256}; its trial's row says {expected[key]}"
            )
        try:
            return self._checked(key, data, sha256, item.tag, is_known=key in expected)
        except DamagedResult as error:
            return error

    def _checked(
        self, key: str, data: bytes, sha256: str, tag: str, *, is_known: bool
    ) -> tuple[Fact, pa.Table | None]:
        table_name, trial_id = table_of(key), trial_of(key)
        attempt = "" if table_name == "trials" else key.split("/")[3].partition(".")[0]
        fact = Fact(table_name, trial_id, attempt, len(data), tag, sha256, is_hashed=is_known)
        if is_known and table_name not in PACKED:
            return fact, None
        table, is_hashed = decode_verified(data, key, is_known=is_known)
        owners = set(table.column("trial_id").unique().to_pylist())
        is_single = table_name != "trials" or table.num_rows == 1
        if not owners <= {trial_id} or not is_single:
            raise DamagedResult(
                f"{key} is damaged: it holds rows of {sorted(map(str, owners)) or 'nothing'}"
            )
        columns = extra_columns(table, table_name)
        if columns is None:
            raise DamagedResult(f"{key} is damaged: it has columns that no result has")
        fact = replace(fact, is_hashed=is_hashed, rows=table.num_rows, columns=columns)
        return fact, table if table_name in PACKED and len(data) <= LARGEST else None
