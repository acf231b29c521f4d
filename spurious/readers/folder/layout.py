"""Finds the files of a folder, and what their places say: names, splits, classes.

Names of tables are only ever looked up among the files that were found, and never opened as they
are written, so a table cannot point elsewhere.
"""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from spurious.readers.images import IMAGE_SUFFIXES
from spurious.readers.issues import ReaderIssues

MASK_SUFFIXES = (".nii.gz", ".nii", *IMAGE_SUFFIXES)
SPLIT_WORDS: Mapping[str, str] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Words for splits, as folders and cells have them."""

_NOT_IMAGES = (
    *(".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".parquet", ".xlsx", ".xls", ".ods"),
    *(".md", ".pdf", ".html", ".xml", ".yaml", ".yml", ".zip", ".gz", ".tar", ".py", ".ipynb"),
    *(".db", ".ini", ".log", ".pkl", ".npy", ".npz", ".docx", ".nii", ".bak"),
)
_PASSED_OVER = ("__MACOSX", "Thumbs.db")
_PLAIN = ("images", "image", "img", "imgs", "data")
"""Folders that say nothing about what is in them."""


def scan_folder(folder: Path, issues: ReaderIssues) -> list[str]:
    """Return all files below a folder as paths with `/`, in ascending order.

    Names that begin with a dot and what macOS and Windows leave behind are passed over.

    Args:
        folder: Where.
        issues: Receives links that leave the folder or lead nowhere, links to folders, and what
            cannot be read.
    """
    if not folder.is_dir():
        issues.add(f"{folder}: not a folder; name the folder that holds the images")
        return []
    return sorted(_walk(folder, "", folder.resolve(), issues))


def _walk(parent: Path, inside: str, home: Path, issues: ReaderIssues) -> Iterator[str]:
    try:
        entries = sorted(os.scandir(parent), key=lambda entry: entry.name)
    except OSError as error:
        issues.add(f"{inside or parent}: cannot be listed ({error.strerror}); check it")
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.name in _PASSED_OVER:
            continue
        name = f"{inside}{entry.name}"
        if entry.is_symlink():
            problem = _find_link_problem(Path(entry.path), home)
            if problem:
                issues.add(f"{name}: {problem}")
                continue
        if entry.is_dir():
            yield from _walk(Path(entry.path), f"{name}/", home, issues)
        elif not entry.is_file():
            issues.add(f"{name}: not a file; remove it or restore it")  # a pipe blocks its reader
        else:
            yield name


def _find_link_problem(path: Path, home: Path) -> str | None:
    if not path.exists():
        return "a link that leads nowhere or in a circle; copy the file in its place"
    if path.is_dir():
        return "a link to a folder, which is not followed; move the folder in its place"
    if not path.resolve().is_relative_to(home):
        return "a link that leaves the folder; copy the file in its place"
    return None


def is_image_name(name: str) -> bool:
    """Return whether a file may be an image: by its ending, or a DICOM file without a known one."""
    lower = name.rpartition("/")[2].lower()
    if lower.endswith(IMAGE_SUFFIXES):
        return True
    stem = lower.replace(".", "")
    return "." not in lower or (stem.isdigit() and not lower.endswith(_NOT_IMAGES))


def is_below(name: str, folder: str) -> bool:
    """Return whether a path has a folder of that name (or path of names) above its file."""
    return f"/{folder.strip('/')}/" in f"/{name}"


def strip_ending(name: str) -> str:
    """Remove the ending of an image or mask file; other dots belong to the name."""
    lower = name.lower()
    ending = next((ending for ending in MASK_SUFFIXES if lower.endswith(ending)), "")
    return name[: len(name) - len(ending)]


def split_of_place(name: str) -> str | None:
    """Return the split that one of a path's folders names, or None; the innermost counts."""
    parts = name.lower().split("/")[:-1]
    return next((SPLIT_WORDS[part] for part in reversed(parts) if part in SPLIT_WORDS), None)


def class_of_place(name: str) -> str | None:
    """Return the innermost folder of a path that is neither a split nor a plain word, or None."""
    parts = name.split("/")[:-1]
    skipped = (*SPLIT_WORDS, *_PLAIN)
    return next((part for part in reversed(parts) if part.lower() not in skipped), None)


class NameIndex:
    """Looks up files by how tables write them: with or without folders, ending and exact case."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = sorted(names)
        self._by_key: list[Mapping[str, Sequence[str]]] = []
        for key in (_whole, strip_ending, _base, _base_stem, _folded, _folded_base):
            table: dict[str, list[str]] = defaultdict(list)
            for name in self.names:
                table[key(name)].append(name)
            self._by_key.append(dict(table))

    def find(self, written: str, base: str = "") -> Sequence[str]:
        """Return the files that a written name may mean: one where it is found.

        The most exact way to read the name that gives any file counts: in `base` before the whole
        folder, as written before another ending, a path before a bare name, exact case before any.

        Args:
            written: A cell with `/` between folders, of which `is_safe` is true.
            base: Folder that it is relative to.
        """
        written = written.removeprefix("./")
        paths = [f"{base}/{written}", written] if base else [written]
        whole, stems, bases, base_stems, folded, folded_base = self._by_key
        for path in paths:
            for table, key in ((whole, path), (stems, path), (stems, strip_ending(path))):
                if key in table:
                    return table[key]
        bare = "/" not in written
        for table, key, applies in (
            (bases, written, bare),
            (base_stems, strip_ending(written), bare),
            (folded, _folded(written), True),
            (folded_base, _folded_base(written), bare),
        ):
            if applies and key in table:
                return table[key]
        return ()


def is_safe(written: str) -> bool:
    """Return whether a written name stays below its folder: not absolute, without `..`."""
    parts = written.split("/")
    return ".." not in parts and bool(parts[0]) and parts[0][1:] != ":"


def _whole(name: str) -> str:
    return name


def _base(name: str) -> str:
    return name.rpartition("/")[2]


def _base_stem(name: str) -> str:
    return strip_ending(_base(name))


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", strip_ending(name)).casefold()  # macOS stores NFD


def _folded_base(name: str) -> str:
    return _folded(_base(name))
