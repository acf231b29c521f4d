"""Locks on files, held with `flock`: the kernel releases them however their holder ends.

The `filelock` library is not used: it has no shared `flock`, it cannot pass a held lock on to a
child process, and it may fall back to a file whose existence is the lock, which outlives a killed
holder. Lock files are never removed while they may be waited for: two processes could then hold
"the same" lock.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from pathlib import Path
from typing import IO

_FIRST_POLL_S = 0.001
_LAST_POLL_S = 0.1
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})


class NoLocks(OSError):
    """The file system of a file has no locks, so that nothing here may rely on it."""

    def __init__(self, number: int, path: str) -> None:
        super().__init__(
            number,
            f"its file system has no locks ({os.strerror(number)}); use a folder on a disk of this "
            "machine (SWEEPS_HOME, SWEEPS_CACHE and RAY_TMPDIR say where)",
            path,
        )


def _flock(file: IO[bytes] | int, kind: int) -> None:
    """Call flock; raises BlockingIOError where another holds it, NoLocks where there are none."""
    try:
        fcntl.flock(file, kind)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        number = file if isinstance(file, int) else file.fileno()
        try:
            path = os.readlink(f"/proc/self/fd/{number}")
        except OSError:  # not on Linux
            path = str(getattr(file, "name", number))
        raise NoLocks(error.errno or errno.ENOLCK, path) from error


def try_lock(file: IO[bytes] | int, *, shared: bool = False) -> bool:
    """Lock an open file if nobody else's lock is in the way; return whether it is locked now.

    The lock belongs to this opening of the file: it ends when every descriptor of it is closed,
    those of forked children and memory maps included.
    """
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        _flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def lock_shared(file: IO[bytes]) -> None:
    """Mark an open file as in use until every descriptor of this opening is closed.

    Waits for a holder of the exclusive lock.
    """
    _flock(file, fcntl.LOCK_SH)


class FileLock:
    """A lock on a file that exists only for it; leaving a `with` block unlocks and closes it.

    Python opens files close-on-exec, so a started program (a Ray daemon, say) does not keep the
    lock unless it is passed the descriptor.
    """

    def __init__(self, path: Path, *, mode: int = 0o600, create: bool = True) -> None:
        """Open the lock file without locking it.

        Args:
            path: The lock file.
            mode: Permissions of a new file, before the umask.
            create: Create a missing file.

        Raises:
            OSError: The file cannot be opened, is a symbolic link, or is missing and not created.
        """
        flags = os.O_RDWR | os.O_NOFOLLOW | (os.O_CREAT if create else 0)
        self._file = os.open(path, flags, mode)

    @classmethod
    def create_locked(cls, path: Path) -> FileLock:
        """Create a lock file that is locked before it appears under its name.

        Raises:
            OSError: The file cannot be created.
        """
        unfinished = path.with_name(f"{path.name}.new")
        lock = cls(unfinished)
        _flock(lock.fileno(), fcntl.LOCK_EX)
        unfinished.rename(path)
        return lock

    def __enter__(self) -> FileLock:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.unlock()  # closing is not enough: a forked child may have a copy
        finally:
            self.close()

    def acquire(self, timeout_s: float = 0.0, *, shared: bool = False) -> bool:
        """Take the lock, waiting at most `timeout_s` seconds; return whether it is held now."""
        deadline = time.monotonic() + timeout_s
        poll_s = _FIRST_POLL_S  # most holders, such as trials that map a dataset, are quick
        while not try_lock(self._file, shared=shared):
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(poll_s, left))
            poll_s = min(2 * poll_s, _LAST_POLL_S)
        return True

    def unlock(self) -> None:
        """Release the lock, also where a child process has a copy of the descriptor."""
        _flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the file; a child process that was passed the descriptor keeps the lock."""
        os.close(self._file)

    def fileno(self) -> int:
        """Return the file's descriptor."""
        return self._file
