"""Atomic writes: a file appears under its name whole, or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

TEMPORARY: Final = ".tmp"
"""How the names of files end that are being written, which begin with a dot."""


@contextmanager
def open_atomic(
    path: Path, *, durable: bool = False, exclusive: bool = False, mode: int | None = None
) -> Iterator[BinaryIO]:
    """Open a file for writing that replaces `path` when the block ends, unless it raises.

    It is a hidden temporary file in the same folder until then. A killed writer may leave it
    behind; nobody reads it.

    Args:
        path: The file; its folder exists.
        durable: Write file and folder entry to disk, so that they survive a power cut.
        exclusive: Fail where `path` exists, instead of replacing it; needs hard links.
        mode: The file's exact permissions; by default those that the umask leaves.

    Raises:
        FileExistsError: `exclusive`, and `path` exists.
        OSError: The file cannot be written.
    """
    temporary = path.with_name(f".{uuid.uuid4().hex}{TEMPORARY}")
    try:
        creation_mode = 0o666 if mode is None else 0o600  # never wider than `mode`, not even now
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with os.fdopen(os.open(temporary, flags, creation_mode), "wb") as file:
            yield file
            file.flush()
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            if durable:
                os.fsync(file.fileno())
        if exclusive:
            os.link(temporary, path)
        else:
            os.replace(temporary, path)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
    if durable:
        sync(path.parent)


def write_atomic(path: Path, content: bytes, *, durable: bool = False, mode: int) -> None:
    """Write a whole file, as `open_atomic` does."""
    with open_atomic(path, durable=durable, mode=mode) as file:
        file.write(content)


def make_folder_durable(folder: Path) -> None:
    """Make a folder and its parents where they are missing, so that they survive a power cut."""
    if folder.is_dir():
        return
    make_folder_durable(folder.parent)
    folder.mkdir(exist_ok=True)
    sync(folder.parent)


def sync(path: Path) -> None:
    """Write a file's content (its mapped pages too) or a folder's entries to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
