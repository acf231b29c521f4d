"""Reads the small CSV files that come with releases, with the line number of every row."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from spurious.errors import DataError
from spurious.readers.issues import ReaderIssues

csv.field_size_limit(2**27)  # a mask of many runs is longer than the default of 131,072
_CUT_AT = {32_767: "Excel", 50_000: "Google Sheets", 65_535: "LibreOffice"}
"""The longest cells that spreadsheets keep; they cut longer ones without a word."""

_LAST_NUMBER = 10
"""Characters that are missing as well where the number that was cut in two has been removed."""


def read_rows(
    path: Path, columns: Sequence[str], problems: ReaderIssues, delimiter: str = ","
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line number from 1, cells by column name) of every non-empty row.

    Spaces around names and cells are dropped, a byte-order mark is accepted, empty names at the
    end of the header are nothing, and columns beyond `columns` are yielded too. A row with fewer or
    more cells than the header, or with a cell that a spreadsheet has cut, is reported and left out.

    Args:
        path: A UTF-8 CSV file with a header line; one whose name ends in `.gz` is gzipped.
        columns: Names that the header must have.
        problems: Receives one entry per bad line.
        delimiter: What stands between cells.

    Raises:
        DataError: The file cannot be read, is empty, is not UTF-8, or lacks a column or has it
            twice.
    """
    lines = csv.reader(io.StringIO(read_text(path), newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    try:
        for cells in lines:
            if not any(cell.strip() for cell in cells):
                continue
            if not header:
                header = _header(path, cells, columns)
            elif wrong := _wrong_row(cells, header):
                problems.add(
                    f"{path.name} line {lines.line_num}: {wrong}; restore the line from the release"
                )
            else:
                cells = [cell.strip() for cell in cells]
                yield lines.line_num, dict(zip(header, cells, strict=False))
    except csv.Error as error:
        raise DataError(
            f"{path.name} line {lines.line_num}: not a CSV line ({error}); "
            "restore the file from the release"
        ) from error
    if not header:
        raise DataError(
            f"{path.name}: empty; expected a header with {_quote(columns)}; "
            "restore the file from the release"
        )


def _wrong_row(cells: Sequence[str], header: Sequence[str]) -> str | None:
    """Return what is wrong with a row, or None; empty cells beyond the header are nothing."""
    if len(cells) < len(header) or any(cell.strip() for cell in cells[len(header) :]):
        return f"{len(cells)} cells instead of {len(header)}"
    if max(map(len, cells)) <= min(_CUT_AT) - _LAST_NUMBER:
        return None
    for name, cell in zip(header, cells, strict=False):
        for limit, program in _CUT_AT.items():
            if limit - _LAST_NUMBER < len(cell.lstrip()) <= limit or len(cell) == limit:
                return (
                    f"'{name}' has {len(cell.strip()):,} characters, and {program} cuts a cell at "
                    f"{limit:,}, so its end is missing"
                )
    return None


def read_text(path: Path) -> str:
    """Return a UTF-8 file's text without its byte-order mark.

    Raises:
        DataError: It cannot be read, is not UTF-8, or has zero bytes, as where a disk lost a part.
    """
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        text = content.decode("utf-8-sig")
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(
            f"{path.name}: not a whole gzip file ({error}); get the file again"
        ) from error
    except OSError as error:
        raise DataError(
            f"{path.name}: cannot be read ({error.strerror}); check the path"
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path.name}: not UTF-8 text (byte {error.start}); save it again as UTF-8"
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(f"{path.name} line {line}: zero bytes instead of text; get the file again")
    return text


def _header(path: Path, cells: list[str], columns: Sequence[str]) -> list[str]:
    header = [cell.strip() for cell in cells]
    while len(header) > 1 and not header[-1]:  # `Bbox [x,y,w,h],,,`
        header.pop()
    missing = [column for column in columns if column not in header]
    twice = [column for column in columns if header.count(column) > 1]
    if twice:
        raise DataError(
            f"{path.name} line 1: column {_quote(twice)} is there twice; remove the one that is "
            "not meant"
        )
    if not missing:
        return header
    hint = "restore the file from the release"
    other = next((mark for mark in ";\t|" if mark in header[0]), None)
    if len(header) == 1 and other:
        hint = f"its delimiter looks like {other!r}: save it again with ','"
    raise DataError(
        f"{path.name} line 1: no column {_quote(missing)} in the header "
        f"({_quote(header)[:200]}); {hint}"
    )


def _quote(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
