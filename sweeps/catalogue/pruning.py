"""What may go from a store, since nothing refers to it and nobody can be writing it.

Everything here is older than a bound that no attempt, staging or compaction takes between writing
an object and the one that names it. Results of named sweeps are never among it.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cluster.datasets.keys import DATASETS, manifest_key, shard_key
from cluster.datasets.manifest import list_datasets, load_manifest
from cluster.errors import ClusterError, Denied
from cluster.stores.base import Store, StoredObject
from sweeps.catalogue.archived import ArchivedSweep, read_sweeps
from sweeps.catalogue.unfinished import UnfinishedWrite, find_unfinished
from sweeps.results.checking import check_results
from sweeps.results.compaction import find_superseded
from sweeps.results.keys import CHECKPOINTS, MODELS, STAGES, trial_key, trial_of
from sweeps.results.reader import ResultReader
from sweeps.results.schemas import SISTERS
from sweeps.results.tables import read_trials

_SECONDS_PER_DAY = 86_400.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prunable:
    """Objects that may go.

    Attributes:
        kind: What they are.
        reason: Why nothing needs them.
        objects: In the order in which they are removed.
        unfinished: What was never to become one.
    """

    kind: str
    reason: str
    objects: Sequence[StoredObject] = ()
    unfinished: Sequence[UnfinishedWrite] = ()

    @property
    def keys(self) -> list[str]:
        """Keys of all of them."""
        return [item.key for item in self.objects] + [each.key for each in self.unfinished]

    @property
    def size_bytes(self) -> int:
        """Their sizes together, as far as they are known."""
        of_objects = sum(item.size_bytes for item in self.objects)
        return of_objects + sum(each.size_bytes or 0 for each in self.unfinished)


@dataclass(frozen=True)
class _Store:
    """What a store holds, read once."""

    reader: ResultReader
    sweeps: Mapping[str, ArchivedSweep]
    before: float
    objects: Mapping[str, StoredObject]
    attempts: Mapping[str, str] = field(default_factory=dict)
    """Committed attempt of every trial whose result is whole."""

    def old(self, prefix: str) -> Iterator[StoredObject]:
        """Yield objects that were written before the bound."""
        for key, item in self.objects.items():
            if key.startswith(prefix) and item.modified < self.before:
                yield item

    def is_lost(self, trial_id: str, attempt: str) -> bool:
        """Return whether an attempt is not the trial's; nobody knows while that is damaged."""
        committed = self.attempts.get(trial_id)
        is_damaged = trial_id in self.reader.listing.trials and committed is None
        return not is_damaged and attempt != committed

    @property
    def named(self) -> frozenset[str]:
        """Trials of all named sweeps."""
        return frozenset().union(*(sweep.trials for sweep in self.sweeps.values()))


def find_prunable(
    reader: ResultReader, days: float, *, results: bool = False, now: float | None = None
) -> list[Prunable]:
    """List what may go; changes nothing.

    Args:
        reader: The store's results.
        days: Age from which on an object cannot be one that is being written.
        results: List results, too, that are of no named sweep.
        now: Seconds since 1970-01-01 UTC; None is the clock's.

    Raises:
        ResultError: a sweep's plan is damaged, so that nobody knows what it refers to.
    """
    sweeps = read_sweeps(reader.store)
    before = (time.time() if now is None else now) - days * _SECONDS_PER_DAY
    objects = {item.key: item for item in reader.store.scan("")}
    done = check_results(reader, reader.listing.trials).done
    table = read_trials(reader, done)
    columns = (table.column(name).to_pylist() for name in ("trial_id", "attempt"))
    store = _Store(reader, sweeps, before, objects, dict(zip(*columns, strict=True)))
    kinds: list[Callable[[_Store], Iterable[Prunable]]] = [
        *(_lost_attempts, _checkpoints, _shared_models, _packs, _shards, _unfinished),
        *([_results] if results else []),
    ]
    return [each for kind in kinds for each in kind(store) if each.keys]


def prune(store: Store, prunable: Iterable[Prunable]) -> int:
    """Delete what was listed, and return how many objects and unfinished writes are gone."""
    gone = 0
    for each in prunable:
        gone += sum(store.delete(item.key) for item in each.objects)
        gone += sum(_discard(store, write) for write in each.unfinished)
    return gone


def _discard(store: Store, write: UnfinishedWrite) -> bool:
    try:
        store.discard(write.source)
    except Denied as error:
        _log.warning("%s; it stays", error)
        return False
    return True


def _lost_attempts(store: _Store) -> Iterator[Prunable]:
    """Tables and models of attempts that lost, were replaced, or ended before their commit."""
    tables = [
        item
        for table in SISTERS
        for item in store.old(f"results/{table}/")
        if store.is_lost(trial_of(item.key), item.key.split("/")[3].partition(".")[0])
    ]
    models = [item for item in store.old(MODELS) if store.is_lost(*item.key.split("/")[1:3])]
    reason = "their attempt is not the one that was committed"
    yield Prunable("tables of attempts", reason, tables)
    yield Prunable("models of attempts", reason, models)


def _checkpoints(store: _Store) -> Iterator[Prunable]:
    """Training states of finished trials, unless a sweep keeps them, and of trials of no sweep.

    Those that a search stopped may go, too, once all searches of the sweeps that tried them are
    over: what a later search compares of them is kept as results are.
    """
    keeping = [sweep.trials for sweep in store.sweeps.values() if sweep.keeps_checkpoints]
    needing = [sweep.needed for sweep in store.sweeps.values()]
    kept, needed = frozenset().union(*keeping), frozenset().union(*needing)
    objects = [
        item for item in store.old(CHECKPOINTS)
        if (trial_id := item.key.split("/")[1]) not in kept
        and (trial_id in store.attempts or trial_id not in needed)
    ]  # fmt: skip
    reason = (
        "their trial has a result, was stopped by a search that is over, or is of no named sweep"
    )
    yield Prunable("checkpoints", reason, objects)


def _shared_models(store: _Store) -> Iterator[Prunable]:
    """Models that trials share, once every trial of every named sweep has a result."""
    sweeps = store.sweeps.values()
    if all(not of.is_searching and of.planned <= store.attempts.keys() for of in sweeps):
        objects = list(store.old(STAGES))
        yield Prunable("shared models", "all trials of named sweeps have a result", objects)


def _packs(store: _Store) -> Iterator[Prunable]:
    """Indexes whose objects newer ones name, too, and packs that no index names; indexes first."""
    keys = find_superseded(store.reader)
    objects = [item for key in keys if (item := store.objects.get(key)) is not None]
    old = [item for item in objects if item.modified < store.before]
    yield Prunable("compacted results", "no index needs them", old)


def _shards(store: _Store) -> Iterator[Prunable]:
    """Shards that no manifest names, and journals of stagings that nobody continued."""
    names = {item.key.split("/")[1] for item in store.old(DATASETS)}
    known = list_datasets(store.reader.store)
    objects = []
    for name in sorted(names):
        try:
            manifests = [load_manifest(store.reader.store, manifest_key(name, digest))
                         for digest in known.get(name, ())]  # fmt: skip
        except ClusterError:  # damaged: nobody knows which shards it names
            continue
        used = {shard_key(name, entry.sha256) for each in manifests for entry in each.shards}
        parts = list(store.old(f"{DATASETS}{name}/parts/"))
        if len(parts) == sum(key.startswith(f"{DATASETS}{name}/parts/") for key in store.objects):
            objects += parts  # a journal that is being written has new parts, and its shards stay
            shards = store.old(f"{DATASETS}{name}/shards/")
            objects += [item for item in shards if item.key not in used]
    yield Prunable("parts of datasets", "no manifest names them", objects)


def _unfinished(store: _Store) -> Iterator[Prunable]:
    """Uploads that were begun before the bound: whoever began them has ended."""
    unfinished = find_unfinished(store.reader.store, time.time() - store.before)
    if unfinished.problem:
        _log.warning("%s; what interrupted writers left there stays", unfinished.problem)
    reason = "whoever began them ended before their last byte"
    yield Prunable("unfinished writes", reason, unfinished=unfinished.writes)


def _results(store: _Store) -> Iterator[Prunable]:
    """Results of trials of no named sweep, each commit object before its tables and model."""
    named = store.named
    by_trial: defaultdict[str, list[StoredObject]] = defaultdict(list)
    for table in (*SISTERS, "failures", "stopped"):
        for key in store.objects:
            if key.startswith(f"results/{table}/") and trial_of(key) not in named:
                by_trial[trial_of(key)].append(store.objects[key])
    for key, model in store.objects.items():
        if key.startswith(MODELS) and key.split("/")[1] not in named:
            by_trial[key.split("/")[1]].append(model)
    for trial_id in store.reader.listing.trials.keys() - named:
        if (item := store.objects.get(trial_key(trial_id))) is not None:
            by_trial[trial_id].insert(0, item)
    objects = [
        item
        for trial_id in sorted(by_trial)
        if all(item.modified < store.before for item in by_trial[trial_id])
        for item in by_trial[trial_id]
    ]
    yield Prunable("results", "they are of no named sweep", objects)
