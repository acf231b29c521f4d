"""Compacting while a run goes on: after a killed driver little is read one by one."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from compacted_results import IDS, Watched, fill, read
from tiny_sweeps import Place, made_place, wait_until

from cluster.stores.base import Store
from cluster.stores.folder import FolderStore
from sweeps.driver import compactor
from sweeps.driver.compactor import Compactor
from sweeps.results import tables as results
from sweeps.results.keys import COMPACT
from sweeps.results.pack_cache import PackCache
from sweeps.results.reader import ResultReader
from sweeps.trial.events import Outcome, TaskName

CHILD = "sweeps.driver.compacting"
OFTEN = "from sweeps.driver import compactor; compactor.EVERY_S, compactor.FEWEST = {}, {};"
MAIN = OFTEN + "import sys; from sweeps.cli import main; sys.exit(main(sys.argv[1:]))"
LONG = ("--set", "axes.seed=[0]", "--set", "train.per_specificity={mask: {epochs: 20000}}")
"""Two trials: that of masks begins first and takes minutes, that of labels ends beside it."""


@pytest.fixture
def cache(tmp_path: Path) -> PackCache:
    """Where packs are kept on this machine."""
    return PackCache(tmp_path / "kept")


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes requests and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A place for subprocesses, left without one."""
    with made_place(tmp_path) as made:
        yield made


def set_pace(monkeypatch: pytest.MonkeyPatch, every_s: float, fewest: int) -> None:
    """Compact as often as this."""
    monkeypatch.setattr(compactor, "EVERY_S", every_s)
    monkeypatch.setattr(compactor, "FEWEST", fewest)


def end(watcher: Compactor, trial_id: str, state: str = "committed") -> None:
    """Tell of the end of a trial."""
    watcher.on_ended(TaskName(trial_id, "label"), Outcome(trial_id, state, 1.0), "")


def indexes(store: Store) -> list[str]:
    """Keys of the store's indexes."""
    return [key for key in store.list(COMPACT) if key.count("/") == 2]


def read_one_by_one(store: Store) -> set[str]:
    """Ids of the trials whose small objects a reader without a cache has to read."""
    watched = Watched(store)
    read(ResultReader(watched))  # type: ignore[arg-type]
    return {key.split("/")[2].removesuffix(".parquet") for key in watched.small}


def test_what_ended_is_compacted_by_and_by(
    store: Store, cache: PackCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time enough have ended, with those of an earlier run; a trial at a rung has not."""
    set_pace(monkeypatch, 0.05, 2)
    fill(store, IDS[:6])
    told: list[str] = []
    with Compactor(store.url, cache, IDS[:1], told.append) as watcher:
        end(watcher, IDS[1])
        end(watcher, IDS[2], "at a rung")
        time.sleep(1.0)
        assert indexes(store) == []
        end(watcher, IDS[3])
        wait_until(lambda: indexes(store), 60)
        assert read_one_by_one(store) == {IDS[2], IDS[4], IDS[5]}
        end(watcher, IDS[4])
        end(watcher, IDS[2])
        wait_until(lambda: read_one_by_one(store) == {IDS[5]}, 60)
    assert told == []


def test_nothing_is_compacted_before_its_time(
    folder_store: FolderStore, cache: PackCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many trials end: thousands of short ones cost no process each."""
    set_pace(monkeypatch, 600.0, 1)
    fill(folder_store)
    with Compactor(folder_store.url, cache, (), lambda text: None) as watcher:
        for trial_id in IDS:
            end(watcher, trial_id)
        until = time.monotonic() + 3.0
        while time.monotonic() < until:
            assert children_of(os.getpid()) == []
            time.sleep(0.05)
    assert indexes(folder_store) == []


def test_a_failure_is_told_once_and_made_up_for(
    folder_store: FolderStore, cache: PackCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be compacted is compacted with what ended later."""
    set_pace(monkeypatch, 0.05, 2)
    fill(folder_store)
    folder_store.put(COMPACT.removesuffix("/"), b"a file in the way")
    told: list[str] = []
    with Compactor(folder_store.url, cache, (), told.append) as watcher:
        for trial_id in IDS[:4]:
            end(watcher, trial_id)
        wait_until(lambda: told, 60)
        assert told[0].startswith("note: 4 results are not compacted yet, which is tried again")
        assert "results/compact" in told[0]
        time.sleep(3.0)
        folder_store.delete(COMPACT.removesuffix("/"))
        for trial_id in IDS[4:6]:  # enough for one of their own, if the others came right before
            end(watcher, trial_id)
        wait_until(lambda: read_one_by_one(folder_store) == {*IDS[6:]}, 60)
    assert len(told) == 1


def children_of(pid: int) -> list[int]:
    """Process ids of compacting processes that were told to end with one."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().decode().split("\0")
        except OSError:  # it ended while we looked
            continue
        if CHILD in command and f"--parent={pid}" in command:
            found.append(int(entry.name))
    return found


def test_the_process_ends_with_the_run(
    cache: PackCache, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where its store never answers; it has the priority of trials, and no key in sight."""
    set_pace(monkeypatch, 0.05, 1)
    secrets = {"AWS_ACCESS_KEY_ID": "an-access-key-0123", "AWS_SECRET_ACCESS_KEY": "secret-0123"}
    for name, value in {**secrets, "AWS_ENDPOINT_URL_S3": silent}.items():
        monkeypatch.setenv(name, value)
    told: list[str] = []
    with Compactor("s3://bucket", cache, (), told.append) as watcher:
        end(watcher, IDS[0])
        [child] = wait_until(lambda: children_of(os.getpid()), 60)
        lowest = min(os.getpriority(os.PRIO_PROCESS, 0) + 15, 19)
        wait_until(lambda: os.getpriority(os.PRIO_PROCESS, child) == lowest, 60)
        command = Path(f"/proc/{child}/cmdline").read_text()
        assert not any(secret in command for secret in secrets.values())
        began = time.monotonic()
    assert time.monotonic() - began < 5.0
    assert children_of(os.getpid()) == []
    assert told == []


def test_the_process_ends_with_a_killed_run(tmp_path: Path, silent: str) -> None:
    """Nobody is left to end it."""
    code = OFTEN.format(0.05, 1) + (
        "import time; from pathlib import Path; from sweeps.results.pack_cache import PackCache;"
        "watcher = compactor.Compactor('s3://bucket', PackCache(Path('kept')), (), print);"
        "watcher._ended.add('00'); watcher.__enter__(); time.sleep(100)"
    )
    keys = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
    environment = {**os.environ, **keys, "AWS_ENDPOINT_URL_S3": silent}
    with subprocess.Popen([sys.executable, "-c", code], env=environment, cwd=tmp_path) as driver:
        try:
            wait_until(lambda: children_of(driver.pid), 60)
        finally:
            driver.send_signal(signal.SIGKILL)
    wait_until(lambda: not children_of(driver.pid), 10)


def start(place: Place, errors: Path) -> subprocess.Popen[str]:
    """Start a long `sweeps run` that compacts after every trial."""
    command = ["run", str(place.spec), "--store", str(place.store), *LONG]
    with errors.open("w") as file:
        return subprocess.Popen(
            [sys.executable, "-c", MAIN.format(0.5, 1), *command],
            cwd=place.folder,
            env=place.environment,
            stdout=subprocess.DEVNULL,
            stderr=file,
            text=True,
            start_new_session=True,
        )


@pytest.mark.slow
def test_a_killed_driver_leaves_packs_of_what_was_committed(place: Place) -> None:
    """With the machine's own copies gone, too, no result of before is read one by one."""
    store = FolderStore(place.store)
    with start(place, place.folder / "errors") as driver:
        try:
            wait_until(lambda: results.committed_ids(store))
            wait_until(lambda: indexes(store) and not read_one_by_one(store))
        finally:
            driver.send_signal(signal.SIGKILL)
    wait_until(lambda: not children_of(driver.pid), 10)
    wait_until(lambda: not place.workers())
    shutil.rmtree(place.folder / "home" / "results")
    assert len(results.committed_ids(store)) == 1
    assert read_one_by_one(store) == set()


@pytest.mark.slow
def test_a_run_that_cannot_compact_goes_on(place: Place) -> None:
    """It is told once, and the run ends as it would have: here at an interrupt."""
    store = FolderStore(place.store)
    store.put(COMPACT.removesuffix("/"), b"a file in the way")
    told, errors = "not compacted yet, which is tried again", place.folder / "errors"
    with start(place, errors) as driver:
        try:
            wait_until(lambda: told in errors.read_text())
            time.sleep(3.0)
            driver.send_signal(signal.SIGINT)
            assert driver.wait(200) == 130, errors.read_text()
        finally:
            driver.kill()
    assert errors.read_text().count(told) == 1
    assert "interrupted: 1 trial is not done" in errors.read_text()
