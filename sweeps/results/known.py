"""What packs and indexes say of a store's result objects: those of the store and those kept here.

Nothing of it decides what is committed. A fact counts while the store lists its object with the
same size and tag, and while its pack can be had.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from cluster.errors import ClusterError, NotFound
from sweeps.results.keys import COMPACT, READERS, SUFFIX, index_key, pack_key, table_of, trial_of
from sweeps.results.listing import ResultListing
from sweeps.results.pack_cache import INDEX, PackCache
from sweeps.results.packs import Fact, decode_index, digest, encode_index, facts_of

if TYPE_CHECKING:
    import pyarrow as pa

    from cluster.stores.base import Store, StoredObject

_INDEX_KEY: Final = re.compile(rf"{COMPACT}([0-9a-f]{{64}})\{SUFFIX}")
_PACK_KEY: Final = re.compile(rf"{COMPACT}[a-z]+/([0-9a-f]{{64}})\{SUFFIX}")
_MOST_LOCAL: Final = 16
"""Indexes of this machine that are read one by one; more are written as one."""
_log = logging.getLogger(__name__)


class KnownObjects:
    """Facts about the objects of a store.

    Attributes:
        stored: The indexes of the store, by name, each as a table.
        listed: Objects below `results/compact/`.
    """

    def __init__(self, store: Store, cache: PackCache, listing: ResultListing) -> None:
        """Read the indexes of the store and of the cache; damaged ones are noted and left out."""
        self._store, self._cache, self._listing = store, cache, listing
        self._kept: dict[str, bool] = {}
        self.listed: tuple[StoredObject, ...] = tuple(store.scan(COMPACT))
        named = {item.key: match[1] for item in self.listed
                 if (match := _PACK_KEY.fullmatch(item.key))}  # fmt: skip
        self._packs = set(named.values())
        self.stored: dict[str, pa.Table] = {}
        names = [m[1] for item in self.listed if (m := _INDEX_KEY.fullmatch(item.key))]
        with ThreadPoolExecutor(READERS) as pool:
            for name, table in zip(names, pool.map(self._stored_index, names), strict=True):
                if table is not None:
                    self.stored[name] = table
        self._local = [table for table in self._local_indexes() if table is not None]

    def facts(self, keys: Collection[str]) -> Iterator[Fact]:
        """Yield facts about some objects of one table that still count; several of one perhaps.

        Of several the last is the best: the one with a pack, on this machine where it is.
        """
        left = set(keys)
        for table in (*self._local, *self._largest_first()):
            for fact in self._matching(table, left) if left else ():
                if fact.pack is not None:
                    left.discard(fact.key)
                yield fact

    def indexed(self, keys: Collection[str]) -> set[str]:
        """Return which objects an index of the store names, with a pack that can be had."""
        left, there = set(keys), set[str]()
        for table in self._largest_first():
            matching = self._matching(table, left) if left else ()
            new = {f.key for f in matching if f.pack is None or f.pack in self._packs}
            left, there = left - new, there | new
        return there

    def facts_in(self, index: str) -> list[Fact]:
        """Return the facts of one of the store's indexes that still count, packs of it included."""
        facts = facts_of(self.stored[index])
        self._listing.prepare(fact.key for fact in facts)
        there = (fact for fact in facts if fact.pack is None or fact.pack in self._packs)
        return [fact for fact in there if self._counts(fact)]

    def keep(self, facts: Iterable[Fact]) -> str:
        """Keep facts on this machine; return the name of their index."""
        return self._cache.put(encode_index(facts), INDEX)

    def pack(self, table: str, name: str) -> bytes | None:
        """Return a pack's bytes, which were compared with its hash; None where it cannot be had."""
        data = self._cache.get(name)
        if data is not None or name not in self._packs:
            return data
        data = self._download(pack_key(table, name), name)
        if data is not None:
            self._cache.put(data)
        return data

    def lose(self, name: str) -> None:
        """Take note that a pack cannot be had."""
        self._packs.discard(name)
        self._kept.pop(name, None)
        self._cache.discard(name)

    def lose_damaged(self) -> None:
        """Read every pack and index of the store, and take note of those that are damaged."""
        for item in self.listed:
            match = _PACK_KEY.fullmatch(item.key)
            if match and self._download(item.key, match[1]) is None:
                self._packs.discard(match[1])
        for name in [name for name in self.stored if self._download(index_key(name), name) is None]:
            del self.stored[name]

    def _largest_first(self) -> list[pa.Table]:
        """Return the store's indexes: a large one has what small ones had before it."""
        return sorted(self.stored.values(), key=len, reverse=True)

    def _matching(self, index: pa.Table, keys: Collection[str]) -> Iterator[Fact]:
        import pyarrow as pa
        import pyarrow.compute as pc

        chosen = set(keys)
        for name, part in (("table", table_of), ("trial_id", trial_of)):
            values = pa.array(sorted({part(key) for key in chosen}), pa.string())
            index = index.filter(pc.is_in(index.column(name), value_set=values))
        for fact in facts_of(index):
            if fact.key in chosen and self._counts(fact):
                yield fact

    def _counts(self, fact: Fact) -> bool:
        item = self._listing.get(fact.key)
        if item is None or not item.tag:
            return False
        is_same = (item.size_bytes, item.tag) == (fact.size_bytes, fact.tag)
        return is_same and self._can_be_had(fact)

    def _stored_index(self, name: str) -> pa.Table | None:
        data = self._cache.get(name, INDEX)
        if data is None:
            data = self._download(index_key(name), name)
            if data is not None:
                self._cache.put(data, INDEX)
        return None if data is None else decode_index(data)

    def _local_indexes(self) -> Iterator[pa.Table | None]:
        names = [name for name in self._cache.indexes() if name not in self.stored]
        tables = [decode_index(data) for name in names if (data := self._cache.get(name, INDEX))]
        if len(names) <= _MOST_LOCAL:
            yield from tables
            return
        facts = {fact for table in tables if table is not None for fact in facts_of(table)}
        merged = encode_index(fact for fact in facts if self._can_be_had(fact))
        kept = self._cache.put(merged, INDEX)
        for name in names:
            if name != kept:
                self._cache.discard(name, INDEX)
        yield decode_index(merged)

    def _can_be_had(self, fact: Fact) -> bool:
        if fact.pack is None or fact.pack in self._packs:
            return True
        if fact.pack not in self._kept:  # asked once of the disk for thousands of facts
            self._kept[fact.pack] = self._cache.has(fact.pack)
        return self._kept[fact.pack]

    def _download(self, key: str, name: str) -> bytes | None:
        try:
            data = self._store.get(key)
        except NotFound:
            return None
        except ClusterError as error:
            _log.warning("%s is left out, and the results themselves are read: %s", key, error)
            return None
        if digest(data) == name:
            return data
        _log.warning(
            "%s in %s is damaged: it is left out, and the results themselves are read; "
            "`sweeps store compact` writes it again", key, self._store.url,
        )  # fmt: skip
        return None
