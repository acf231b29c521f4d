"""Derived arrays of the node cache: made once a node, sound or made again, evicted with it."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from cached_datasets import cached_folder, entries
from sample_records import make_records, stage

from cluster.node_cache.cached_file import CacheChanged
from cluster.node_cache.open import open_dataset

NAME = "doubled-v1"
SHAPE = (12, 3)
RIGHT = np.arange(36, dtype=np.int64).reshape(SHAPE) * 2

CHILD = """
    import hashlib, sys, time
    from pathlib import Path
    import numpy as np
    from cluster.datasets.manifest import find_manifest
    from cluster.node_cache.open import open_dataset
    from cluster.stores.folder import FolderStore

    root, hang = Path(sys.argv[1]), sys.argv[2] == "hang"
    store = FolderStore(root / "store")
    cached = open_dataset(store, find_manifest(store, "phantom"), root / "cache")

    def fill(array):
        with open(root / "fills", "a") as log:
            log.write("one\\n")
        array[:6] = np.arange(18).reshape(6, 3) * 2
        if hang:
            (root / "hanging").touch()
            time.sleep(120)
        time.sleep(0.3)
        array[:] = np.arange(36).reshape(12, 3) * 2

    array = cached.dataset.derived.get("doubled-v1", (12, 3), np.int64, fill)
    print(hashlib.sha256(np.array(array)).hexdigest())
"""


class Filling:
    """Fills the array, and counts how often it had to."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, array) -> None:
        assert not array.any()
        self.times += 1
        array[:] = RIGHT


@pytest.fixture
def manifest(folder_store):
    """A staged dataset."""
    return stage(folder_store, make_records())


@pytest.fixture
def cached(folder_store, manifest, tmp_path):
    """Opens the dataset as a trial does."""
    return lambda: open_dataset(folder_store, manifest, tmp_path / "cache")


def derive(opened, fill):
    """The array, of an opened dataset."""
    return opened.dataset.derived.get(NAME, SHAPE, np.int64, fill)


def start(root, how: str) -> subprocess.Popen[str]:
    """Derive the array in another process."""
    command = [sys.executable, "-c", textwrap.dedent(CHILD), str(root), how]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_it_is_made_once_and_mapped_read_only(cached):
    """By whoever asks first; asked for again, and by another opening, it is a map of the file."""
    fill = Filling()
    first = cached()
    arrays = [derive(first, fill), derive(first, fill), derive(cached(), fill)]
    assert fill.times == 1
    for array in arrays:
        np.testing.assert_array_equal(array, RIGHT)
        assert isinstance(array, np.memmap)
        assert not array.flags.writeable


def test_processes_make_it_once(cached, tmp_path):
    """Those that ask at once wait for one of them and map what it made."""
    cached()
    children = [start(tmp_path, "once") for _ in range(3)]
    found = {child.communicate(timeout=120)[0] for child in children}
    assert len(found) == 1
    assert (tmp_path / "fills").read_text() == "one\n"
    fill = Filling()
    np.testing.assert_array_equal(derive(cached(), fill), RIGHT)
    assert fill.times == 0


def test_a_process_killed_while_it_makes_it(cached, manifest, tmp_path):
    """Half of an array is not believed: the next one makes it, and nothing else stays."""
    cached()
    child = start(tmp_path, "hang")
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "hanging").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        child.kill()
        child.communicate(timeout=30)
    folder = cached_folder(tmp_path / "cache", manifest)
    assert [path.name for path in folder.glob("derived-*")] == [f"derived-{NAME}.tmp"]
    fill, opened = Filling(), cached()
    np.testing.assert_array_equal(derive(opened, fill), RIGHT)
    assert (fill.times, opened.derived.discarded) == (1, ())
    left = sorted(path.name for path in folder.glob("derived-*"))
    assert left == [f"derived-{NAME}.json", f"derived-{NAME}.npy"]


@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "other shape", "record", "no record"])
def test_a_damaged_one_is_made_again_and_noted(cached, manifest, tmp_path, damage, caplog):
    """Whatever is wrong with it or its checksum; without a checksum it was never finished."""
    derive(cached(), Filling())
    folder = cached_folder(tmp_path / "cache", manifest)
    path, record = folder / f"derived-{NAME}.npy", folder / f"derived-{NAME}.json"
    for file in (path, record):
        file.chmod(0o644)
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[-1] ^= 1
        path.write_bytes(data)
    elif damage == "cut":
        path.write_bytes(data[:-8])
    elif damage == "gone":
        path.unlink()
    elif damage == "other shape":
        opened = cached()
        opened.dataset.derived.get("other-v1", (36,), np.int64, lambda array: None)
        path.write_bytes((folder / "derived-other-v1.npy").read_bytes())
        record.write_bytes((folder / "derived-other-v1.json").read_bytes())
    elif damage == "record":
        record.write_bytes(b"[1]")
    else:
        record.unlink()
    fill, opened = Filling(), cached()
    assert opened.hit
    np.testing.assert_array_equal(derive(opened, fill), RIGHT)
    assert fill.times == 1
    noted = damage != "no record"
    assert len(opened.derived.discarded) == noted
    assert (f"cached file {path}" in caplog.text) == noted
    np.testing.assert_array_equal(derive(cached(), fill), RIGHT)
    assert fill.times == 1


def test_one_that_changes_while_it_is_mapped_is_noticed(cached, manifest, tmp_path):
    """As the dataset's own files are, after every epoch."""
    opened = cached()
    derive(opened, Filling())
    opened.check_unchanged()
    path = cached_folder(tmp_path / "cache", manifest) / f"derived-{NAME}.npy"
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(200)
        file.write(b"\x01\x02\x03")
    with pytest.raises(CacheChanged, match=f"{path.name} changed while it was in use"):
        opened.check_unchanged()


def test_nothing_is_kept_that_follows_from_damaged_files(cached, manifest, tmp_path):
    """The dataset's own file changes while the array is made: no later trial sees it."""
    opened = cached()
    folder = cached_folder(tmp_path / "cache", manifest)

    def fill(array) -> None:
        array[:] = RIGHT
        (folder / "images.npy").chmod(0o644)
        with (folder / "images.npy").open("r+b") as file:
            file.seek(200)
            file.write(b"\x01\x02\x03")

    with pytest.raises(CacheChanged, match=r"images\.npy"):
        derive(opened, fill)
    assert list(folder.glob("derived-*")) == []
    assert cached().hit is False


def test_without_room_there_is_none(cached, manifest, tmp_path, monkeypatch):
    """The limit counts what the dataset has already; whoever asked computes what it needs."""
    opened = cached()
    folder = cached_folder(tmp_path / "cache", manifest)
    used = sum(path.stat().st_size for path in folder.iterdir())
    monkeypatch.setenv("SWEEPS_CACHE_MAX", str(used + 100))
    assert derive(opened, Filling()) is None
    assert list(folder.glob("derived-*")) == []
    monkeypatch.setenv("SWEEPS_CACHE_MAX", str(used + 10_000))
    np.testing.assert_array_equal(derive(opened, Filling()), RIGHT)


def test_it_goes_with_its_dataset(cached, folder_store, tmp_path, monkeypatch):
    """Eviction spares a dataset whose derived array alone is in use, and then removes both."""
    array = derive(cached(), Filling())
    other = stage(folder_store, make_records(seed=1), name="other")
    monkeypatch.setenv("SWEEPS_CACHE_MAX", "17kB")
    with pytest.raises(Exception, match="limited to 17000 bytes"):
        open_dataset(folder_store, other, tmp_path / "cache")
    assert array.sum() == RIGHT.sum()
    del array
    open_dataset(folder_store, other, tmp_path / "cache")
    assert entries(tmp_path / "cache") == [cached_folder(tmp_path / "cache", other).name]
