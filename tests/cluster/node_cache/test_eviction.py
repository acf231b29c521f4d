"""Space in the node cache: what is evicted, what is spared, and a disk that is full."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
from collections import namedtuple

import pytest
from cached_datasets import CountingStore, cached_folder, check_arrays, entries
from sample_records import make_records, stage

from cluster.errors import ClusterError
from cluster.node_cache import eviction as cache_room
from cluster.node_cache.eviction import DiskFull
from cluster.node_cache.open import open_dataset

Usage = namedtuple("Usage", "total used free")


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


@pytest.mark.parametrize("images", [1, 6], ids=["while writing columns", "while reserving"])
def test_a_disk_that_fills_up_meanwhile(folder_store, small_disk, monkeypatch, images):
    """ENOSPC after the check is the same error, and all is cleaned, wherever it strikes."""
    store = CountingStore(folder_store)
    manifest = stage(folder_store, make_records(images, (300, 1100, 3)))
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
        manifest = stage(folder_store, make_records(3, (200, 300, 3), seed=seed))
        check_arrays(
            open_dataset(folder_store, manifest, small_disk),
            make_records(3, (200, 300, 3), seed=seed),
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
    limit = used + 10_000  # d is estimated at less than 14,000 bytes
    monkeypatch.setenv("SWEEPS_CACHE_MAX", str(limit))
    open_dataset(folder_store, d, cache)
    assert entries(cache) == sorted(cached_folder(cache, m).name for m in (a, b, d))
    assert view.sum() == make_records(seed=0)[2].image.sum()


def flock_of_nfs(file, kind):
    """As Linux does on NFSv4: exclusive asks for a file open for writing, shared for reading."""
    number = file if isinstance(file, int) else file.fileno()
    access = fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE
    if access == {fcntl.LOCK_EX: os.O_RDONLY, fcntl.LOCK_SH: os.O_WRONLY}.get(kind & 3):
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    return FLOCK(file, kind)


FLOCK = fcntl.flock


@pytest.mark.parametrize("rule", [FLOCK, flock_of_nfs])
def test_the_limit_counts_datasets_in_use(folder_store, tmp_path, monkeypatch, rule):
    """Where everything is in use the limit is an error; once the arrays are gone there is room."""
    monkeypatch.setattr(fcntl, "flock", rule)
    one, two = (stage(folder_store, make_records(seed=seed), name=f"d{seed}") for seed in (0, 1))
    view = open_dataset(folder_store, one, tmp_path / "cache").dataset.images[:1]
    monkeypatch.setenv("SWEEPS_CACHE_MAX", "17kB")
    with pytest.raises(DiskFull, match=r"limited to 17000 bytes.* raise SWEEPS_CACHE_MAX"):
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
