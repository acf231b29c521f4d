"""What a part's records depend on, in one hash: files, options and code.

Only names, sizes and times of files are read. The files of a part's images decide over that part
alone; every other file below the source's folders (tables, and whatever a reader did not say it
reads for an image) decides over all parts.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from functools import lru_cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from spurious.data.records import RecordSource
from spurious.readers.base import FolderReader

_FORMAT = 1
_PACKAGES = ("spurious", "cluster.datasets", "sweeps.staging")
_LIBRARIES = ("numpy", "scipy", "pillow", "opencv-python-headless", "pydicom", "pyarrow")

State = tuple[int, int]
"""Size in bytes and time of the last change in ns."""


@dataclass(frozen=True)
class Files:
    """The files of a source.

    Attributes:
        of_image: Path to state of each image's own files, by id.
        remaining: Path to state of the rest.
    """

    of_image: Mapping[str, Mapping[str, State]]
    remaining: Mapping[str, State]

    def size_of(self, sample_id: str) -> int:
        """Return the bytes of an image's own files."""
        return sum(size for size, _ in self.of_image[sample_id].values())


def list_files(source: RecordSource) -> Files | None:
    """List the files of a reader's folders; None for a source that is not a reader.

    Its folders and files are all paths that it holds, and those that its options name.
    """
    if not isinstance(source, FolderReader):
        return None
    remaining: dict[str, State] = {}
    options = _options_of(source)
    named = [Path(value).absolute() for value in options.values() if isinstance(value, str)]
    held = [value for value in vars(source).values() if isinstance(value, Path)]
    for top in dict.fromkeys([*held, *named]):
        remaining.update(_scan(top))
    of_image: dict[str, dict[str, State]] = {}
    for sample_id in source.index():
        paths = [str(path) for path in source.image_files(sample_id)]
        of_image[sample_id] = {path: remaining.get(path) or _state(path) for path in paths}
    for files in of_image.values():
        for path in files:
            remaining.pop(path, None)
    return Files(of_image, remaining)


def fingerprint_parts(
    source: RecordSource,
    files: Files | None,
    parts: Sequence[Sequence[str]],
    digest: str | None,
) -> list[str | None]:
    """Return a SHA-256 (hex) for each part; None for all where the source may read anything.

    Args:
        source: A reader or generator.
        files: See `list_files`.
        parts: Ids of each part.
        digest: A generator's digest.
    """
    if files is None and digest is None:
        return [None] * len(parts)
    common = [
        _FORMAT,
        fingerprint_code(),
        type(source).__qualname__,
        _options_of(source),
        digest,
        [] if files is None else sorted(files.remaining.items()),
    ]
    root = _hash(common)
    return [
        _hash([root, list(ids), [] if files is None else [files.of_image[i] for i in ids]])
        for ids in parts
    ]


def _options_of(source: RecordSource) -> dict[str, Any]:
    options: Any = getattr(source, "options", None)
    if not is_dataclass(options) or isinstance(options, type):
        return {}
    return asdict(options)


@lru_cache(maxsize=1)
def fingerprint_code() -> str:
    """Return a hash of the code that makes records and shards, and of its libraries' versions."""
    sha = hashlib.sha256()
    for package in _PACKAGES:
        for folder in import_module(package).__path__:
            for path in sorted(Path(folder).rglob("*.py")):
                sha.update(path.name.encode() + path.read_bytes())
    sha.update(repr([version(library) for library in _LIBRARIES]).encode())
    return sha.hexdigest()


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, default=str, sort_keys=True).encode()).hexdigest()


def _scan(top: Path) -> Iterator[tuple[str, State]]:
    """Yield path and state of a file, or of all files below a folder; links are followed once."""
    pending, seen = [str(top)], set[tuple[int, int]]()
    while pending:
        path = pending.pop()
        try:
            entries = list(os.scandir(path))
            status = os.stat(path)
        except NotADirectoryError:
            yield path, _state(path)
            continue
        except OSError:  # it names no file, or is gone: reading it says so
            continue
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        for entry in entries:
            if entry.is_dir():
                pending.append(entry.path)
            else:
                yield entry.path, _state(entry.path)


def _state(path: str) -> State:
    try:
        status = os.stat(path)
    except OSError:
        return (-1, -1)
    return status.st_size, status.st_mtime_ns
