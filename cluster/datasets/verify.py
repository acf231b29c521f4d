"""Whether a staged dataset is what its manifest says: every shard read, every row counted."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cluster.datasets.keys import shard_key
from cluster.datasets.manifest import Manifest, ShardEntry
from cluster.datasets.manifest_build import build_manifest
from cluster.datasets.records import RowSummary, summarize_row
from cluster.datasets.shard_reader import read_shard
from cluster.datasets.shards import StagedShard
from cluster.errors import ClusterError, Corrupt, NotFound
from cluster.stores.base import Store
from spurious.data.attributes import UNKNOWN
from spurious.data.dataset import Dataset
from spurious.data.drawn import BOXES

_READERS = 4
"""Shards read at once, each of at most some 128 MB in the temporary folder."""

Progress = Callable[[int, int], None]
"""Called with images checked so far and their total."""


@dataclass(frozen=True)
class DatasetDamage:
    """What is wrong with a staged dataset; false where nothing is.

    Attributes:
        shards: Keys of damaged or missing shards, each with what is wrong.
        manifest: How the manifest contradicts its shards, which are whole; None where it does not.
    """

    shards: Mapping[str, str] = field(default_factory=dict)
    manifest: str | None = None

    def __bool__(self) -> bool:
        return bool(self.shards) or self.manifest is not None

    def __str__(self) -> str:
        return "; ".join([*self.shards.values(), *([self.manifest] if self.manifest else [])])


def verify_dataset(
    store: Store, manifest: Manifest, progress: Progress = lambda done, total: None
) -> DatasetDamage:
    """Read every shard of a staged dataset and compare it with its name and the manifest.

    Raises:
        Denied, Unavailable: from the store.
    """
    problems: dict[str, str] = {}
    staged: list[StagedShard] = []
    done = 0
    with tempfile.TemporaryDirectory(prefix="verify-") as folder:

        def read(entry: ShardEntry) -> StagedShard | ClusterError:
            return _read(store, manifest, entry, Path(folder))

        with ThreadPoolExecutor(_READERS) as pool:
            for entry, shard in zip(manifest.shards, pool.map(read, manifest.shards), strict=True):
                if isinstance(shard, ClusterError):
                    problems[shard_key(manifest.name, entry.sha256)] = str(shard)
                else:
                    staged.append(shard)
                done += entry.rows
                progress(done, manifest.rows)
    if problems:
        return DatasetDamage(problems)
    return DatasetDamage(manifest=_contradiction(manifest, staged))


def _read(
    store: Store, manifest: Manifest, entry: ShardEntry, folder: Path
) -> StagedShard | ClusterError:
    """Return a shard's rows, or what is wrong with it."""
    key = shard_key(manifest.name, entry.sha256)
    path = folder / entry.sha256
    try:
        store.download(key, path)
        rows = [row for batch in read_shard(path, manifest, entry) for row in _summarize(batch)]
    except (Corrupt, NotFound) as error:
        return error
    finally:
        path.unlink(missing_ok=True)
    return StagedShard(
        entry.sha256,
        entry.size_bytes,
        manifest.image_shape,
        manifest.dtype,
        manifest.attribute_names,
        tuple(rows),
    )


def _summarize(rows: Dataset) -> Iterator[RowSummary]:
    drawn = rows.drawn_on(np.arange(len(rows.labels)))
    for i in range(len(rows.labels)):
        yield summarize_row(
            str(rows.sample_ids[i]),
            str(rows.patient_ids[i]),
            str(rows.splits[i]),
            int(rows.labels[i]),
            int(rows.abnormalities[i]),
            tuple(None if value == UNKNOWN else bool(value) for value in rows.attributes[i]),
            rows.images[i].tobytes(),
            rows.masks.bits[i].tobytes(),
            int(drawn[i]),
            rows.boxes.bits[i].tobytes() if rows.boxes is not None and drawn[i] & BOXES else b"",
            None if rows.class_numbers is None else int(rows.class_numbers[i]),
        )


def _contradiction(manifest: Manifest, staged: list[StagedShard]) -> str | None:
    """Build the manifest again from its shards' rows; return where the two differ."""
    declared = {a.name: a.direction for a in manifest.attributes if a.source == "declared"}
    try:
        rebuilt = build_manifest(
            manifest.name,
            staged,
            declared_directions=declared,
            provenance=manifest.provenance,
            generator=manifest.generator,
            digest=manifest.digest,
            partial=manifest.is_partial,
            classes=manifest.classes,
        )
    except ClusterError as error:
        return f"{manifest.key} contradicts its shards: {error}"
    differing = [
        each.name
        for each in dataclasses.fields(Manifest)
        if getattr(rebuilt, each.name) != getattr(manifest, each.name)
    ]
    if differing:
        return f"{manifest.key} contradicts its shards in {', '.join(differing)}"
    return None
