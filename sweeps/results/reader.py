"""Reads results of many trials at once, from packs where the store still lists the same objects.

The listing decides what is committed; packs save reading and decoding objects one by one. What is
read from a pack is what its objects held when their bytes were checked: the pack's own SHA-256 is
compared each time, and each object's size and tag with the listing. What no pack holds is read from
the objects, checked, and packed in the local cache.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING, Final

from cluster.errors import Unavailable
from sweeps.errors import DamagedResult
from sweeps.results.keys import table_of, trial_of
from sweeps.results.known import KnownObjects
from sweeps.results.listing import ResultListing
from sweeps.results.objects import ObjectReader
from sweeps.results.pack_cache import PackCache
from sweeps.results.packs import BYTES, ROWS, Fact, decode_pack, schema_of

if TYPE_CHECKING:
    import pyarrow as pa

    from cluster.stores.base import Store

Show = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]
"""Shows, while a block runs, how many objects are done of how many; takes what is done."""
Segment = tuple[list[Fact], "pa.Table | None"]
"""Facts of neighbours in a pack and that; of one object alone, where no pack holds its rows."""
_MANY: Final = 200
"""Objects from which on their reading is shown."""
_STEP: Final = 20
_AHEAD: Final = 2
"""Packs that are read while the rows of others are used."""
_DECODED: Final = 6
"""Packs that stay decoded: rows of one sweep alternate between those of a few compactions."""


class ResultReader:
    """The results of a store as they are listed when this is first asked for them.

    Attributes:
        store: The store.
        listing: What it lists.
        on_rows: Called with the number of objects whose rows were used.
    """

    def __init__(
        self, store: Store, cache: PackCache | None = None, show: Show | None = None
    ) -> None:
        """Read nothing yet.

        Args:
            store: Where from.
            cache: Where packs are kept on this machine; without one they go with this object.
            show: Shows how many objects are read where that takes long; None shows nothing.
        """
        self._show = show
        self.on_rows: Callable[[int], None] = lambda objects: None
        self.store = store
        self.listing = ResultListing(store)
        self._cache = cache or PackCache.temporary()
        self._facts: dict[str, Fact] = {}
        self._damaged: dict[str, DamagedResult] = {}
        self._decoded: OrderedDict[tuple[str, object], pa.Table] = OrderedDict()

    @classmethod
    def of(cls, source: Store | ResultReader) -> ResultReader:
        """Return a reader of a store; a reader as it is, with what it has listed and read."""
        return source if isinstance(source, ResultReader) else cls(source)

    @cached_property
    def known(self) -> KnownObjects:
        """Facts of the store's compactions and of the local cache."""
        return KnownObjects(self.store, self._cache, self.listing)

    @cached_property
    def _objects(self) -> ObjectReader:
        return ObjectReader(self.store, self._cache, self.listing, self.known)

    def look(
        self, keys: Collection[str], expected: Mapping[str, str] | None = None
    ) -> dict[str, Fact | DamagedResult]:
        """Return what is known of objects, each read and checked unless a fact counts.

        Args:
            keys: Keys of result objects.
            expected: By key the SHA-256 that a trial's row names.

        Returns:
            By key; those that are not there are left out.

        Raises:
            ResultError: an object is of a newer schema than this version knows.
            Denied, Unavailable: from the store.
        """
        new = [key for key in keys if key not in self._facts and key not in self._damaged]
        if new:
            self.listing.prepare(new)
            self._facts.update((fact.key, fact) for fact in self.known.facts(new))
            left = [key for key in new if key not in self._facts and self.listing.get(key)]
            self._read(left, expected or {})
        outcomes = ((key, self._facts.get(key) or self._damaged.get(key)) for key in keys)
        return {key: outcome for key, outcome in outcomes if outcome is not None}

    def _read(self, keys: Sequence[str], expected: Mapping[str, str]) -> None:
        """Read and check objects, and take note of what is known of them then."""
        shows = self._show if len(keys) >= _MANY else None
        with shows(f"checking {table_of(keys[0])}") if shows else nullcontext() as progress:
            for done, each in enumerate(self._objects.read(keys, expected), 1):
                if isinstance(each, Fact):
                    self._facts[each.key] = each
                else:
                    self._damaged[each[0]] = each[1]
                if progress is not None and (done % _STEP == 0 or done == len(keys)):
                    progress(done, len(keys))

    def list_again(self, trial_id: str) -> None:
        """Forget what is known of a trial's result, and list it once more."""
        for known in (self._facts, self._damaged):
            for key in [key for key in known if trial_of(key) == trial_id]:
                known.pop(key)
        self.listing.list_again(trial_id)

    def tables(
        self, keys: Sequence[str], columns: Sequence[str] | None = None
    ) -> Iterator[pa.Table]:
        """Yield the rows of objects in the order of `keys`, some hundred thousand at a time.

        Text is left as numbers into a dictionary where it comes from packs.

        Args:
            keys: Keys of objects of one table.
            columns: Columns to read; None reads all.

        Raises:
            DamagedResult: one is damaged.
            NotFound: one is not there.
        """
        for segments in self._chunks(keys, columns):
            yield self._join(segments, columns)

    def _join(self, segments: Sequence[Segment], columns: Sequence[str] | None) -> pa.Table:
        """Return the rows of all segments, in their order.

        They are taken from each pack at once: objects of several compactions alternate, and
        thousands of slices cost more than their rows.
        """
        import numpy as np
        import pyarrow as pa

        by_pack: dict[object, list[int]] = {}
        alone: dict[int, pa.Table] = {}
        for number, (of, pack) in enumerate(segments):
            by_pack.setdefault(number if pack is None else of[0].pack, []).append(number)
            if pack is None:
                alone[number] = self._rows(of, None, columns)
        counts = [
            alone[number].num_rows if number in alone else sum(fact.rows for fact in of)
            for number, (of, _) in enumerate(segments)
        ]
        starts = np.cumsum([0, *counts])
        parts, places = [], []
        for numbers in by_pack.values():
            pack = segments[numbers[0]][1]
            if pack is None:
                parts.append(alone[numbers[0]])
            else:
                firsts = [segments[n][0][0].first for n in numbers]
                spans = zip(firsts, numbers, strict=True)
                rows = [np.arange(first, first + counts[n]) for first, n in spans]
                parts.append(pack.take(pa.array(np.concatenate(rows))))
            places += [np.arange(starts[n], starts[n + 1]) for n in numbers]
        if len({part.schema for part in parts}) > 1:
            parts = [by_dictionary(part) for part in parts]
        table = pa.concat_tables(parts, promote_options="default").unify_dictionaries()
        if len(by_pack) == len(segments):
            return table
        return table.combine_chunks().take(pa.array(np.argsort(np.concatenate(places))))

    def parts(self, keys: Sequence[str]) -> Iterator[tuple[list[Fact], pa.Table]]:
        """Yield facts about objects of one schema, and their rows; raises as `tables` does."""
        import pyarrow as pa

        for segments in self._chunks(keys, None):
            facts = [fact for each, _ in segments for fact in each]
            tables = [self._rows(*segment, None) for segment in segments]
            yield facts, tables[0] if len(tables) == 1 else pa.concat_tables(tables)

    def keep_pack(self, data: bytes) -> str:
        """Keep a pack on this machine, and return its name."""
        return self._cache.put(data)

    def each(self, keys: Sequence[str]) -> Iterator[pa.Table]:
        """Yield the rows of each object, in the order of `keys`; raises as `tables` does."""
        for segments in self._chunks(keys, None):
            kinds = {(fact.table, fact.columns) for of, _ in segments for fact in of}
            alike = [segments] if len(kinds) == 1 else [[segment] for segment in segments]
            for part in alike:  # neighbours in a pack have the same columns
                facts = [fact for of, _ in part for fact in of]
                schema = schema_of(facts[0].table, facts[0].columns)
                whole, first = self._join(part, None).cast(schema), 0
                for fact in facts:
                    yield whole.slice(first, fact.rows)
                    first += fact.rows

    def schema(self, keys: Sequence[str]) -> pa.Schema:
        """Return the columns that the rows of objects have together, text as text."""
        import pyarrow as pa

        facts = self._whole_facts(keys)
        kinds = dict.fromkeys((fact.table, fact.columns) for fact in facts)
        return pa.unify_schemas([schema_of(*kind) for kind in kinds])

    def _whole_facts(self, keys: Sequence[str]) -> list[Fact]:
        """Return a fact about each object, which must be there and whole."""
        outcomes = self.look(keys)
        facts = []
        for key in keys:
            outcome = outcomes.get(key)
            if isinstance(outcome, DamagedResult):
                raise outcome
            if outcome is None:
                self.store.get(key)  # raises NotFound, in the store's words
                raise Unavailable(f"'{key}' in {self.store.url} came while it was read; try again")
            facts.append(outcome)
        return facts

    def _chunks(
        self, keys: Sequence[str], columns: Sequence[str] | None
    ) -> Iterator[list[Segment]]:
        """Yield objects in parts of some rows."""
        facts = self._whole_facts(keys)
        with ThreadPoolExecutor(_AHEAD) as pool:
            coming: dict[str, Future[pa.Table | None]] = {}
            for chunk, following in _in_chunks(facts):
                for fact in (*chunk, *following):
                    name = fact.pack
                    if name and name not in coming and (name, _key(columns)) not in self._decoded:
                        coming[name] = pool.submit(self._decode, fact.table, name, columns)
                yield self._segments([fact.key for fact in chunk], columns, coming)
                self.on_rows(len(chunk))

    def _segments(
        self,
        keys: Sequence[str],
        columns: Sequence[str] | None,
        coming: dict[str, Future[pa.Table | None]],
    ) -> list[Segment]:
        """Return facts of neighbours in a pack with that.

        Objects of a pack that is gone or damaged are read and packed again. Where a small cache has
        no space for that pack either, their rows are read from the objects themselves.
        """
        for is_last in (False, True):
            segments = _neighbours(self._whole_facts(keys))
            packs = {of[0].pack: self._pack(of[0], columns, coming) for of in segments}
            missing = [name for name, table in packs.items() if name and table is None]
            if is_last or not missing:
                break
            self._lose(missing, keys)
        alone = [
            part
            for of in segments
            for part in ([[fact] for fact in of] if of[0].pack in missing else [of])
        ]
        return [(of, packs[of[0].pack]) for of in alone]

    def _lose(self, packs: Collection[str | None], keys: Sequence[str]) -> None:
        """Forget packs that are gone or damaged: their objects are read again."""
        for name in packs:
            self.known.lose(str(name))
        lost = [key for key, fact in self._facts.items() if fact.pack in packs]
        for key in lost:
            del self._facts[key]
        self.look(keys)

    def _pack(
        self,
        fact: Fact,
        columns: Sequence[str] | None,
        coming: dict[str, Future[pa.Table | None]],
    ) -> pa.Table | None:
        """Return a decoded pack, which is kept for a while; None where there is none."""
        if fact.pack is None:
            return None
        name = (str(fact.pack), _key(columns))
        table = self._decoded.pop(name, None)
        if table is None:
            future = coming.pop(name[0], None)
            table = future.result() if future else self._decode(fact.table, name[0], columns)
        if table is not None:
            self._decoded[name] = table
            while len(self._decoded) > _DECODED:
                self._decoded.popitem(last=False)
        return table

    def _decode(self, table: str, name: str, columns: Sequence[str] | None) -> pa.Table | None:
        data = self.known.pack(table, name)
        if data is None:
            return None
        return decode_pack(data, table, columns, by_dictionary=table != "trials")

    def _rows(
        self, facts: Sequence[Fact], pack: pa.Table | None, columns: Sequence[str] | None
    ) -> pa.Table:
        """Return the rows of neighbours in a pack, or of one object that is in none."""
        if pack is None:
            table = self._objects.table(facts[0])
            return table.select(columns) if columns else table
        return pack.slice(facts[0].first, facts[-1].first + facts[-1].rows - facts[0].first)


def _key(columns: Sequence[str] | None) -> object:
    return None if columns is None else tuple(columns)


def by_dictionary(table: pa.Table) -> pa.Table:
    """Return a table with text as numbers into a dictionary."""
    import pyarrow as pa

    for position, field in enumerate(table.schema):
        if field.type == pa.string():
            encoded = table.column(position).dictionary_encode()
            table = table.set_column(position, field.name, encoded)
    return table


def _in_chunks(facts: Sequence[Fact]) -> Iterator[tuple[list[Fact], list[Fact]]]:
    """Yield facts in parts of some rows, each with the part that follows."""
    chunks: list[list[Fact]] = [[]]
    rows = size_bytes = 0
    for fact in facts:
        if rows >= ROWS or size_bytes >= BYTES:
            chunks.append([])
            rows = size_bytes = 0
        chunks[-1].append(fact)
        rows, size_bytes = rows + max(1, fact.rows), size_bytes + fact.size_bytes
    for chunk, following in zip(chunks, [*chunks[1:], []], strict=True):
        if chunk:
            yield chunk, following


def _neighbours(facts: Sequence[Fact]) -> list[list[Fact]]:
    """Join facts whose rows follow each other in one pack."""
    joined: list[list[Fact]] = []
    for fact in facts:
        last = joined[-1][-1] if joined else None
        follows = last is not None and fact.pack is not None and last.pack == fact.pack
        if last is not None and follows and last.first + last.rows == fact.first:
            joined[-1].append(fact)
        else:
            joined.append([fact])
    return joined
