"""What all readers share: an index that is read once, its problems, counts and hashes."""

from __future__ import annotations

import hashlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from spurious.data.classes import ImageClass
from spurious.data.records import Record
from spurious.errors import DataError
from spurious.readers.issues import ReaderIssues
from spurious.readers.origin import find_synthetic_origin

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Index:
    """What a release holds, joined; a reader's own index adds its tables.

    Attributes:
        images: Sample id to file, only of images that have every file and row they need.
        origin: Format, options and hashes of tables, as the manifest records them.
        left_out: What was left out, and how many.
        notes: What the reader chose for the user, a sentence each.
    """

    images: Mapping[str, Path]
    origin: Mapping[str, str]
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: Sequence[str] = ()


OptionsT = TypeVar("OptionsT")
IndexT = TypeVar("IndexT", bound=Index)


class FolderReader(ABC, Generic[OptionsT, IndexT]):
    """A released folder as a record source, see `spurious.data.records.RecordSource`.

    The index is read once and travels with the pickled source, so workers do not read it again.

    Attributes:
        name: The dataset's name.
        attribute_names: Its spurious attributes.
        declared_directions: Attributes whose direction the release states instead of its records.
        partial: Whether records may come without a mask, or with boxes of their own.
        classes: At least three classes that each record is of one of; empty for labels alone.
    """

    name: ClassVar[str]
    attribute_names: tuple[str, ...] = ()
    declared_directions: Mapping[str, int] = {}
    partial: bool = False
    classes: Sequence[ImageClass] = ()

    def __init__(self, folder: Path, options: OptionsT) -> None:
        """Take a folder and options; nothing is read yet.

        Args:
            folder: The release.
            options: The reader's options, from `spurious.config.datasets.READERS`.
        """
        self.folder = Path(folder).absolute()  # workers run in other folders
        self.options = options
        self._cached: IndexT | None = None

    @abstractmethod
    def read_index(self, issues: ReaderIssues) -> IndexT:
        """Join files and tables; problems go to `issues`, and the result counts without any."""

    @abstractmethod
    def read_record(self, sample_id: str, path: Path) -> Record:
        """Decode, shrink and return the record of an image of the index, which lies at `path`.

        Raises:
            DataError: Unreadable file, or files that do not fit.
        """

    def load(self, sample_id: str) -> Record:
        """Decode, shrink and return one record.

        Raises:
            DataError: Unknown id, unreadable file, or files that do not fit; names the file.
        """
        path = self.image_path(sample_id)
        try:
            return self.read_record(sample_id, path)
        except DataError as error:
            if sample_id in str(error) or str(path) in str(error):
                raise
            raise DataError(f"{path}: {error}") from error
        except Exception as error:  # whatever a damaged file makes the libraries raise
            raise DataError(
                f"{path}: cannot be read ({type(error).__name__}: {str(error)[:200]}); "
                "restore the file from the release"
            ) from error

    def index(self) -> Sequence[str]:
        """Return sample ids in ascending order.

        Raises:
            DataError: Everything that is wrong with tree and tables, up to 20 problems in full.
        """
        return sorted(self.contents.images)

    def provenance(self) -> Mapping[str, str]:
        """Return release, options, hashes of tables, and how many images and rows were left out."""
        contents = self.contents
        counts = {"images": len(contents.images), **contents.left_out}
        synthetic = find_synthetic_origin(sorted(contents.images.values()))
        return {
            **contents.origin,
            **{what: str(count) for what, count in counts.items()},
            **({} if synthetic is None else {"synthetic": synthetic}),
        }

    @property
    def notes(self) -> Sequence[str]:
        """What the reader chose for the user, a sentence each; reads the index."""
        return self.contents.notes

    @property
    def contents(self) -> IndexT:
        """The index, read when it is first needed."""
        if self._cached is None:
            issues = ReaderIssues()
            try:
                contents = self.read_index(issues)
            except OSError as error:
                issues.add(f"{self.folder}: cannot be read ({error}); check the folder")
            issues.raise_if_any(self.name)
            for what, count in contents.left_out.items():
                if count:
                    _log.warning("%s: %d %s left out", self.name, count, what.replace("_", " "))
            self._cached = contents
        return self._cached

    def image_files(self, sample_id: str) -> Sequence[Path]:
        """Return the files that are an image's own: where one changes, the others stay staged.

        A reader that reads more files for an image than its picture, such as a mask, adds them; of
        a file that nobody names here a change concerns all images.
        """
        return (self.image_path(sample_id),)

    def image_path(self, sample_id: str) -> Path:
        """Return the file of an image; raises DataError for an id that the index does not have."""
        path = self.contents.images.get(sample_id)
        if path is None:
            raise DataError(f"{self.name}: no labelled image '{sample_id[:80]}'")
        return path


def absolute_path(option: str | None) -> Path | None:
    """Return a path option, independent of the folder in which workers run."""
    return None if option is None else Path(option).absolute()


def name_and_hash(path: Path) -> str:
    """Return a table's file name with its SHA-256."""
    with path.open("rb") as file:  # some tables do not fit into memory
        return f"{path.name} sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
