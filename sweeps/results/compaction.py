"""Compaction: copies rows of many small result objects into a few packs beside them in the store.

Nothing is moved or removed. Packs are written first and their index last, each under its SHA-256,
so that a compaction that is killed leaves packs that nothing names, and two at once write the same
objects or two indexes that are both right. An index with at most as many objects as are new is
written again with them, so that a store that grows by and by has a few indexes only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sweeps.results.checking import check_results, result_keys
from sweeps.results.keys import index_key, pack_key
from sweeps.results.packs import Fact, digest, encode_index, encode_pack, schema_of
from sweeps.results.reader import ResultReader

if TYPE_CHECKING:
    from cluster.stores.base import Store
    from sweeps.results.known import KnownObjects


@dataclass(frozen=True)
class Compaction:
    """What a compaction wrote.

    Attributes:
        objects: Small objects whose rows were copied, those of indexes written again included.
        packs: Packs written.
        size_bytes: Of the packs and their index.
        damaged: Why the results of some trials were left out, by trial id.
    """

    objects: int = 0
    packs: int = 0
    size_bytes: int = 0
    damaged: int = 0


def compact(
    source: Store | ResultReader, ids: Collection[str] | None = None, *, verify: bool = False
) -> Compaction:
    """Copy the rows of whole results, and of records of failures, that no index of the store names.

    Args:
        source: The store, or its reader.
        ids: Trials; None is all that have a result or a record of a failure.
        verify: Read every pack of the store first; what is in a damaged one is written again.

    Raises:
        Denied, Unavailable: from the store; whatever was written until then does no harm.
    """
    reader = ResultReader.of(source)
    if verify:
        reader.known.lose_damaged()
    committed = set(reader.listing.trials)
    chosen = committed if ids is None else committed & set(ids)
    checked = check_results(reader, chosen)
    keys = [*result_keys(reader, checked.done), *_failure_keys(reader, ids)]
    outcomes = reader.look(keys)
    facts = [each for key in keys if isinstance(each := outcomes.get(key), Fact) and each.tag]
    chosen_facts = _add_small_indexes(reader.known, facts)
    if not chosen_facts:
        return Compaction(damaged=len(checked.damaged))
    return replace(_write(reader, chosen_facts), damaged=len(checked.damaged))


def _failure_keys(reader: ResultReader, ids: Collection[str] | None) -> list[str]:
    return [item.key for item in reader.listing.failures(ids)]


def _add_small_indexes(known: KnownObjects, facts: Iterable[Fact]) -> list[Fact]:
    """Return the facts that no index has, with those of small indexes; none where none is new."""
    by_key = {fact.key: fact for fact in facts}
    there = known.indexed(by_key)
    chosen = {key: fact for key, fact in by_key.items() if key not in there}
    if not chosen:
        return []
    for name, table in sorted(known.stored.items(), key=lambda item: (len(item[1]), item[0])):
        if len(table) > len(chosen):  # a large one is not gone through
            break
        chosen |= {fact.key: fact for fact in known.facts_in(name)}
    return [chosen[key] for key in sorted(chosen)]


def _write(reader: ResultReader, facts: Iterable[Fact]) -> Compaction:
    """Write packs and then their index."""
    kinds: dict[tuple[str, str], list[Fact]] = {}
    written: list[Fact] = []
    for fact in facts:
        if fact.pack is None:
            written.append(fact)
        else:
            kinds.setdefault((fact.table, fact.columns), []).append(fact)
    packs = size_bytes = 0
    for (name, columns), each in kinds.items():
        for part, table in reader.parts([fact.key for fact in each]):
            data = encode_pack(table.cast(schema_of(name, columns)))
            reader.store.put(pack_key(name, digest(data)), data)
            pack, first = reader.keep_pack(data), 0
            for fact in part:
                written.append(replace(fact, pack=pack, first=first))
                first += fact.rows
            packs, size_bytes = packs + 1, size_bytes + len(data)
    index = encode_index(written)
    reader.store.put(index_key(digest(index)), index)
    return Compaction(len(written), packs, size_bytes + len(index))


def find_superseded(reader: ResultReader) -> list[str]:
    """Return keys of indexes that others make up for, and then of packs that no other one names."""
    known = reader.known
    facts = {name: known.facts_in(name) for name in known.stored}
    covered: set[str] = set()
    kept: set[str] = set()
    for name, each in sorted(facts.items(), key=lambda item: (-len(item[1]), item[0])):
        keys = {fact.key for fact in each}
        if not keys <= covered:
            kept.add(name)
            covered |= keys
    used = {index_key(name) for name in kept}
    used |= {pack_key(f.table, f.pack) for name in kept for f in facts[name] if f.pack is not None}
    unused = [item.key for item in known.listed if item.key not in used]
    return sorted(unused, key=lambda key: (key.count("/"), key))
