"""Reads tables of images as teams hold them: CSV of any delimiter, JSON Lines, Parquet."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spurious.errors import DataError
from spurious.readers.issues import ReaderIssues
from spurious.readers.tables import read_rows, read_text

NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
"""What Hugging Face's ImageFolder calls a table."""

_DELIMITERS = ",;\t|"
_SPREADSHEETS = (".xlsx", ".xls", ".xlsm", ".ods", ".numbers")


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        where: Table and line, for messages.
        base: Folder that its file names are relative to, as parts of a path below the folder of
            images; "" for that folder itself.
        stem: The table's name without ending, in lower case.
        cells: Text by column; blank where the table has nothing.
    """

    where: str
    base: str
    stem: str
    cells: Mapping[str, str]


@dataclass(frozen=True)
class Table:
    """A table with its columns in their order; names are not blank and differ from each other."""

    path: Path
    columns: Sequence[str]
    rows: Sequence[Row]


def find_tables(folder: Path, files: Sequence[str], named: Sequence[str]) -> list[Path]:
    """Return the tables to read: those that are named, else `NAMES` of the folder or below it.

    Args:
        folder: The folder of images.
        files: Its files, as paths below it.
        named: Tables that an option names, relative to where the command runs or to the folder.

    Raises:
        DataError: A table that does not exist or could be two, or two formats in one folder.
    """
    if named:
        return [_locate(folder, name) for name in named]
    names = [name for name in files if name.rpartition("/")[2] in NAMES]
    top = [name for name in names if "/" not in name] or names
    homes = [name.rpartition("/")[0] for name in top]
    twice = sorted({home for home in homes if homes.count(home) > 1})
    if twice:
        both = [name for name in top if name.rpartition("/")[0] == twice[0]]
        raise DataError(f"{' and '.join(both)} are both tables; name one: --table {both[0]}")
    return [folder / name for name in sorted(top)]


def _locate(folder: Path, name: str) -> Path:
    here, below = Path(name).expanduser().absolute(), folder / name
    if here.exists() and below.exists() and not here.samefile(below):
        raise DataError(f"table {name} is {here} as well as {below}; write the whole path of one")
    path = here if here.exists() else below
    if not path.is_file():
        raise DataError(f"table {name} is neither {here} nor {below}; check its name")
    return path


def read_table(path: Path, folder: Path, issues: ReaderIssues) -> Table:
    """Read one table; bad lines go to `issues`.

    Raises:
        DataError: The file cannot be read at all, has no column, or one twice.
    """
    suffix = path.suffix.lower()
    if suffix in _SPREADSHEETS:
        raise DataError(
            f"{path.name}: spreadsheets are not read; save it as CSV (UTF-8) and name that by "
            "--table"
        )
    read = {".jsonl": _read_json_lines, ".ndjson": _read_json_lines, ".parquet": _read_parquet}
    if suffix == ".json":
        raise DataError(f"{path.name}: JSON is not a table; save it as JSON Lines (.jsonl) or CSV")
    before = issues.count
    lines = list(read.get(suffix, _read_delimited)(path, issues))
    if not lines and issues.count == before:
        raise DataError(f"{path.name}: no rows; expected one for each image")
    home = path.parent.resolve()
    inside = home.is_relative_to(folder.resolve())
    base = home.relative_to(folder.resolve()).as_posix() if inside else ""
    columns = list(dict.fromkeys(name for _, cells in lines for name in cells if name))
    rows = [
        Row(f"{path.name} line {line}", "" if base == "." else base, path.stem.lower(), cells)
        for line, cells in lines
    ]
    return Table(path, columns, rows)


def _read_delimited(path: Path, issues: ReaderIssues) -> Iterator[tuple[int, dict[str, str]]]:
    text = read_text(path)
    if text.startswith("PK\x03\x04"):
        raise DataError(f"{path.name}: a spreadsheet in spite of its name; save it as CSV (UTF-8)")
    first = next((line for line in text.splitlines() if line.strip()), "")
    headers = {mark: next(csv.reader([first], delimiter=mark), []) for mark in _DELIMITERS}
    delimiter = max(_DELIMITERS, key=lambda mark: len(headers[mark]))  # the first of equals
    columns = [name.strip() for name in headers[delimiter] if name.strip()]
    yield from read_rows(path, columns, issues, delimiter)


def _read_json_lines(path: Path, issues: ReaderIssues) -> Iterator[tuple[int, dict[str, str]]]:
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            issues.add(f"{path.name} line {number}: not JSON ({error}); correct the line")
            continue
        if isinstance(value, dict):
            yield number, {name: _to_text(item) for name, item in value.items()}
        else:
            issues.add(f"{path.name} line {number}: not a JSON object; expected columns by name")


def _read_parquet(path: Path, issues: ReaderIssues) -> Iterator[tuple[int, dict[str, str]]]:
    from pyarrow import ArrowException, parquet  # most tables are text

    try:
        table = parquet.ParquetFile(path).read(use_threads=False)
        embedded = [c.name for c in table.schema if "bytes" in str(c.type) and c.name]
        rows = table.to_pylist() if not embedded else []
    except (ArrowException, OSError, ValueError) as error:  # ValueError: texts that are not UTF-8
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path.name}: cannot be read as Parquet ({reason})") from error
    if embedded:
        raise DataError(
            f"{path.name}: images are inside the table ({', '.join(embedded)}), which is not read; "
            "write them as files, and their names into the table"
        )
    for number, row in enumerate(rows, start=1):
        yield number, {name: _to_text(item) for name, item in row.items()}


def _to_text(value: Any) -> str:
    """Return a value as a CSV cell would have it; blank for null and NaN."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return json.dumps(value, default=str)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()
