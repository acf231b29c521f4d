"""File locks: who excludes whom, and when a lock ends."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.common.locks import FileLock, NoLocks, lock_shared, try_lock

HOLDER = """
import sys, pathlib
from cluster.common.locks import FileLock
lock = FileLock(pathlib.Path(sys.argv[1]))
print(lock.acquire(), flush=True)
sys.stdin.read()
"""


def test_shared_locks_exclude_exclusive_ones_alone(tmp_path: Path) -> None:
    """Two users share a lock; who wants it alone waits for both, up to a bound."""
    path = tmp_path / "a.lock"
    with FileLock(path) as one, FileLock(path) as two, FileLock(path) as alone:
        assert one.acquire(shared=True)
        assert two.acquire(shared=True)
        assert not alone.acquire(0.2)
        one.unlock()
        assert not alone.acquire()
        two.unlock()
        assert alone.acquire()
        assert not one.acquire(shared=True)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_data_file_is_locked_as_it_is_open(tmp_path: Path) -> None:
    """A file opened for reading can be marked as in use until it is closed."""
    path = tmp_path / "images.npy"
    path.write_bytes(b"pixels")
    with path.open("rb") as reader:
        lock_shared(reader)
        with path.open("rb") as other:
            assert not try_lock(other)
            assert try_lock(other, shared=True)
    with path.open("rb") as other:
        assert try_lock(other)


def test_a_passed_descriptor_keeps_the_lock_and_unlocking_ends_it(tmp_path: Path) -> None:
    """`close` leaves the lock to a child with a copy; leaving a block ends it for both."""
    path = tmp_path / "server.lock"
    lock = FileLock(path)
    copy = os.dup(lock.fileno())
    assert lock.acquire()
    lock.close()
    with FileLock(path) as other:
        assert not other.acquire()
        os.close(copy)
        assert other.acquire()
        copy = os.dup(other.fileno())
    with FileLock(path) as other:
        assert other.acquire()
    os.close(copy)


def test_a_killed_holder_has_no_lock(tmp_path: Path) -> None:
    """SIGKILL frees the lock: nothing is left to clean up."""
    path = tmp_path / "a.lock"
    command = [sys.executable, "-c", HOLDER, str(path)]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder,
        FileLock(path) as lock,
    ):
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"True\n"
        assert not lock.acquire()
        holder.kill()
        assert lock.acquire(10)


def test_a_lock_file_appears_locked_or_is_missing(tmp_path: Path) -> None:
    """An onlooker never sees an owner's lock file free; without one it gets an error."""
    path = tmp_path / "owner.lock"
    with pytest.raises(FileNotFoundError):
        FileLock(path, create=False)
    with FileLock.create_locked(path), FileLock(path, create=False) as onlooker:
        assert [entry.name for entry in tmp_path.iterdir()] == ["owner.lock"]
        assert not onlooker.acquire()
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match=r"owner\.lock"):
        FileLock(path)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """With the file and the settings that lead elsewhere; no lock is pretended."""

    def refuse(file: object, kind: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    path = tmp_path / "a.lock"
    lock = FileLock(path)
    with pytest.raises(NoLocks, match=r"has no locks .*SWEEPS_HOME, SWEEPS_CACHE") as caught:
        lock.acquire()
    assert caught.value.filename == str(path)
    lock.close()
    with path.open("rb") as file, pytest.raises(NoLocks):
        lock_shared(file)
