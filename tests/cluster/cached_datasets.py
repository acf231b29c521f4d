"""Looks into a node cache."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from cluster.node_cache.eviction import dataset_folder


class CountingStore:
    """Passes everything on, and remembers what was downloaded."""

    def __init__(self, store):
        self.store = store
        self.downloads: list[str] = []

    def __getattr__(self, name):
        return getattr(self.store, name)

    def read_into(self, key, memory):
        """Count, and take long enough that others would fetch too if they could."""
        self.downloads.append(key)
        time.sleep(0.05)
        self.store.read_into(key, memory)


def entries(cache: Path) -> list[str]:
    """What the cache holds besides its lock files."""
    return sorted(path.name for path in cache.iterdir() if path.suffix != ".lock")


def cached_folder(cache: Path, manifest) -> Path:
    """Where a dataset is cached."""
    return dataset_folder(cache, manifest.content_digest)


def check_arrays(cached, records) -> None:
    """Every array equals the records in id order."""
    records = sorted(records, key=lambda r: r.sample_id)
    code = {True: 1, False: 0, None: -1}
    dataset = cached.dataset
    np.testing.assert_array_equal(dataset.images, [r.image for r in records])
    np.testing.assert_array_equal(dataset.masks[:], [r.mask for r in records])
    assert dataset.labels.tolist() == [r.label for r in records]
    assert dataset.abnormalities.tolist() == [r.abnormalities for r in records]
    assert dataset.splits.tolist() == [r.split for r in records]
    assert dataset.sample_ids.tolist() == [r.sample_id for r in records]
    assert dataset.patient_ids.tolist() == [r.patient_id for r in records]
    names = sorted(records[0].attributes)
    assert dataset.attributes.tolist() == [[code[r.attributes[n]] for n in names] for r in records]
