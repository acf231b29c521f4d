"""Random single bits of a cached dataset and of its shards: other data is never opened."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
from cached_datasets import cached_folder, check_arrays
from sample_records import make_records, stage, write

from cluster.datasets.image_counts import read_image_counts, write_image_counts
from cluster.datasets.keys import image_counts_key, shard_key
from cluster.errors import Corrupt
from cluster.node_cache.open import open_dataset


def flip(data: bytes, rng: np.random.Generator) -> bytes:
    """Turn over one random bit."""
    damaged = bytearray(data)
    damaged[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
    return bytes(damaged)


def test_random_bits_of_cached_files_are_noticed(folder_store, tmp_path):
    """A bit of any file, its size and time kept: discarded and fetched again, or harmless."""
    records, rng = make_records(), np.random.default_rng(0)
    manifest, cache = stage(folder_store, records), tmp_path / "cache"
    open_dataset(folder_store, manifest, cache)
    folder = cached_folder(cache, manifest)
    names = sorted(path.name for path in folder.iterdir() if path.suffix in (".npy", ".json"))
    assert "index.json" in names
    for turn in range(60):
        path = folder / names[turn % len(names)]
        stat, data = path.stat(), path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(flip(data, rng))
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        cached = open_dataset(folder_store, manifest, cache)
        check_arrays(cached, records)
        assert path.suffix == ".json" or path.name in cached.discarded, path.name


def test_random_bits_of_the_counts_are_refused_or_harmless(folder_store):
    """Of the counts that a plan prices by: never other counts."""
    rng, shards = np.random.default_rng(0), write(folder_store, make_records())
    manifest = stage(folder_store, make_records())
    key = image_counts_key("phantom", manifest.digest)
    write_image_counts(folder_store, manifest, [row for s in shards for row in s.records])
    whole, counts = folder_store.get(key), read_image_counts(folder_store, manifest)
    assert counts is not None
    refused = 0
    for _ in range(300):
        folder_store.put(key, flip(whole, rng))
        held = read_image_counts(folder_store, manifest)
        assert held in (None, counts)
        refused += held is None
    assert refused > 200


def test_random_bits_of_a_shard_are_refused(folder_store, tmp_path):
    """Every bit of a shard counts: opening into an empty cache is Corrupt and names the shard."""
    rng = np.random.default_rng(0)
    manifest, cache = stage(folder_store, make_records()), tmp_path / "cache"
    for turn in range(60):
        key = shard_key("phantom", manifest.shards[turn % len(manifest.shards)].sha256)
        whole = folder_store.get(key)
        folder_store.put(key, flip(whole, rng))
        with pytest.raises(Corrupt, match=key):
            open_dataset(folder_store, manifest, cache)
        folder_store.put(key, whole)
        shutil.rmtree(cache)
