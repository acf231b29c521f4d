"""Where a local Ray session keeps its logs and sockets: a private folder that ends with it.

Ray makes its own folders readable and writable for everybody, so a private one is around them. A
later session removes the folder of one whose driver was killed. The folder says whose session it
is, so that another command finds its logs.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cluster.common.locks import FileLock

_PREFIX = "sweeps-ray-"
_LOCK = "owner.lock"
_NAME = "name"
TOKEN = "ray_auth_token"  # noqa: S105 (its name)
"""File in the private folder with the session's token, where it has one of its own."""
_LONGEST_SOCKET = 107
"""Bytes of a Unix socket's path, by Linux."""
_SOCKET = (
    f"/{_PREFIX}12345678/r/session_2026-11-28_12-34-56_123456_1234567/sockets/dash_MetricsHead"
)
_LISTENER = "/pymp-12345678/listener-12345678"
"""A socket of Python's multiprocessing, by which Ray's dashboard starts its parts."""
_LEAST_FREE = 64 * 2**20
"""Bytes for logs: on a full disk Ray takes a minute to fail, and does not say why."""
_REMOVE_S = 5.0


class SessionFolder:
    """A private folder (0700) around the one that Ray gets as its temporary folder.

    Attributes:
        path: What Ray gets as its temporary folder.
        keep: Whether the folder stays when the session ends, so that its logs can be read.
    """

    def __init__(self, *, keep: bool, name: str = "") -> None:
        """Make the folder of a session of this name.

        Raises:
            OSError: That is not possible, or its disk is full.
        """
        self.keep = keep
        base = _base()
        base.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(base)
        free = shutil.disk_usage(base).free
        if free < _LEAST_FREE:
            reason = f"{free / 2**20:.0f} MiB free of {_LEAST_FREE / 2**20:.0f} MiB needed"
            raise OSError(errno.ENOSPC, reason, str(base))
        self._outer = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
        self._owner = FileLock.create_locked(self._outer / _LOCK)
        (self._outer / _NAME).write_text(name)
        self.path = self._outer / "r"
        self.path.mkdir()

    @contextmanager
    def short_temporary_folder(self) -> Iterator[None]:
        """While the block runs, give processes a short path to a temporary folder of a long one.

        A link leads there, since their files belong where the user has space for them.
        """
        named = tempfile.gettempdir()
        if len(os.fsencode(named) + _LISTENER.encode()) <= _LONGEST_SOCKET:
            yield
            return
        link = self._outer / "t"
        link.symlink_to(named)
        before = os.environ.get("TMPDIR")
        os.environ["TMPDIR"] = str(link)
        try:
            yield
        finally:
            del os.environ["TMPDIR"]
            if before is not None:
                os.environ["TMPDIR"] = before

    def close(self) -> None:
        """Remove the folder, or leave it for good where it is kept."""
        if self.keep:
            (self._outer / _LOCK).unlink(missing_ok=True)
        else:
            _remove(self._outer)
        self._owner.close()


@dataclass(frozen=True)
class FoundSession:
    """The folder of a local session of this user.

    Attributes:
        folder: The private folder.
        name: Name of the session: that of the sweep.
        began: When it began, a Unix time.
        state: `running`, `kept` (it ended, and its logs were to be kept) or `killed` (they go when
            the next session starts).
    """

    folder: Path
    name: str
    began: float
    state: Literal["running", "kept", "killed"]

    @property
    def logs(self) -> Path:
        """Folder of Ray's logs; Ray makes it when it starts."""
        return self.folder / "r" / "session_latest" / "logs"

    def is_running(self) -> bool:
        """Return whether the session goes on now."""
        return _state_of(self.folder) == "running"


def find_sessions(name: str) -> list[FoundSession]:
    """Find this user's local sessions of a name on this machine, the newest last.

    They are looked for where this process's RAY_TMPDIR and TMPDIR would place one.
    """
    sessions = []
    for outer in _base().glob(f"{_PREFIX}*"):
        with suppress(OSError):  # another user's, or removed meanwhile
            status = outer.lstat()
            mine = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
            if mine and (outer / _NAME).read_text() == name:
                began = (outer / _NAME).stat().st_mtime
                sessions.append(FoundSession(outer, name, began, _state_of(outer)))
    return sorted(sessions, key=lambda session: session.began)


def _state_of(outer: Path) -> Literal["running", "kept", "killed"]:
    try:
        with FileLock(outer / _LOCK, create=False) as lock:
            return "killed" if lock.acquire(shared=True) else "running"
    except FileNotFoundError:  # removed by its owner, or with the folder
        return "kept"


def _base() -> Path:
    """$RAY_TMPDIR, else the system's temporary folder; /tmp where sockets' paths get too long."""
    base = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()).absolute()
    return base if len(os.fsencode(base) + _SOCKET.encode()) <= _LONGEST_SOCKET else Path("/tmp")  # noqa: S108


def _remove_abandoned(base: Path) -> None:
    """Remove this user's session folders whose driver has gone without doing so."""
    for outer in base.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # another user's, kept by its owner, or removed meanwhile
            if outer.is_symlink() or outer.stat().st_uid != os.getuid():
                continue
            with FileLock(outer / _LOCK, create=False) as lock:
                if lock.acquire():
                    _remove(outer)


def _remove(outer: Path) -> None:
    """Remove a folder, its lock last, so that a later session finds what a killed one left.

    Ray's last processes may still write into it for a moment.
    """
    deadline = time.monotonic() + _REMOVE_S
    while any(path.name != _LOCK for path in outer.iterdir()):
        for path in outer.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != _LOCK:
                path.unlink(missing_ok=True)
        if time.monotonic() > deadline:
            return
        time.sleep(0.05)
    shutil.rmtree(outer, ignore_errors=True)
