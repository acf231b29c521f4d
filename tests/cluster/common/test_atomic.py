"""Atomic writes: whole or not at all, with the permissions asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.common import atomic
from cluster.common.atomic import make_folder_durable, open_atomic, write_atomic


@pytest.fixture
def open_umask() -> Iterator[None]:
    """A umask that takes no permission away."""
    before = os.umask(0)
    yield
    os.umask(before)


def names(folder: Path) -> list[str]:
    """Every entry of a folder."""
    return sorted(path.name for path in folder.iterdir())


def test_a_file_changes_when_the_block_ends(tmp_path: Path) -> None:
    """Readers see the old content until then, and keep it where the writer fails."""
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with open_atomic(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    with pytest.raises(TypeError), open_atomic(path) as file:
        file.writelines([b"half", None])  # type: ignore[list-item]
    assert (path.read_bytes(), names(tmp_path)) == (b"new", ["a"])


def test_an_exclusive_write_replaces_nothing(tmp_path: Path) -> None:
    """The second of two writers gets an error, and the first one's content stays."""
    path = tmp_path / "a"
    with open_atomic(path, exclusive=True) as file:
        file.write(b"first")
    with pytest.raises(FileExistsError), open_atomic(path, exclusive=True) as file:
        file.write(b"second")
    assert (path.read_bytes(), names(tmp_path)) == (b"first", ["a"])


@pytest.mark.usefixtures("open_umask")
def test_permissions(tmp_path: Path) -> None:
    """A secret is its owner's from its first byte; a mode is exact; else the umask decides."""
    secret = tmp_path / "keys.json"
    secret.write_bytes(b"an older one, readable")
    with open_atomic(secret, mode=0o600) as file:
        [temporary] = tmp_path.glob(".*.tmp")
        assert temporary.stat().st_mode & 0o777 == 0o600
        file.write(b"secret")
    assert secret.stat().st_mode & 0o777 == 0o600
    os.umask(0o077)
    write_atomic(tmp_path / "report.html", b"page", mode=0o644)
    assert (tmp_path / "report.html").stat().st_mode & 0o777 == 0o644
    with open_atomic(tmp_path / "table") as file:
        file.write(b"rows")
    assert (tmp_path / "table").stat().st_mode & 0o777 == 0o600


def test_a_durable_write_syncs_the_file_before_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The content is on disk before the name is, and new folders are as well."""
    synced: list[str] = []
    fsync = os.fsync

    def record(descriptor: int) -> None:
        name = os.readlink(f"/proc/self/fd/{descriptor}")
        synced.append(Path(name).suffix or Path(name).name)
        fsync(descriptor)

    monkeypatch.setattr(atomic.os, "fsync", record)
    make_folder_durable(tmp_path / "x" / "y")
    write_atomic(tmp_path / "x" / "y" / "a", b"1", durable=True, mode=0o600)
    assert synced == [tmp_path.name, "x", ".tmp", "y"]
    synced.clear()
    write_atomic(tmp_path / "b", b"1", mode=0o600)
    assert synced == []
