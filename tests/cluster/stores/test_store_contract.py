"""What every store promises, on a folder and on a real S3 server alike."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import resource
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from cluster.errors import AlreadyExists, ClusterError, Corrupt, Denied, NotFound, Unavailable
from cluster.stores import open_store
from cluster.stores.base import Store
from cluster.stores.folder import FolderStore

BAD_KEYS = ["", "/", "/etc/passwd", "../x", "a/../../x", "a//b", "a/", "./a", ".hidden", "a/.b"]
BAD_KEYS += ["a\\b", "a\nb", "a\n", "a b", "ä", "~/x", "-r", "a" * 201, "a/" * 400 + "a", "a\0"]


def test_round_trip(store: Store) -> None:
    """What is put is what is read, replaced by the next put and gone after delete."""
    store.put("a/b/one.bin", b"\x00first")
    assert store.get("a/b/one.bin") == b"\x00first"
    store.put("a/b/one.bin", b"")
    assert store.get("a/b/one.bin") == b""
    assert store.exists("a/b/one.bin")
    store.delete("a/b/one.bin")
    store.delete("a/b/one.bin")
    assert not store.exists("a/b/one.bin")
    assert list(store.list("")) == []


@pytest.mark.parametrize("size", [0, 1000, (16 << 20) - 1, 16 << 20, 40_000_001])
def test_memory_is_put_as_it_is(store: Store, size: int) -> None:
    """A view of memory of any size, in one request or in parts; nothing unfinished stays."""
    data = np.random.default_rng(0).bytes(size + 7)
    store.put("a/large.bin", memoryview(data)[7:])
    assert store.get("a/large.bin") == data[7:]
    store.put("a/large.bin", data)
    assert store.get("a/large.bin") == data
    assert list(store.list_unfinished("")) == []


def test_missing_key(store: Store, tmp_path: Path) -> None:
    """A missing key is NotFound that names it and the store; a local file keeps its content."""
    local = tmp_path / "local"
    local.write_bytes(b"before")
    for read in (store.get, lambda key: store.download(key, local)):
        with pytest.raises(NotFound, match=r"no/such\.bin") as caught:
            read("no/such.bin")
        assert store.url in str(caught.value)
    assert local.read_bytes() == b"before"
    assert not store.exists("no/such.bin")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["local"]


def test_a_key_is_not_its_folder(store: Store) -> None:
    """The part before a '/' holds nothing by itself, nor does a path below an object."""
    store.put("a/b", b"1")
    for key in ("a", "a/b/c"):
        assert not store.exists(key)
        with pytest.raises(NotFound):
            store.get(key)
        store.delete(key)
    assert store.get("a/b") == b"1"


def test_create_only_once(store: Store) -> None:
    """The second conditional put loses and changes nothing; an ordinary put still replaces."""
    store.create("commits/x", b"winner")
    with pytest.raises(AlreadyExists, match="commits/x"):
        store.create("commits/x", b"loser")
    assert store.get("commits/x") == b"winner"
    assert list(store.list("")) == ["commits/x"]
    store.put("commits/x", b"replaced")
    assert store.get("commits/x") == b"replaced"


def test_threads_race_to_create(store: Store) -> None:
    """Of four threads that create one key at once, one wins, and its bytes are what is stored."""
    for number in range(6):
        barrier = threading.Barrier(4)
        key = f"race/{number}"

        def attempt(name: int, key: str = key, barrier: threading.Barrier = barrier) -> int | None:
            barrier.wait(10)
            try:
                store.create(key, b"%d" % name * 5000)
            except AlreadyExists:
                return None
            return name

        with ThreadPoolExecutor(4) as threads:
            winners = [won for won in threads.map(attempt, range(4)) if won is not None]
        assert len(winners) == 1
        assert store.get(key) == b"%d" % winners[0] * 5000


def create_all(url: str, name: int) -> list[str]:
    """Open the store in a process of its own and create twelve keys; those that it won."""
    store = open_store(url)
    won = []
    for number in range(12):
        try:
            store.create(f"race/{number:02d}", b"%d" % name)
        except AlreadyExists:
            continue
        won.append(f"race/{number:02d}")
    return won


def test_processes_race_to_create(store: Store) -> None:
    """Of three processes that open the store by its URL, exactly one creates each key."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(3, context) as processes:
        won = list(processes.map(create_all, [store.url] * 3, range(3)))
    assert sorted(key for keys in won for key in keys) == [f"race/{n:02d}" for n in range(12)]
    assert all(store.get(key) == b"%d" % n for n, keys in enumerate(won) for key in keys)


def test_put_is_atomic_for_a_reader(store: Store, tmp_path: Path) -> None:
    """A reader beside a writer sees one whole version or the other, by get and by download."""
    size = 3_000_000
    versions = {b"a" * size, b"b" * size}
    (tmp_path / "a").write_bytes(b"a" * size)
    store.put("object", b"b" * size)
    done = threading.Event()

    def write() -> None:
        for _ in range(15):
            store.upload(tmp_path / "a", "object")
            store.put("object", b"b" * size)
        done.set()

    with ThreadPoolExecutor(1) as threads:
        writer = threads.submit(write)
        reads = 0
        while not (done.is_set() or writer.done()):
            assert store.get("object") in versions
            store.download("object", tmp_path / "copy")
            assert (tmp_path / "copy").read_bytes() in versions
            reads += 1
        writer.result()
    assert reads > 2


def test_download_is_atomic(store: Store, tmp_path: Path) -> None:
    """Who has the local file open while it is downloaded anew keeps the old content whole."""
    store.put("object", b"new" * 1000)
    local = tmp_path / "local"
    local.write_bytes(b"old")
    with local.open("rb") as reader:
        store.download("object", local)
        assert reader.read() == b"old"
    assert local.read_bytes() == b"new" * 1000


def test_list_order_and_prefix(store: Store) -> None:
    """Keys come by code point, also where folders and files mix; a prefix cuts inside a name."""
    keys = [
        "a.b",
        "a/b",
        "a-b",
        "a=b/c",
        "a/b.c",
        "a/b-c/d",
        "B",
        "ab",
        "a0",
        "a/c",
        "a@",
        "a+",
        "a_",
    ]
    for key in keys:
        store.put(key, b"")
    assert list(store.list("")) == sorted(keys)
    assert list(store.list("a/")) == ["a/b", "a/b-c/d", "a/b.c", "a/c"]
    assert list(store.list("a/b")) == ["a/b", "a/b-c/d", "a/b.c"]
    assert list(store.list("a=")) == ["a=b/c"]
    assert list(store.list("a=b/")) == ["a=b/c"]
    assert list(store.list("zz/")) == []
    assert list(store.list("zz/top")) == []


def test_list_more_than_a_page(store: Store) -> None:
    """More keys than S3 gives in one answer are all listed, once each."""
    keys = [f"many/{n % 7}/{n:04d}.parquet" for n in range(1203)]
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda key: store.put(key, b""), keys))
    assert list(store.list("many/")) == sorted(keys)


def test_large_files(store: Store, tmp_path: Path) -> None:
    """30 MB, more than one part, goes up and comes down unchanged; so does an empty file."""
    source = tmp_path / "source"
    source.write_bytes(np.random.default_rng(0).bytes(30_000_001))
    (tmp_path / "empty").write_bytes(b"")
    store.upload(source, "large.parquet")
    store.download("large.parquet", tmp_path / "copy")
    digests = [
        hashlib.sha256((tmp_path / name).read_bytes()).digest() for name in ("source", "copy")
    ]
    assert digests[0] == digests[1]
    store.upload(tmp_path / "empty", "large.parquet")
    store.download("large.parquet", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b""
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        "copy",
        "empty",
        "source",
    ]


def test_local_trouble_is_an_os_error(store: Store, tmp_path: Path) -> None:
    """What is wrong with the local file is not blamed on the store."""
    store.put("object", b"1")
    with pytest.raises(FileNotFoundError):
        store.upload(tmp_path / "absent", "object")
    with pytest.raises(OSError, match="absent"):
        store.download("object", tmp_path / "absent" / "file")
    assert store.get("object") == b"1"


@pytest.mark.parametrize("key", BAD_KEYS)
def test_path_tricks(store: Store, tmp_path: Path, key: str) -> None:
    """A key that could leave the store, hide in it or confuse it is refused by every verb."""
    local = tmp_path / "local"
    local.write_bytes(b"")
    verbs: list[Callable[[], object]] = [
        lambda: store.get(key),
        lambda: store.put(key, b""),
        lambda: store.create(key, b""),
        lambda: store.download(key, local),
        lambda: store.upload(local, key),
        lambda: store.exists(key),
        lambda: store.delete(key),
    ]
    if key and not key.endswith("a/"):  # the start of a key, which list takes
        verbs.append(lambda: list(store.list(key)))
    for verb in verbs:
        with pytest.raises(ClusterError, match="bad store key"):
            verb()
    assert list(store.list("")) == []


def test_prefix_is_a_wall(store: Store) -> None:
    """Stores below one another's URL share nothing but what their keys spell; names do not leak."""
    inner, beside = open_store(f"{store.url}/in"), open_store(f"{store.url}/inside/")
    inner.put("x", b"inner")
    beside.create("x", b"beside")
    assert (list(inner.list("")), list(beside.list(""))) == (["x"], ["x"])
    assert (inner.get("x"), beside.get("x")) == (b"inner", b"beside")
    assert list(store.list("")) == ["in/x", "inside/x"]
    assert beside.url == f"{store.url}/inside"
    assert open_store(beside.url).get("x") == b"beside"


@contextmanager
def unprivileged() -> Iterator[None]:
    """As a user whom permissions hold: root drops its rights for the block."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_folder_denied() -> None:
    """A folder that may not be written, or read, is Denied with the path and the remedy."""
    with tempfile.TemporaryDirectory() as root:  # not tmp_path, whose parents only root may pass
        store = FolderStore(Path(root))
        store.put("a", b"1")
        (Path(root) / "a").chmod(0)
        Path(root).chmod(0o555)
        with unprivileged():
            for write in (store.put, store.create):
                with pytest.raises(Denied, match=f"cannot write 'b' in {root}.*permission"):
                    write("b", b"")
            with pytest.raises(Denied, match=f"cannot read 'a' in {root}"):
                store.get("a")
        Path(root).chmod(0o700)


def test_folder_below_a_file(tmp_path: Path) -> None:
    """A store's folder that is a file is refused; so is a key below another key."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ClusterError, match="is a file"):
        FolderStore(tmp_path / "file")
    for name in ("file/x", "file/x/y"):
        with pytest.raises(Denied, match="a file and a folder cannot have one name"):
            FolderStore(tmp_path).put(name, b"")


def test_failed_write_leaves_the_old(tmp_path: Path) -> None:
    """A disk that takes no more is Unavailable; the old object stays and nothing else does."""
    store = FolderStore(tmp_path / "store")
    store.put("a", b"old")
    (tmp_path / "large").write_bytes(b"x" * 100_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(Unavailable, match=r"cannot write 'a'.*start again"):
            store.put("a", b"x" * 100_000)
        with pytest.raises(Unavailable, match="cannot write 'b'"):
            store.create("b", b"x" * 100_000)
        with pytest.raises(Unavailable, match="cannot write 'a'"):
            store.upload(tmp_path / "large", "a")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert store.get("a") == b"old"
    assert os.listdir(tmp_path / "store") == ["a"]


def test_leftovers_of_a_killed_writer_are_no_keys(folder_store: FolderStore) -> None:
    """Hidden files and folders, such as a killed writer's temporary file, are not listed."""
    folder_store.put("a/b", b"")
    root = Path(folder_store.url)
    (root / "a" / ".4f.tmp").write_bytes(b"half")
    (root / ".hidden").mkdir()
    (root / ".hidden" / "c").write_bytes(b"")
    assert list(folder_store.list("")) == ["a/b"]


def test_open_store_by_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative folder becomes an absolute URL; a scheme that is unknown is named."""
    monkeypatch.chdir(tmp_path)
    assert open_store("here").url == str(tmp_path / "here")
    with pytest.raises(ClusterError, match=r"gs://bucket.*expected s3://"):
        open_store("gs://bucket")
    for url in ("s3://", "s3:///x", "s3://bucket/../x", "s3://bucket/a//b"):
        with pytest.raises(ClusterError, match="bad store"):
            open_store(url)


@pytest.mark.parametrize("size", [0, 1000, 40_000_001])
def test_an_object_is_read_into_memory_of_its_size(store: Store, size: int) -> None:
    """Whole, whatever the number of parts; another size, or none, is told and names the key."""
    data = np.random.default_rng(1).bytes(size)
    store.put("a/large.bin", data)
    memory = np.full(size + 100, 7, np.uint8)
    store.read_into("a/large.bin", memory[50 : 50 + size].data)
    assert memory[50 : 50 + size].tobytes() == data
    assert (memory[:50] == 7).all()
    assert (memory[50 + size :] == 7).all()
    for other in {max(0, size - 1), size + 1, 20_000_000} - {size}:
        with pytest.raises(Corrupt, match=rf"a/large\.bin.*{size} bytes; expected {other}"):
            store.read_into("a/large.bin", np.empty(other, np.uint8).data)
    with pytest.raises(NotFound, match=r"no/such\.bin"):
        store.read_into("no/such.bin", memory.data)
