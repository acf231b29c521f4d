"""`sweeps sql`: query a sweep's tables with DuckDB."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.common.wording import count_of
from sweeps.commands.context import SpecSource
from sweeps.commands.output import note, print_json
from sweeps.commands.query_output import (
    print_csv,
    print_text,
    rows_for_json,
    write_parquet,
)
from sweeps.commands.sweep_tables import TABLES, SweepTables, open_sweep_tables
from sweeps.errors import ResultError, SweepError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection, DuckDBPyRelation

TEXT, CSV, JSON = "text", "csv", "json"
"""How rows are printed."""
_MISSING = re.compile(r"Table with name (\w+) does not exist")


def sql(
    query: str,
    source: SpecSource,
    store_url: str | None,
    *,
    form: str = TEXT,
    parquet: Path | None = None,
) -> int:
    """Run one query over the tables of `TABLES`; only those that it names are made.

    Args:
        query: One statement that returns rows, in DuckDB's SQL.
        source: The sweep.
        store_url: Its store.
        form: How rows are printed: `TEXT`, `CSV` or `JSON`.
        parquet: A file to write instead.

    Raises:
        SweepError: the query cannot be run.
        ResultError: the sweep has no results, or no table of a name.
    """
    with (
        tempfile.TemporaryDirectory(prefix="sweeps-sql-") as folder,
        _connect(Path(folder)) as connection,
    ):
        _check_query(connection, query)
        with open_sweep_tables(source, store_url) as tables:
            sweep, store = tables.spec.name, tables.reader.store.url
            with _explain_errors():
                relation = _bind(connection, query, tables, Path(folder))
        with _explain_errors():
            _show(relation, sweep, store, form, parquet)
    return 0


def _show(
    relation: DuckDBPyRelation, sweep: str, store: str, form: str, parquet: Path | None
) -> None:
    reader = relation.to_arrow_reader()
    if parquet is not None:
        rows = write_parquet(reader, parquet)
        print(f"{parquet}: {count_of(rows, 'row')}")
    elif form == CSV:
        print_csv(reader)
    elif form == JSON:
        named = zip(relation.columns, relation.types, strict=True)
        columns = [{"name": name, "type": str(kind)} for name, kind in named]
        rows_of = rows_for_json(reader)
        print_json({"sweep": sweep, "store": store, "columns": columns, "rows": rows_of})
    elif not print_text(reader):
        note("there are more rows: --csv, --json and --parquet FILE give all")


@contextmanager
def _connect(folder: Path) -> Iterator[DuckDBPyConnection]:
    """Open a database in memory that fetches no extension, with times in UTC."""
    import duckdb

    options: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "temp_directory": str(folder / "spilled"),
    }
    with closing(duckdb.connect(config=options)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def _check_query(connection: DuckDBPyConnection, query: str) -> None:
    """Refuse what is not one statement that returns rows, before the store is read.

    Raises:
        SweepError: it is not.
    """
    import duckdb

    with _explain_errors():
        kinds = [statement.type for statement in connection.extract_statements(query)]
    if len(kinds) != 1:
        raise SweepError(f"the query has {len(kinds)} statements; expected one SELECT")
    if kinds != [duckdb.StatementType.SELECT]:
        raise SweepError(
            f"the query is a {kinds[0].name}; expected a SELECT, whose rows --parquet FILE writes"
        )


def _bind(
    connection: DuckDBPyConnection, query: str, tables: SweepTables, folder: Path
) -> DuckDBPyRelation:
    """Return a query's relation, after the tables that it lacks were made, one after the other.

    DuckDB itself says which: names below WITH, in quotes and in capitals are told apart.
    """
    import duckdb

    for _ in TABLES:
        try:
            return connection.sql(query)
        except duckdb.CatalogException as error:
            match = _MISSING.search(str(error))
            name = match[1].lower() if match else ""
            if name not in TABLES:
                raise
        _add_view(connection, tables, name, folder)
    return connection.sql(query)


def _add_view(connection: DuckDBPyConnection, tables: SweepTables, name: str, folder: Path) -> None:
    written = tables.write(name, folder)
    if written is None:
        raise ResultError(
            f"sweep '{tables.spec.name}' has no table {name}: only trials that ran "
            f"{TABLES[name].about.only} have one"
        )
    path = str(written[0]).replace("'", "''")
    connection.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet('{path}')")  # noqa: S608


@contextmanager
def _explain_errors() -> Iterator[None]:
    """Raise DuckDB's errors as one line that says where tables and columns are described."""
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        message = " ".join(str(error).split())
        raise SweepError(
            f"the query failed: {message} (tables: {', '.join(TABLES)}; `sweeps tables` describes "
            "their columns)"
        ) from None
