"""What takes how much of a store: sweeps, datasets, and everything that belongs to neither."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cluster.datasets.keys import DATASETS
from cluster.stores.base import Store, StoredObject
from sweeps.catalogue.archived import ArchivedSweep, read_sweeps
from sweeps.plan.archive import SWEEPS
from sweeps.results.keys import CHECKPOINTS, COMPACT, MODELS

NO_SWEEP = "results of no named sweep"
PACKS = "compacted results"
_KINDS = {"stages/": "shared models", "weights/": "weights", "specs/": "submitted specifications"}


@dataclass
class SweepUsage:
    """What a sweep takes, in bytes.

    Attributes:
        trials: Trials that have an object.
        results: Of their results and records of failures.
        shared: Of that, what other named sweeps have, too.
        checkpoints: Of their training states.
        models: Of models that they kept.
        files: Of its YAML, plan and report.
    """

    trials: int = 0
    results: int = 0
    shared: int = 0
    checkpoints: int = 0
    models: int = 0
    files: int = 0


@dataclass
class Usage:
    """What takes how much of a store, in bytes; what sweeps share is in each of them.

    Attributes:
        sweeps: By name.
        datasets: By name, all versions together.
        rest: By kind what is in neither.
        total: Of all objects.
        objects: How many there are.
    """

    sweeps: dict[str, SweepUsage] = field(default_factory=dict)
    datasets: Counter[str] = field(default_factory=Counter)
    rest: Counter[str] = field(default_factory=Counter)
    total: int = 0
    objects: int = 0


def measure_usage(store: Store) -> Usage:
    """List a store once and sum its objects.

    Raises:
        ResultError: the plan of a sweep is damaged.
    """
    return sum_usage(read_sweeps(store), store.scan(""))


def sum_usage(sweeps: Mapping[str, ArchivedSweep], objects: Iterable[StoredObject]) -> Usage:
    """Sum objects by the sweeps, datasets and kinds that they belong to."""
    usage = Usage(sweeps={name: SweepUsage() for name in sorted(sweeps)})
    named: defaultdict[str, list[str]] = defaultdict(list)
    for name, sweep in sweeps.items():
        for trial_id in sweep.trials:
            named[trial_id].append(name)
    seen: defaultdict[str, set[str]] = defaultdict(set)
    for item in objects:
        usage.total += item.size_bytes
        usage.objects += 1
        top, _, rest = item.key.partition("/")
        if top == "results" and not item.key.startswith(COMPACT):
            _add_result(usage, item, named, seen)
        elif item.key.startswith(CHECKPOINTS):
            _add_checkpoint(usage, item, named)
        elif item.key.startswith(MODELS):
            _add_model(usage, item, named)
        elif item.key.startswith(DATASETS):
            usage.datasets[rest.split("/")[0]] += item.size_bytes
        elif item.key.startswith(SWEEPS) and rest.split("/")[0] in usage.sweeps:
            usage.sweeps[rest.split("/")[0]].files += item.size_bytes
        else:
            kind = PACKS if item.key.startswith(COMPACT) else _KINDS.get(f"{top}/", "other")
            usage.rest[kind] += item.size_bytes
    for name, ids in seen.items():
        usage.sweeps[name].trials = len(ids)
    return usage


def _add_result(
    usage: Usage,
    item: StoredObject,
    named: Mapping[str, list[str]],
    seen: defaultdict[str, set[str]],
) -> None:
    trial_id = item.key.split("/")[2].partition(".")[0]
    names = named.get(trial_id, ())
    for name in names:
        seen[name].add(trial_id)
        usage.sweeps[name].results += item.size_bytes
        usage.sweeps[name].shared += item.size_bytes if len(names) > 1 else 0
    if not names:
        usage.rest[NO_SWEEP] += item.size_bytes


def _add_checkpoint(usage: Usage, item: StoredObject, named: Mapping[str, list[str]]) -> None:
    names = named.get(item.key.split("/")[1], ())
    for name in names:
        usage.sweeps[name].checkpoints += item.size_bytes
    if not names:
        usage.rest["checkpoints of no named sweep"] += item.size_bytes


def _add_model(usage: Usage, item: StoredObject, named: Mapping[str, list[str]]) -> None:
    names = named.get(item.key.split("/")[1], ())
    for name in names:
        usage.sweeps[name].models += item.size_bytes
    if not names:
        usage.rest["models of no named sweep"] += item.size_bytes
