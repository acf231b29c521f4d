"""The node cache: once per node, right data or none, whatever is killed, damaged or full."""

from __future__ import annotations

import dataclasses
import errno
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
from sample_records import make_records, stage

from cluster.datasets.keys import shard_key
from cluster.datasets.manifest_build import build_manifest
from cluster.datasets.shards import write_shards
from cluster.errors import ClusterError, Corrupt, Denied, NotFound, Unavailable
from cluster.node_cache import eviction as cache_room
from cluster.node_cache.eviction import CACHE_VERSION, DiskFull, dataset_folder
from cluster.node_cache.open import open_dataset

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
        def download(self, key, path):
            global downloads
            with open(root / "downloads", "a") as log:
                log.write(key + "\\n")
            downloads += 1
            super().download(key, path)
            if downloads == stop_at:
                (root / "stopped").touch()
                time.sleep(120)
            time.sleep(0.1)

    store = Store(root / "store")
    cached = open_dataset(store, find_manifest(store, "phantom"), root / "cache")
    pixels = hashlib.sha256(cached.dataset.images).hexdigest()
    print(json.dumps({"hit": cached.hit, "pixels": pixels}))
"""


class CountingStore:
    """Passes everything on, and remembers what was downloaded."""

    def __init__(self, store):
        self.store = store
        self.downloads: list[str] = []

    def __getattr__(self, name):
        return getattr(self.store, name)

    def download(self, key, path):
        """Count, and take long enough that others would fetch too if they could."""
        self.downloads.append(key)
        time.sleep(0.05)
        self.store.download(key, path)


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
    index["files"]["masks.npy"] = (before / "masks.npy").stat().st_size
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
    least = 0.05 * len(manifest.shards)  # what the downloads took
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
    assert downloads == [shard_key("phantom", entry.sha256) for entry in manifest.shards]


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
            time.sleep(0.5)
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


def test_too_small_a_disk_is_refused_before_fetching(folder_store, tmp_path, monkeypatch):
    """Folder, bytes needed and bytes free are named, and nothing is downloaded or left."""
    store = CountingStore(folder_store)
    manifest = stage(folder_store, make_records())
    monkeypatch.setattr(cache_room.shutil, "disk_usage", lambda path: Usage(10, 3, 7))
    cache = tmp_path / "cache"
    with pytest.raises(DiskFull, match=rf"{cache} is full: \d+ bytes needed, 7 free"):
        open_dataset(store, manifest, cache)
    assert store.downloads == []
    assert entries(cache) == []


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 1 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("images", [1, 6], ids=["while downloading", "while reserving"])
def test_a_disk_that_fills_up_meanwhile(folder_store, small_disk, monkeypatch, images):
    """ENOSPC after the check is the same error, and all is cleaned, wherever it strikes."""
    store = CountingStore(folder_store)
    manifest = stage(folder_store, make_records(images, (300, 600, 3)))
    monkeypatch.setattr(cache_room.shutil, "disk_usage", lambda path: Usage(1 << 40, 0, 1 << 40))
    with pytest.raises(DiskFull, match=f"{small_disk} ran full") as caught:
        open_dataset(store, manifest, small_disk)
    assert len(store.downloads) == (1 if images == 1 else 0)
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ENOSPC
    assert entries(small_disk) == []


def test_a_full_disk_evicts_before_it_fails(folder_store, small_disk):
    """A small disk holds the datasets one after the other."""
    for seed in range(3):
        manifest = stage(folder_store, make_records(2, (200, 300, 3), seed=seed))
        check_arrays(
            open_dataset(folder_store, manifest, small_disk),
            make_records(2, (200, 300, 3), seed=seed),
        )
    assert entries(small_disk) == [cached_folder(small_disk, manifest).name]


def test_eviction_spares_what_is_in_use_and_what_was_used_last(folder_store, tmp_path, monkeypatch):
    """The least recently opened free dataset goes; one with a living view stays."""
    cache = tmp_path / "cache"
    a, b, c, d = (
        stage(folder_store, make_records(seed=seed), name=f"d{seed}") for seed in range(4)
    )
    view = open_dataset(folder_store, a, cache).dataset.images[2:3]
    for age, manifest in enumerate((b, c)):
        open_dataset(folder_store, manifest, cache)
        stamp = 1_000_000 + age
        os.utime(cached_folder(cache, manifest) / "index.json", (stamp, stamp))
    open_dataset(folder_store, b, cache)
    folders = [path for path in cache.iterdir() if path.is_dir()]
    used = sum(file.stat().st_size for folder in folders for file in folder.iterdir())
    limit = used + 14_000  # d is estimated at less than 14,000 bytes above its files
    monkeypatch.setenv("SWEEPS_CACHE_MAX", str(limit))
    open_dataset(folder_store, d, cache)
    assert entries(cache) == sorted(cached_folder(cache, m).name for m in (a, b, d))
    assert view.sum() == make_records(seed=0)[2].image.sum()


def test_the_limit_counts_datasets_in_use(folder_store, tmp_path, monkeypatch):
    """Where everything is in use the limit is an error; once the arrays are gone there is room."""
    one, two = (stage(folder_store, make_records(seed=seed), name=f"d{seed}") for seed in (0, 1))
    view = open_dataset(folder_store, one, tmp_path / "cache").dataset.images[:1]
    monkeypatch.setenv("SWEEPS_CACHE_MAX", "20kB")
    with pytest.raises(DiskFull, match=r"limited to 20000 bytes.* raise SWEEPS_CACHE_MAX"):
        open_dataset(folder_store, two, tmp_path / "cache")
    del view
    open_dataset(folder_store, two, tmp_path / "cache")
    assert entries(tmp_path / "cache") == [cached_folder(tmp_path / "cache", two).name]


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("", None),
        ("20000", 20_000),
        ("20 B", 20),
        ("50G", 50 * 10**9),
        ("200GiB", 200 * 2**30),
        ("1.5ti", 3 * 2**39),
    ],
)
def test_the_limit_is_a_size(monkeypatch, text, size):
    """Units of 1000 and of 1024 bytes, as Kubernetes tells them apart."""
    monkeypatch.setenv("SWEEPS_CACHE_MAX", text)
    assert cache_room.cache_limit() == size


@pytest.mark.parametrize("text", ["much", "0", "-1G", "1e9", "5 XB", "nan", "10GG"])
def test_a_limit_that_is_not_a_size(monkeypatch, text):
    """One error with the variable, its value, and what is expected."""
    monkeypatch.setenv("SWEEPS_CACHE_MAX", text)
    with pytest.raises(ClusterError, match=rf"^SWEEPS_CACHE_MAX='{text}': expected a size.*200GiB"):
        cache_room.cache_limit()


def test_other_things_in_the_cache_folder_are_left_alone(folder_store, tmp_path, monkeypatch):
    """Eviction touches only folders that the cache made, however short the disk."""
    cache = tmp_path / "cache"
    (cache / "v1-notes").mkdir(parents=True)
    (cache / "precious.tmp").mkdir()
    monkeypatch.setattr(cache_room.shutil, "disk_usage", lambda path: Usage(10, 3, 7))
    with pytest.raises(DiskFull):
        open_dataset(folder_store, stage(folder_store, make_records()), cache)
    assert entries(cache) == ["precious.tmp", "v1-notes"]


def test_a_cache_folder_that_cannot_be_made(folder_store, tmp_path):
    """A file in the folder's place is Denied, and named."""
    (tmp_path / "file").write_text("")
    with pytest.raises(Denied, match=str(tmp_path / "file")):
        open_dataset(folder_store, stage(folder_store, make_records()), tmp_path / "file" / "cache")
