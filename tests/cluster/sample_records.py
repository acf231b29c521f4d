"""Records with random pixels for the tests of shards and of the node cache."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cluster.datasets.commit import commit_manifest
from cluster.datasets.keys import shard_key
from cluster.datasets.manifest import Manifest
from cluster.datasets.manifest_build import build_manifest
from cluster.datasets.shard_reader import read_shard
from cluster.datasets.shards import StagedShard, write_shards
from cluster.stores.base import Store
from spurious.data.dataset import Dataset
from spurious.data.records import Record

SPLITS = ("train", "train", "val", "test")


def make_records(
    n: int = 12, shape: tuple[int, int, int] = (5, 7, 3), dtype: str = "uint8", seed: int = 0
) -> list[Record]:
    """`n` records in id order, each with its own patient; attributes `ink` and `tube`."""
    rng = np.random.default_rng(seed)
    return [
        Record(
            sample_id=f"img-{i:04d}",
            patient_id=f"patient-{i}",
            split=SPLITS[i % 4],
            label=i // 4 % 2,
            image=(rng.random(shape) * 50_000).astype(dtype),
            mask=rng.random(shape[:2]) < 0.3,
            abnormalities=i % 3,
            attributes={"tube": (True, False, None)[i % 3], "ink": bool(i % 2)},
        )
        for i in range(n)
    ]


def write(store: Store, records: Sequence[Record], **options: Any) -> list[StagedShard]:
    """What one staging task of dataset `phantom` does."""
    return write_shards(store, "phantom", records, ["tube", "ink"], **options)


def read_back(store: Store, manifest: Manifest, folder: Path) -> list[Dataset]:
    """Download every shard into a folder and decode all its row groups."""
    rows: list[Dataset] = []
    for entry in manifest.shards:
        path = folder / entry.sha256
        store.download(shard_key(manifest.name, entry.sha256), path)
        rows += read_shard(path, manifest, entry)
    return rows


def stage(store: Store, records: Sequence[Record], name: str = "phantom") -> Manifest:
    """Write shards of three rows, build the manifest and commit it."""
    shard_bytes = 3 * records[0].image.nbytes
    shards = write_shards(store, name, records, ["tube", "ink"], shard_bytes=shard_bytes)
    manifest = build_manifest(
        name, shards, declared_directions={"ink": 1, "tube": 1}, provenance={"release": "test"}
    )
    commit_manifest(store, manifest)
    return manifest
