"""Finds the files of the COVID-19 Radiography Database and reads its workbooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from spurious.config.releases import COVID_CLASSES
from spurious.errors import DataError
from spurious.readers.files import find_files
from spurious.readers.issues import ReaderIssues
from spurious.readers.xlsx import read_sheet

INSIDE = "COVID-19_Radiography_Dataset"
"""The folder in the archive; a release is taken with and without it."""

_FIELDS = ("FILE NAME", "URL")


@dataclass(frozen=True)
class Film:
    """Files of one film; `mask` is None in old releases, which had none."""

    kind: str
    image: Path
    mask: Path | None


def find_home(folder: Path) -> Path:
    """Return the folder that holds the classes."""
    return folder / INSIDE if (folder / INSIDE).is_dir() else folder


def find_films(home: Path, kinds: Sequence[str], issues: ReaderIssues) -> dict[str, Film]:
    """Return the films of some classes by file stem."""
    films: dict[str, Film] = {}
    for kind in kinds:
        masks = {path.stem.casefold(): path for path in _find(home, f"{kind}/masks", issues)}
        images = _find(home, f"{kind}/images", issues) or _find(home, kind, issues)
        for path in images:
            if path.stem in films:
                issues.add(
                    f"{path.relative_to(home)}: second film of that name; the first is "
                    f"{films[path.stem].image.relative_to(home)}: rename one"
                )
                continue
            mask = masks.pop(path.stem.casefold(), None)
            films[path.stem] = Film(kind, path, mask)
        if not images and not issues.count:
            issues.add(
                f"{home}: no {kind}/images/{kind}-1.png or the like; point to the folder that "
                f"holds {', '.join(COVID_CLASSES)} as released"
            )
        if masks:
            first = min(masks.values())
            issues.add(
                f"{len(masks)} masks of {kind} have no film ({first.name} the first); restore the "
                "release"
            )
    return films


def read_sources(
    home: Path, kinds: Sequence[str], issues: ReaderIssues
) -> tuple[dict[str, str], list[Path]]:
    """Return where each film is from, by its name in lower case, and the workbooks read.

    The workbooks spell names in another case than the files (NORMAL-1 for Normal-1).
    """
    sources: dict[str, str] = {}
    books = [home / f"{kind}.metadata.xlsx" for kind in kinds]
    books = [book for book in books if book.is_file()]
    for book in books:
        try:
            for _, cells in read_sheet(book, _FIELDS):
                name = cells["FILE NAME"].casefold().removesuffix(".png")
                if name:
                    sources[name] = cells["URL"]
        except DataError as error:
            issues.add(str(error))
    return sources, books


def count_without(films: Mapping[str, Film], sources: Mapping[str, str]) -> int:
    """Return how many films no workbook names."""
    return sum(name.casefold() not in sources for name in films)


def _find(home: Path, inside: str, issues: ReaderIssues) -> list[Path]:
    return list(find_files(home, inside, 0, (".png",), issues))
