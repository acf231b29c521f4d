"""The local cache of packs: bounded, shared, and never believed without its hash."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
from committed_results import commit_plainly
from compacted_results import IDS, Watched, fill, read

from cluster.stores.base import Store
from cluster.stores.folder import FolderStore
from sweeps.results.compaction import compact
from sweeps.results.pack_cache import INDEX, PACK, PackCache
from sweeps.results.reader import ResultReader


def test_what_was_read_once_is_not_read_again(store: Store, tmp_path: Path) -> None:
    """By another process as well; what is new is read, and only that."""
    fill(store)
    folder = tmp_path / "cache"
    expected = read(ResultReader(store, PackCache(folder)))
    watched = Watched(store)
    assert read(ResultReader(watched, PackCache(folder))) == expected  # type: ignore[arg-type]
    assert watched.small == []
    commit_plainly(store, "d" * 12, "d" * 16)
    again = read(ResultReader(watched, PackCache(folder)))  # type: ignore[arg-type]
    assert len(watched.small) == 3
    assert all("d" * 16 in key for key in watched.small)
    assert len(again.attempts) == len(IDS) + 1


@pytest.mark.parametrize("suffix", [INDEX, PACK])
@pytest.mark.parametrize("is_compacted", [False, True])
def test_a_damaged_file_is_read_again_and_told(
    store: Store,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    suffix: str,
    is_compacted: bool,
) -> None:
    """No damaged byte reaches a table, wherever in the file it is; the file is made again."""
    fill(store)
    if is_compacted:
        compact(store)
    folder = tmp_path / "cache"
    expected = read(ResultReader(store, PackCache(folder)))
    for path in folder.glob(f"*{suffix}"):
        for place in (0, 1, 2):
            data = bytearray(path.read_bytes())
            data[(len(data) - 1) * place // 2] ^= 1
            path.write_bytes(data)
            caplog.clear()
            assert read(ResultReader(store, PackCache(folder))) == expected
            assert f"{path} is damaged: it is removed" in caplog.text
            watched = Watched(store)
            caplog.clear()
            assert read(ResultReader(watched, PackCache(folder))) == expected  # type: ignore[arg-type]
            assert watched.small == []
            assert "damaged" not in caplog.text
            if not path.exists():  # its rows are in another file now
                break


def test_it_stays_below_its_limit(folder_store: FolderStore, tmp_path: Path) -> None:
    """What was not used for longest goes; reading is right all the same."""
    cache = PackCache(tmp_path / "cache", limit_bytes=10_000)
    names = [cache.put(bytes([number]) * 2000) for number in range(4)]
    for age, name in enumerate(reversed(names)):
        os.utime(tmp_path / "cache" / (name + PACK), (1e9 - age, 1e9 - age))
    assert cache.get(names[0])
    last = cache.put(b"x" * 5000)
    sizes = [path.stat().st_size for path in (tmp_path / "cache").iterdir()]
    assert sum(sizes) <= 10_000
    assert cache.has(last)
    assert cache.has(names[0])
    assert not cache.has(names[1])
    fill(folder_store)
    expected = read(folder_store)
    tiny = PackCache(tmp_path / "tiny", limit_bytes=1)
    assert read(ResultReader(folder_store, tiny)) == expected


def test_a_folder_that_cannot_be_written_is_told(
    folder_store: FolderStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, and results are read without it."""
    fill(folder_store)
    (tmp_path / "cache").write_text("a file")
    expected = read(folder_store)
    assert read(ResultReader(folder_store, PackCache(tmp_path / "cache"))) == expected
    assert caplog.text.count("keeps no results") == 1


def read_again_and_again(url: str, folder: str) -> None:
    """Read a store's results with a small cache until killed."""
    store = FolderStore(Path(url))
    while True:
        read(ResultReader(store, PackCache(Path(folder), limit_bytes=40_000)))


def test_processes_share_it_and_are_killed(folder_store: FolderStore, tmp_path: Path) -> None:
    """Readers beside others that evict, damage nothing and die at any time get the same tables."""
    fill(folder_store)
    expected = read(folder_store)
    context, folder = multiprocessing.get_context("spawn"), tmp_path / "cache"
    arguments = (folder_store.url, str(folder))
    processes = [context.Process(target=read_again_and_again, args=arguments) for _ in range(2)]
    try:
        for process in processes:
            process.start()
        deadline = time.monotonic() + 60
        while not folder.is_dir() and time.monotonic() < deadline:
            time.sleep(0.05)
        for _ in range(5):
            cache = PackCache(folder, limit_bytes=40_000)
            assert read(ResultReader(folder_store, cache)) == expected
    finally:
        for process in processes:
            os.kill(process.pid or 0, signal.SIGKILL)
            process.join()
    assert read(ResultReader(folder_store, PackCache(folder))) == expected


def test_what_a_killed_writer_left_goes(tmp_path: Path) -> None:
    """Its temporary file, once it is old enough that nobody writes it."""
    folder = tmp_path / "cache"
    folder.mkdir()
    for name, age in ((".old.tmp", 7200), (".new.tmp", 0)):
        (folder / name).write_bytes(b"half")
        os.utime(folder / name, (time.time() - age, time.time() - age))
    PackCache(folder).put(b"x")
    assert not (folder / ".old.tmp").exists()
    assert (folder / ".new.tmp").exists()
