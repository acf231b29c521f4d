"""Finds the files of a released folder, whatever else lies in it."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from spurious.readers.issues import ReaderIssues


def find_files(
    folder: Path, inside: str, depth: int, suffixes: Collection[str] | None, issues: ReaderIssues
) -> Iterator[Path]:
    """Yield the readable files `depth` folders below `folder / inside`, in ascending order.

    Names are only ever found here and never built from a table, so a table cannot point elsewhere.
    Names that begin with a dot are passed over (companions that macOS leaves behind).

    Args:
        folder: The release.
        inside: Its folder.
        depth: Folders between that and the files.
        suffixes: Endings in lower case, with the dot; files have them in any case. None: all files.
        issues: Receives links that leave the folder or lead nowhere, and what cannot be read.
    """
    parents = [folder / inside]
    for _ in range(depth):
        children = [child for parent in parents for child in _list(parent, folder, issues)]
        parents = [child for child in children if not _leads_nowhere(child, folder, issues)]
        parents = [child for child in parents if child.is_dir()]
    home = folder.resolve()
    for parent in parents:
        for path in _list(parent, folder, issues):
            if suffixes is not None and path.suffix.lower() not in suffixes:
                continue
            if _leads_nowhere(path, folder, issues):
                continue
            problem = _find_problem(path, home)
            if problem:
                issues.add(f"{path.relative_to(folder)}: {problem}")
            else:
                yield path


def _list(parent: Path, folder: Path, issues: ReaderIssues) -> list[Path]:
    try:
        return sorted(child for child in parent.iterdir() if not child.name.startswith("."))
    except FileNotFoundError:
        return []  # the reader says what is missing
    except OSError as error:
        issues.add(
            f"{parent.relative_to(folder)}: cannot be listed ({error.strerror}); "
            "check the path and its permissions"
        )
        return []


def _leads_nowhere(path: Path, folder: Path, issues: ReaderIssues) -> bool:
    if not path.is_symlink() or path.exists():
        return False
    issues.add(
        f"{path.relative_to(folder)}: a link that leads nowhere or in a circle; "
        "copy the file in its place"
    )
    return True


def _find_problem(path: Path, home: Path) -> str | None:
    if not path.resolve().is_relative_to(home):
        return "a link that leaves the folder; copy the file in its place"
    if not path.is_file():  # a pipe would block whoever opens it
        return "not a file; restore it from the release"
    if not os.access(path, os.R_OK):
        return "cannot be read (Permission denied); check its permissions"
    return None
