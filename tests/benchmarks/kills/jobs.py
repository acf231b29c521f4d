"""What is disturbed: a sweep, a search, two stagings; each with what must come out."""

from __future__ import annotations

import gzip
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tiny_sweeps import Place, assert_same, tables

from cluster.stores.base import Store
from sweeps.plan.facts import plan_on
from sweeps.plan.searched import Tried
from sweeps.results.tables import committed_ids
from sweeps.search.resolve import resolve_searches
from sweeps.spec.model import parse_spec

COMMON = """
name: kills
dataset: {name: gaussian-squares, image_size: 16, abnormality_size: 4, spurious_size: 4,
          prevalence: 0.5, n_train: 40, n_val: 30, n_test: 30}
model: {classifier: {name: small-cnn, channels: 4, levels: 1},
        segmenter: {name: small-unet, channels: 4, levels: 1}}
checkpoint: {every_epochs: 1}
"""

SWEEP = (
    COMMON
    + """
axes: {specificity: [label, mask], budget: [20], method: [erm, jtt], seed: [0, 1]}
train: {epochs: 20, batch_size: 10}
"""
)
"""Six trials, two of which begin with a shared model."""

SEARCH = (
    COMMON
    + """
axes: {specificity: [label, mask], budget: [20], method: [erm], seed: [0, 1]}
train: {epochs: 18, batch_size: 10}
search: {sampler: tpe, trials: 9, batch: 3, stop: asha,
         space: {learning_rate: {log: [1.0e-4, 1.0e-1]}, weight_decay: {log: [1.0e-5, 1.0e-2]}}}
"""
)
"""Two searches of nine configurations with early stopping, then the chosen ones on two seeds."""

GENERATED = (
    *("stage", "gaussian-squares", "--set", "image_size=128", "--set", "prevalence=0.5"),
    *("--set", "n_train=2000", "--set", "n_val=250", "--set", "n_test=250"),
)
"""Three tasks and shards of 64 MB."""

PHANTOM = ("phantom", "siim-acr", "films", "--set", "size=1024", "--set", "prevalence=0.5")
PHANTOM_SIZES = ("--set", "n_train=40", "--set", "n_val=12", "--set", "n_test=12")
STAGED = ("stage", "siim-acr", "films", "--name", "films", "--set", "image_size=1024")
"""Two tasks and shards, of DICOM files."""


class Job(ABC):
    """A command, and what a store holds after it.

    Attributes:
        name: Shown in the log.
        arguments: Of `sweeps`, without the store.
        worker: What the title of a worker at work begins with.
    """

    name: str
    arguments: tuple[str, ...]
    worker: str

    @abstractmethod
    def prepare(self, place: Place) -> None:
        """Put files that the command reads into the place's folder."""

    @abstractmethod
    def read(self, store: Store) -> Mapping[str, Any]:
        """Read all that must be equal in the end."""

    @abstractmethod
    def differences(self, now: Mapping[str, Any], undisturbed: Mapping[str, Any]) -> list[str]:
        """Say where two readings differ."""


class SweepJob(Job):
    """`sweeps run`."""

    name, worker, spec = "run", "ray::ImplicitFunc", SWEEP
    arguments = ("run", "kills.yaml")

    def prepare(self, place: Place) -> None:
        """Write the specification."""
        (place.folder / "kills.yaml").write_text(self.spec)

    def read(self, store: Store) -> Mapping[str, Any]:
        """Read the tables, which trials are committed, and training states that were left."""
        plan = plan_on(parse_spec(self.spec), store)
        return {
            "tables": tables(store, plan),
            "planned": sorted(trial.id for trial in plan.trials),
            "committed": sorted(committed_ids(store)),
            "checkpoints": list(store.list("checkpoints/")),
        }

    def differences(self, now: Mapping[str, Any], undisturbed: Mapping[str, Any]) -> list[str]:
        """Compare all cells of all tables; every planned trial is committed once, and no other."""
        others = now.keys() - {"tables", "committed"}
        texts = [f"{key} differ" for key in sorted(others) if now[key] != undisturbed[key]]
        if now["committed"] != now["planned"]:
            texts.append(f"committed {now['committed']}, planned {now['planned']}")
        try:
            assert_same(now["tables"], undisturbed["tables"])
        except AssertionError as error:
            texts.append("tables differ: " + " ".join(str(error).split())[:300])
        return texts


class SearchJob(SweepJob):
    """`sweeps run` of a search that stops trials early."""

    name, spec = "search", SEARCH

    def read(self, store: Store) -> Mapping[str, Any]:
        """Read besides what was suggested, how each configuration ended, and what was chosen."""
        spec = parse_spec(self.spec)
        plan = resolve_searches(plan_on(spec, store), spec, store)
        tried = [
            (search.cell.key, search.chosen, each.number, dict(each.values), *_end_of(each))
            for search in plan.searches
            for each in search.tried
        ]
        ids = {trial.id for trial in plan.trials} | set(plan.searched_to_the_end)
        everything = replace(plan, done=frozenset(ids))
        return {
            **super().read(store),
            "tables": tables(store, everything),
            "planned": sorted(ids),
            "searches": tried,
            "stopped": sorted(store.list("results/stopped/")),
        }


def _end_of(tried: Tried) -> tuple[Any, ...]:
    return tried.state, tried.value, tried.epoch


class StageJob(Job):
    """`sweeps stage`, of a generator or of a release's folder."""

    worker = "ray::_stage_"

    def __init__(self, name: str, arguments: tuple[str, ...], folder: Path | None = None) -> None:
        self.name, self.arguments, self.folder = name, arguments, folder

    def prepare(self, place: Place) -> None:
        """Lay the release where the command looks for it."""
        if self.folder is not None:
            (place.folder / "films").symlink_to(self.folder)

    def read(self, store: Store) -> Mapping[str, Any]:
        """Read key to content hash of everything below `datasets/`, less the time of staging."""
        return {key: _hash(key, store.get(key)) for key in sorted(store.list("datasets/"))}

    def differences(self, now: Mapping[str, Any], undisturbed: Mapping[str, Any]) -> list[str]:
        """Compare manifests, counts and shards by content."""
        keys = sorted({*now, *undisturbed})
        return [f"{key} differs" for key in keys if now.get(key) != undisturbed.get(key)]


def _hash(key: str, data: bytes) -> str:
    if key.endswith("manifest.json"):
        manifest = json.loads(data)
        del manifest["provenance"]["staged_at"], manifest["checksum"]  # it is of the time, too
        data = json.dumps(manifest, sort_keys=True).encode()
    elif key.endswith(".gz"):
        data = gzip.decompress(data)
    return hashlib.sha256(data).hexdigest()


def tear_shards(store: Store, shards: Mapping[str, bytes], random: np.random.Generator) -> None:
    """Leave a staging that was cut off: one shard whole, the next one half, no manifest."""
    keys = list(random.permutation(sorted(shards)))
    store.put(keys[0], shards[keys[0]])
    store.put(keys[1], shards[keys[1]][: int(random.integers(1, len(shards[keys[1]])))])
