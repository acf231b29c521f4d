"""Finds the images of a release by name, and one of several tables."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from spurious.errors import DataError
from spurious.readers.files import find_files
from spurious.readers.issues import ReaderIssues


def find_named(
    folder: Path,
    places: Sequence[tuple[str, int]],
    suffixes: Collection[str],
    issues: ReaderIssues,
    *,
    example: str,
) -> dict[str, Path]:
    """Return the files of some folders by stem; the same name twice is reported.

    Args:
        folder: The release.
        places: Folders in it, each with the folders between it and the files.
        suffixes: Endings in lower case, with the dot; "" for files without one.
        issues: Receives what cannot be taken, and that a file is missing.
        example: Where a file of the release should be, for that message.
    """
    files: dict[str, Path] = {}
    before = issues.count
    for inside, depth in places:
        for path in find_files(folder, inside, depth, suffixes, issues):
            name = path.stem if path.suffix.lower() in suffixes and path.suffix else path.name
            if name in files:
                issues.add(
                    f"{path.relative_to(folder)}: second file of that image; the first is "
                    f"{files[name].relative_to(folder)}: remove one"
                )
            else:
                files[name] = path
    if not files and issues.count == before:
        issues.add(f"{folder}: no {example}; point to the folder that holds it as released")
    return files


def find_table(folder: Path, chosen: Path | None, names: Sequence[str], option: str) -> Path:
    """Return the chosen file, or the first of `names` that the folder has.

    Raises:
        DataError: None is there, or a link leaves the folder.
    """
    if chosen is not None:
        return chosen
    for name in names:
        path = folder / name
        if path.is_file():
            if not path.resolve().is_relative_to(folder.resolve()):
                raise DataError(
                    f"{name}: a link that leaves the folder; name its target with '{option}'"
                )
            return path
    raise DataError(
        f"{folder}: no {' or '.join(names)}; restore it from the release, or name it with "
        f"'{option}'"
    )
