"""Checksums of the node cache: no damaged byte is believed, and nothing is hashed twice."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from cached_datasets import cached_folder, check_arrays, entries
from sample_records import make_records, stage

from cluster.errors import Denied
from cluster.node_cache import checksums
from cluster.node_cache import open as opening
from cluster.node_cache.cached_file import CacheChanged
from cluster.node_cache.open import open_dataset
from cluster.stores.folder import FolderStore
from spurious.data.dataset import COLUMNS

FILES = [f"{name}.npy" for name in ("images", "masks", *COLUMNS)]


@pytest.fixture
def cache(folder_store, tmp_path):
    """A cached dataset: the store, its manifest, the cache and the dataset's folder."""
    manifest = stage(folder_store, make_records())
    open_dataset(folder_store, manifest, tmp_path / "cache")
    return Cache(folder_store, manifest, tmp_path / "cache")


class Cache:
    """A cache that one dataset was fetched into."""

    def __init__(self, store, manifest, path: Path) -> None:
        self.store, self.manifest, self.path = store, manifest, path
        self.folder = cached_folder(path, manifest)

    def open(self):
        """Open the dataset as a trial does."""
        return open_dataset(self.store, self.manifest, self.path)

    def check_refetched(self, name: str) -> None:
        """The copy is discarded with a reason that names the file, and whole again once."""
        cached = self.open()
        assert cached.hit is False
        assert name in cached.discarded
        check_arrays(cached, make_records())
        again = self.open()
        assert (again.hit, again.discarded) == (True, "")


@pytest.fixture
def hashed(monkeypatch):
    """Names of the files that are hashed from now on."""
    names: list[str] = []
    digest = hashlib.file_digest

    def count(file, algorithm):
        names.append(Path(file.name).name)
        return digest(file, algorithm)

    monkeypatch.setattr(checksums.hashlib, "file_digest", count)
    return names


def overwrite(path: Path, data: bytes, at: int = 0) -> None:
    """Change bytes of a file in place, size and time of modification as before."""
    stat = path.stat()
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_not_believed(cache, name):
    """In the header or the last byte of any file, with its size and time of modification kept."""
    path = cache.folder / name
    for at in (60, path.stat().st_size - 1):
        overwrite(path, bytes([path.read_bytes()[at] ^ 1]), at)
        cache.check_refetched(name)


def test_zeroed_pixels_are_not_believed(cache, caplog):
    """Half of the images as zeros: discarded, said so with the file, and fetched again."""
    path = cache.folder / "images.npy"
    overwrite(path, bytes(path.stat().st_size // 2), path.stat().st_size // 2)
    cache.check_refetched("images.npy")
    assert f"cached file {path} is damaged: it has SHA-256" in caplog.text
    assert "fetching dataset phantom again" in caplog.text


def test_files_of_another_dataset_are_not_believed(cache):
    """One file of equal size, a link to it, and the whole folder with its index and record."""
    other = stage(cache.store, make_records(seed=1), name="other")
    for replace in (shutil.copy2, os.symlink, os.link):
        open_dataset(cache.store, other, cache.path)
        theirs = cached_folder(cache.path, other)
        (cache.folder / "images.npy").unlink()
        replace(theirs / "images.npy", cache.folder / "images.npy")
        cache.check_refetched("images.npy")
    open_dataset(cache.store, other, cache.path)
    shutil.rmtree(cache.folder)
    theirs.rename(cache.folder)
    cache.check_refetched(other.content_digest)


@pytest.mark.parametrize(
    "index",
    [b"", b"{", b"\xff\xfe", b"[]", b'{"files": {}}', b"[" * 100_000, b"null", b'"images.npy"'],
)
def test_a_damaged_index_is_not_believed(cache, index):
    """Whatever stands in it, also none of the files."""
    (cache.folder / "index.json").chmod(0o644)
    (cache.folder / "index.json").write_bytes(index)
    cache.check_refetched("")


def test_a_cache_without_checksums_is_not_believed(cache):
    """An index of the version before has sizes alone: fetched again, though every size is right."""
    sizes = {name: (cache.folder / name).stat().st_size for name in FILES}
    (cache.folder / "index.json").write_text(json.dumps({"files": sizes}))
    (cache.folder / "verified.json").unlink()
    cache.check_refetched(cache.folder.name)


@pytest.mark.parametrize("what", ["file", "dangling link", "empty folder"])
def test_something_else_in_the_place_of_a_dataset(cache, what):
    """It is replaced, whatever it is."""
    shutil.rmtree(cache.folder)
    if what == "file":
        cache.folder.write_text("")
    elif what == "dangling link":
        cache.folder.symlink_to("nowhere")
    else:
        cache.folder.mkdir()
    check_arrays(cache.open(), make_records())
    assert cache.open().hit is True


def test_a_file_is_hashed_once_per_identity(cache, hashed):
    """Not on opening, whoever opens; again where it was touched, and then recorded."""
    for _ in range(2):
        assert cache.open().hit is True
    assert hashed == []
    os.utime(cache.folder / "masks.npy")
    (cache.folder / "images.npy").chmod(0o400)
    os.link(cache.folder / "labels.npy", cache.path / "backup")
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(cache.open) for _ in range(4)]
        assert all(job.result(60).hit for job in jobs)
    assert sorted(hashed) == ["images.npy", "labels.npy", "masks.npy"]


@pytest.mark.parametrize("record", [None, b"", b"[1]", b'{"images.npy": [1, [2]]}', b"[" * 100_000])
def test_a_damaged_record_costs_a_hash_and_no_fetch(cache, hashed, record):
    """Every file is hashed once more, and recorded."""
    if record is None:
        (cache.folder / "verified.json").unlink()
    else:
        (cache.folder / "verified.json").write_bytes(record)
    assert cache.open().hit is True
    assert sorted(hashed) == sorted(FILES)
    assert cache.open().hit is True
    assert len(hashed) == len(FILES)


def test_what_was_verified_counts_until_the_next_boot(cache, hashed, monkeypatch):
    """A power cut may take what was not yet on disk, with the identity that was recorded."""
    path, record = cache.folder / "images.npy", cache.folder / "verified.json"
    overwrite(path, b"\0\0\0", 200)
    stored = json.loads(record.read_text())
    stored["files"]["images.npy"][1] = checksums.identify(path)
    record.write_text(json.dumps(stored))
    assert cache.open().hit is True  # of this boot, it is believed
    assert hashed == []
    monkeypatch.setattr(checksums, "boot_id", lambda: "another")
    cache.check_refetched("images.npy")
    hashed.clear()
    assert cache.open().hit is True
    assert hashed == []


def test_where_boots_have_no_name_files_go_to_disk(folder_store, tmp_path, monkeypatch):
    """Every file of the dataset, its index, and the folders, before it is used."""
    synced = []
    monkeypatch.setattr(checksums, "sync", lambda path: synced.append(path.name))
    monkeypatch.setattr(checksums, "_BOOT", tmp_path / "none")
    manifest = stage(folder_store, make_records())
    open_dataset(folder_store, manifest, tmp_path / "cache")
    folder = cached_folder(tmp_path / "cache", manifest).name
    assert sorted(synced) == sorted([*FILES, "index.json", f"{folder}.tmp", "cache"])


def test_a_change_within_a_tick_of_a_coarse_clock_is_seen(cache, hashed, monkeypatch):
    """Where times stand still nothing is recorded as verified: a change may keep the identity."""
    identify = checksums.identify
    monkeypatch.setattr(checksums, "identify", lambda file: (*identify(file)[:2], 0, 2**62))
    monkeypatch.setattr(checksums, "_LONGEST_TICK_S", 0.0)
    for _ in range(2):
        hashed.clear()
        assert cache.open().hit is True
        assert sorted(hashed) == sorted(FILES)
    overwrite(cache.folder / "images.npy", b"\x01\x02\x03", 200)
    assert cache.open().hit is False


def test_cached_files_are_read_only(cache):
    """For their owner, too; the cache removes them all the same."""
    modes = {path.name: path.stat().st_mode & 0o222 for path in cache.folder.iterdir()}
    assert {name for name, mode in modes.items() if mode} == {"verified.json"}
    assert set(modes) == {*FILES, "index.json", "verified.json"}


OPEN = """
import os, sys
from pathlib import Path
from cluster.datasets.manifest import find_manifest
from cluster.node_cache import checksums
from cluster.node_cache.open import open_dataset
from cluster.stores.folder import FolderStore
root = Path(sys.argv[1])
store = FolderStore(root / "store")
manifest = find_manifest(store, "phantom")
open_dataset(store, manifest, root / str(os.getpid()))  # another user may not read what it imports
os.setgid(65534)
os.setuid(65534)
hashed = []
digest = checksums.hashlib.file_digest
checksums.hashlib.file_digest = lambda *a: hashed.append(a) or digest(*a)
for _ in range(2):
    cached = open_dataset(store, manifest, root / "cache")
    print(cached.hit, len(hashed), cached.discarded)
"""


@pytest.fixture
def public_cache():
    """A cache that other users reach, which folders of pytest keep out."""
    if os.geteuid():
        pytest.skip("needs the right to become another user")
    with tempfile.TemporaryDirectory(dir="/tmp") as root:
        Path(root).chmod(0o755)
        store = FolderStore(Path(root) / "store")
        manifest = stage(store, make_records())
        open_dataset(store, manifest, Path(root) / "cache")
        (Path(root) / "cache").chmod(0o777)
        yield Cache(store, manifest, Path(root) / "cache")


def open_as_nobody(cache: Cache) -> list[str]:
    """Open the dataset twice in a process that is not root; one line each."""
    root = cache.path.parent
    for path in root.rglob("*.lock"):
        path.chmod(0o666)
    command = [sys.executable, "-c", OPEN, str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return [*done.stdout.splitlines(), *done.stderr.splitlines()[-1:]]


def test_files_that_lost_their_permissions_are_fetched_again(public_cache):
    """By their owner, whom a mode of 0 keeps out, of a file as of the folder.

    Hashed are six new files of columns; images and masks were when they were written.
    """
    folder = public_cache.folder
    for path in (folder / "splits.npy", folder):
        subprocess.run(["chown", "-R", "65534:65534", str(folder)], check=True)
        path.chmod(0)
        first, second, *_ = open_as_nobody(public_cache)
        assert first.startswith("False 6 ")
        assert "Permission denied" in first
        assert second == "True 6 "


def test_another_users_cache_is_read(public_cache):
    """What this user cannot record is remembered by the process: hashed once, not twice."""
    os.utime(public_cache.folder / "images.npy")
    assert open_as_nobody(public_cache) == ["True 1 ", "True 1 "]


def test_a_cache_that_cannot_be_removed_is_named(public_cache):
    """A damaged copy of another user is one line with the folder and what to do."""
    overwrite(public_cache.folder / "images.npy", b"\x01\x02\x03", 200)
    public_cache.path.chmod(0o1777)
    error = open_as_nobody(public_cache)[-1]
    assert error.startswith(f"cluster.errors.{Denied.__name__}: cannot remove cached dataset")
    assert f"{public_cache.folder}: " in error
    assert error.endswith("remove it, or use another cache folder")


def test_a_worker_out_of_file_descriptors_discards_nothing(cache, monkeypatch):
    """What this process lacks is not the cache's fault: the error is raised, the copy stays."""

    def lack(file):
        raise OSError(errno.EMFILE, "Too many open files")

    inode = (cache.folder / "images.npy").stat().st_ino
    with monkeypatch.context() as patch:
        patch.setattr(opening, "lock_shared", lack)
        with pytest.raises(OSError, match="Too many open files"):
            cache.open()
    assert cache.open().hit is True
    assert (cache.folder / "images.npy").stat().st_ino == inode


def test_damage_while_a_dataset_is_in_use_is_seen(cache):
    """By whoever has it mapped; a replaced or touched file changes nothing for them."""
    cached = cache.open()
    cached.check_unchanged()
    (cache.folder / "images.npy").chmod(0o400)
    os.replace(shutil.copy(cache.folder / "masks.npy", cache.path), cache.folder / "masks.npy")
    (cache.folder / "splits.npy").unlink()
    cached.check_unchanged()
    overwrite(cache.folder / "images.npy", b"\x01\x02\x03", 200)
    with pytest.raises(CacheChanged, match=r"images.npy changed while it was in use"):
        cached.check_unchanged()
    check_arrays(cache.open(), make_records())
    assert entries(cache.path) == [cache.folder.name]
    assert np.array_equal(cached.dataset.labels, cache.open().dataset.labels)
