"""Reads the first sheet of an Excel workbook as rows of text.

A workbook is a ZIP archive of XML parts (ECMA-376). Only text is needed of the tables that come
with releases, so formulas, dates and styles are not looked at.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

from spurious.errors import DataError

_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_SHEET, _STRINGS = "xl/worksheets/sheet1.xml", "xl/sharedStrings.xml"
_LARGEST = 64 * 2**20
"""Bytes of an unpacked part; a forged archive could unpack to any size."""

_PLACE = re.compile(r"([A-Z]{1,3})[0-9]+", re.ASCII)


def read_sheet(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (row number from 1, cells by column name) of every row under the header.

    Args:
        path: A `.xlsx` file, whose first row is the header.
        columns: Names that it must have, whatever their case and the spaces around them; those of
            the cells are spelled like these.

    Raises:
        DataError: Not a workbook, damaged, or without a column; names the file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            strings = _read_strings(archive)
            sheet = _parse(archive, _SHEET)
    except DataError as error:
        raise DataError(f"{path.name}: {error}") from error
    except Exception as error:  # a damaged archive can fail in any way
        raise DataError(
            f"{path.name}: cannot be read as an Excel workbook ({error}); restore the file from "
            "the release"
        ) from error
    names: dict[int, str] = {}
    known = {column.casefold(): column for column in columns}
    for number, row in enumerate(sheet.iter(f"{_MAIN}row"), start=1):
        cells = dict(_read_cells(row, strings))
        if names:
            yield number, {name: cells.get(place, "") for place, name in names.items()}
            continue
        names = {
            place: known[cell.casefold()]
            for place, cell in cells.items()
            if cell.casefold() in known
        }
        missing = [column for column in columns if column not in names.values()]
        if missing:
            raise DataError(
                f"{path.name}: no column {', '.join(missing)} in its first row "
                f"({', '.join(cells.values())[:200]}); restore the file from the release"
            )


def _read_strings(archive: zipfile.ZipFile) -> list[str]:
    if _STRINGS not in archive.namelist():
        return []
    return [_join_text(item) for item in _parse(archive, _STRINGS).iter(f"{_MAIN}si")]


def _read_cells(row: ElementTree.Element, strings: Sequence[str]) -> Iterator[tuple[int, str]]:
    for place, cell in enumerate(row.iter(f"{_MAIN}c")):
        match = _PLACE.fullmatch(cell.get("r", ""))
        value = cell.findtext(f"{_MAIN}v") or ""
        if cell.get("t") == "s":
            value = strings[int(value)]
        elif cell.get("t") == "inlineStr":
            value = _join_text(cell)
        yield _column(match[1]) if match else place, value.strip()


def _column(letters: str) -> int:
    number = 0
    for letter in letters:
        number = 26 * number + ord(letter) - ord("A") + 1
    return number - 1


def _join_text(item: ElementTree.Element) -> str:
    return "".join(text.text or "" for text in item.iter(f"{_MAIN}t"))


def _parse(archive: zipfile.ZipFile, part: str) -> ElementTree.Element:
    size = archive.getinfo(part).file_size
    if size > _LARGEST:
        raise DataError(f"{part} has {size} bytes, more than the {_LARGEST} that are read")
    text = archive.read(part)
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise DataError(f"{part} declares entities, which a workbook never does")
    return ElementTree.fromstring(text)  # noqa: S314 (no entities, and bounded)
