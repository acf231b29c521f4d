"""The node cache: once per node, right data or none, whatever is killed, damaged or full."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import textwrap
import time
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from cached_datasets import CountingStore, cached_folder, check_arrays, entries
from sample_records import make_records, stage

from cluster.datasets.keys import shard_key
from cluster.datasets.manifest_build import build_manifest
from cluster.datasets.shards import write_shards
from cluster.errors import Corrupt, Denied, NotFound, Unavailable
from cluster.node_cache.eviction import CACHE_VERSION
from cluster.node_cache.open import open_dataset
from cluster.node_cache.shards_ahead import AT_ONCE

Usage = namedtuple("Usage", "total used free")

OPENER = """
    import hashlib, json, os, sys, time
    from pathlib import Path
    from cluster.stores.folder import FolderStore
    from cluster.datasets.manifest import find_manifest
    from cluster.node_cache.open import open_dataset

    root, stop_at = Path(sys.argv[1]), int(sys.argv[2])
    downloads = 0

    class Store(FolderStore):
        def read_into(self, key, memory):
            global downloads
            with open(root / "downloads", "a") as log:
                log.write(key + "\\n")
            downloads += 1
            is_last = downloads == stop_at
            super().read_into(key, memory)
            if is_last:
                (root / "stopped").touch()
                time.sleep(120)
            time.sleep(0.1)

    store = Store(root / "store")
    cached = open_dataset(store, find_manifest(store, "phantom"), root / "cache")
    pixels = hashlib.sha256(cached.dataset.images).hexdigest()
    print(json.dumps({"hit": cached.hit, "pixels": pixels}))
"""


def start_opener(root: Path, stop_at: int = 0) -> subprocess.Popen[str]:
    """Open `phantom` in another process; `stop_at` hangs it after that download."""
    command = [sys.executable, "-c", textwrap.dedent(OPENER), str(root), str(stop_at)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def wait_for(path: Path) -> None:
    """Wait for a file that another process makes."""
    for _ in range(1200):
        if path.exists():
            return
        time.sleep(0.05)
    pytest.fail(f"{path} did not appear within 60 s")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_fetched_dataset_equals_its_records(store, tmp_path, dtype):
    """Arrays come back equal, in id order, with the documented types, from both stores."""
    records = make_records(12, (5, 7, 3), dtype)
    shuffled = [records[i] for i in np.random.default_rng(3).permutation(12)]
    manifest = stage(store, shuffled)
    progress: list[tuple[int, int]] = []
    cached = open_dataset(
        store, manifest, tmp_path / "cache", progress=lambda *now: progress.append(now)
    )
    check_arrays(cached, records)
    assert len(manifest.shards) > 2
    total = sum(entry.size_bytes for entry in manifest.shards)
    assert (cached.hit, cached.bytes_fetched) == (False, total)
    assert progress[-1] == (total, total)
    assert len(progress) == len(manifest.shards)
    dataset = cached.dataset
    assert dataset.images.dtype == np.dtype(dtype)
    for name in ("labels", "abnormalities"):
        assert getattr(dataset, name).dtype == np.int64
    assert dataset.attributes.dtype == np.int8
    assert all(getattr(dataset, name).dtype.kind == "U" for name in ("splits", "sample_ids"))
    described = (dataset.attribute_names, dataset.directions, dataset.digest)
    assert described == (manifest.attribute_names, manifest.directions, manifest.digest)


def test_arrays_are_read_only_maps(folder_store, tmp_path):
    """A trial cannot change what the node's other trials see."""
    dataset = open_dataset(folder_store, stage(folder_store, make_records()), tmp_path).dataset
    found = [dataset.masks.bits, *vars(dataset).values()]
    arrays = [array for array in found if isinstance(array, np.ndarray)]
    assert len(arrays) == 8
    for array in arrays:
        assert isinstance(array, np.memmap)
        assert not array.flags.writeable


def test_cached_masks_are_one_bit_a_pixel(folder_store, tmp_path):
    """Rows of 5 x 7 pixels take 5 bytes, the bits that the shards hold."""
    records = make_records()
    manifest = stage(folder_store, records)
    masks = open_dataset(folder_store, manifest, tmp_path).dataset.masks
    assert masks.bits.tolist() == [np.packbits(r.mask).tolist() for r in records]
    path = cached_folder(tmp_path, manifest) / "masks.npy"
    assert path.stat().st_size == 128 + len(records) * 5


@pytest.mark.parametrize("version", [1, CACHE_VERSION])
def test_a_cache_with_a_byte_per_pixel_is_not_misread(folder_store, tmp_path, version):
    """It has another name; under the present one its masks are refused and fetched again."""
    records, cache = make_records(), tmp_path / "cache"
    manifest = stage(folder_store, records)
    open_dataset(folder_store, manifest, cache)
    folder = cached_folder(cache, manifest)
    before = cache / folder.name.replace(f"v{CACHE_VERSION}-", f"v{version}-")
    folder.rename(before)
    np.save(before / "masks.npy", np.array([r.mask for r in records]))
    index = json.loads((before / "index.json").read_text())
    data = (before / "masks.npy").read_bytes()
    index["files"]["masks.npy"] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (before / "index.json").write_text(json.dumps(index))
    cached = open_dataset(folder_store, manifest, cache)
    assert cached.hit is False
    check_arrays(cached, records)
    assert entries(cache) == sorted({before.name, folder.name})


def test_a_dataset_without_attributes(folder_store, tmp_path):
    """No spurious attribute is (N, 0), not an error."""
    records = [dataclasses.replace(r, attributes={}) for r in make_records()]
    manifest = build_manifest("plain", write_shards(folder_store, "plain", records, []))
    cached = open_dataset(folder_store, manifest, tmp_path / "cache")
    assert cached.dataset.attributes.shape == (12, 0)
    check_arrays(cached, records)


def test_the_second_open_is_a_hit(folder_store, tmp_path):
    """Nothing is downloaded twice, also under another name with equal content."""
    store = CountingStore(folder_store)
    manifest = stage(folder_store, make_records())
    open_dataset(store, manifest, tmp_path / "cache")
    downloads = list(store.downloads)
    again = open_dataset(store, manifest, tmp_path / "cache")
    renamed = open_dataset(store, dataclasses.replace(manifest, name="other"), tmp_path / "cache")
    assert [(c.hit, c.bytes_fetched) for c in (again, renamed)] == [(True, 0), (True, 0)]
    assert store.downloads == downloads
    check_arrays(again, make_records())


def test_threads_fetch_once(folder_store, tmp_path):
    """Threads that open at once share one fetch; each tells what it took or waited."""
    store = CountingStore(folder_store)
    manifest = stage(folder_store, make_records())
    with ThreadPoolExecutor(6) as pool:
        jobs = [pool.submit(open_dataset, store, manifest, tmp_path / "cache") for _ in range(6)]
        cached = [job.result(60) for job in jobs]
    assert sorted(c.hit for c in cached) == [False] + [True] * 5
    least = 0.05 * len(manifest.shards) / AT_ONCE  # what the downloads took
    [fetcher] = [c for c in cached if not c.hit]
    assert fetcher.seconds_waited < least <= fetcher.seconds_fetching
    assert all(c.seconds_waited >= least / 2 and c.seconds_fetching == 0 for c in cached if c.hit)
    assert len(store.downloads) == len(manifest.shards)
    check_arrays(cached[-1], make_records())


def test_processes_fetch_once(folder_store, tmp_path):
    """Processes that open at once share one fetch and see the same pixels."""
    manifest = stage(folder_store, make_records())
    openers = [start_opener(tmp_path) for _ in range(5)]
    found = [json.loads(opener.communicate(timeout=60)[0]) for opener in openers]
    assert sorted(f["hit"] for f in found) == [False] + [True] * 4
    assert len({f["pixels"] for f in found}) == 1
    downloads = (tmp_path / "downloads").read_text().split()
    keys = [shard_key("phantom", entry.sha256) for entry in manifest.shards]
    assert sorted(downloads) == sorted(keys)


def test_a_killed_fetch_leaves_nothing_that_is_believed(folder_store, tmp_path, caplog):
    """After SIGKILL mid-fetch a waiting opener takes over, fetches all anew and cleans up."""
    caplog.set_level("INFO")
    records = make_records()
    manifest = stage(folder_store, records)
    opener = start_opener(tmp_path, stop_at=2)
    cache = tmp_path / "cache"
    try:
        wait_for(tmp_path / "stopped")
        assert entries(cache) == [cached_folder(cache, manifest).name + ".tmp"]
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(open_dataset, folder_store, manifest, cache)
            time.sleep(1.5)
            assert not waiting.done()
            opener.kill()
            cached = waiting.result(30)
    finally:
        opener.kill()
        opener.communicate(timeout=30)
    assert "dataset phantom" in caplog.text
    assert "waiting for another process" in caplog.text
    assert cached.hit is False
    check_arrays(cached, records)
    assert entries(cache) == [cached_folder(cache, manifest).name]


def test_waiting_for_a_fetch_is_bounded(folder_store, tmp_path):
    """A fetch that hangs in another process becomes an error that names the lock."""
    manifest = stage(folder_store, make_records())
    opener = start_opener(tmp_path, stop_at=1)
    try:
        wait_for(tmp_path / "stopped")
        with pytest.raises(Unavailable, match=r"timed out after 1 s waiting for lock .*\.lock"):
            open_dataset(folder_store, manifest, tmp_path / "cache", wait_seconds=1)
    finally:
        opener.kill()
        opener.communicate(timeout=30)


def test_the_next_fetch_removes_what_a_killed_one_left(folder_store, tmp_path):
    """Left-overs of any dataset go, but never those of a fetch that still runs."""
    stage(folder_store, make_records())
    squares = stage(folder_store, make_records(seed=1), name="squares")
    rings = stage(folder_store, make_records(seed=2), name="rings")
    cache = tmp_path / "cache"
    opener = start_opener(tmp_path, stop_at=1)
    try:
        wait_for(tmp_path / "stopped")
        open_dataset(folder_store, squares, cache)
        assert len([name for name in entries(cache) if name.endswith(".tmp")]) == 1
    finally:
        opener.kill()
        opener.communicate(timeout=30)
    open_dataset(folder_store, rings, cache)
    assert entries(cache) == sorted(cached_folder(cache, m).name for m in (squares, rings))


@pytest.mark.parametrize("damage", ["truncated", "longer", "missing", "index", "garbage"])
def test_a_damaged_cache_is_rebuilt_once(folder_store, tmp_path, caplog, damage):
    """A cut, missing or unreadable cached file is found on opening, reported and fetched again."""
    manifest = stage(folder_store, make_records())
    open_dataset(folder_store, manifest, tmp_path / "cache")
    folder = cached_folder(tmp_path / "cache", manifest)
    if damage == "truncated":
        os.truncate(folder / "images.npy", 300)
    elif damage == "longer":
        os.truncate(folder / "images.npy", 10_000)
    elif damage == "missing":
        (folder / "splits.npy").unlink()
    elif damage == "index":
        (folder / "index.json").unlink()
    else:
        size = (folder / "masks.npy").stat().st_size
        (folder / "masks.npy").write_bytes(b"\0" * size)
    cached = open_dataset(folder_store, manifest, tmp_path / "cache")
    assert (cached.hit, "fetching dataset phantom again" in caplog.text) == (False, True)
    check_arrays(cached, make_records())
    assert open_dataset(folder_store, manifest, tmp_path / "cache").hit is True


@pytest.mark.parametrize("damage", ["flipped", "truncated", "missing"])
def test_a_bad_shard_caches_nothing(store, tmp_path, damage):
    """A damaged or missing shard is refused by name, and the cache stays empty."""
    manifest = stage(store, make_records())
    key = shard_key("phantom", manifest.shards[1].sha256)
    data = bytearray(store.get(key))
    data[len(data) // 2] ^= 1
    if damage == "missing":
        store.delete(key)
    else:
        store.put(key, bytes(data[:-5] if damage == "truncated" else data))
    with pytest.raises(NotFound if damage == "missing" else Corrupt, match=key):
        open_dataset(store, manifest, tmp_path / "cache")
    assert entries(tmp_path / "cache") == []


def test_a_repeated_id_is_refused(folder_store, tmp_path):
    """A manifest that names one shard's rows twice is Corrupt, not a dataset with copies."""
    manifest = stage(folder_store, make_records())
    twice = dataclasses.replace(manifest, shards=(manifest.shards[0], *manifest.shards))
    with pytest.raises(Corrupt, match="repeat id 'img-0000'"):
        open_dataset(folder_store, twice, tmp_path / "cache")
    assert entries(tmp_path / "cache") == []


def test_a_cache_folder_that_cannot_be_made(folder_store, tmp_path):
    """A file in the folder's place is Denied, and named."""
    (tmp_path / "file").write_text("")
    with pytest.raises(Denied, match=str(tmp_path / "file")):
        open_dataset(folder_store, stage(folder_store, make_records()), tmp_path / "file" / "cache")
