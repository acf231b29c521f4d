"""The verbs `list`, `tables` and `sql`: their rows of the table of verbs, and their arguments."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sweeps.commands.arguments import add_spec, add_store
from sweeps.commands.verb import Verb

TABLE_VERBS: Sequence[Verb] = (
    Verb(
        "list",
        "results",
        "list the sweeps that a store knows by name",
        "sweeps list --store quickstart-store",
        "Counts the results of each sweep's last plan as the store lists them, and reads none. "
        "`report`, `pull` and the other verbs take these names.",
        {
            "store": "URL of the store",
            "sweeps": "list, that with the newest result first, of name, dataset (name and "
            "digest), cells, trials, done, last_result_at (ISO 8601, or null), has_report",
        },
    ),
    Verb(
        "tables",
        "results",
        "describe the columns of all tables",
        "sweeps tables trials epochs",
        "Lists every table of `pull`, `report` and `evaluate`: what a row is, and of each column "
        "its type, unit and meaning. A name with NAME in it stands for a column per spurious "
        "attribute, class or covariate of the dataset. It reads no store.",
        {
            "tables": "by name: written_by, row (what one is), only (which sweeps have it), and "
            "columns, a list of name, type, unit, description",
        },
    ),
    Verb(
        "sql",
        "results",
        "query a sweep's tables with DuckDB",
        'sweeps sql "SELECT method, avg(test_robust_auroc) FROM trials GROUP BY ALL" quickstart',
        "Runs one SELECT over the tables of `pull`; those that the query names are written to a "
        "temporary folder first. `sweeps tables` describes their columns. Without --csv, --json or "
        "--parquet the first 1,000 rows are printed in aligned columns, numbers with six digits.",
        {
            "sweep": "name of the sweep",
            "store": "URL of the store",
            "columns": "list of name and type, in DuckDB's words",
            "rows": "list of rows, each a list of values in the order of the columns; numbers that "
            "are not finite are null",
        },
    ),
)


def _add_list(parser: argparse.ArgumentParser) -> None:
    add_store(parser, "SWEEPS_STORE, else the embedded server")


def _add_tables(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="TABLE", help="tables; default: all")


def _add_sql(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("query", metavar="QUERY", help="one SELECT, in DuckDB's SQL")
    add_spec(parser, "the sweep's YAML, or the name of a sweep that was run")
    parser.add_argument("--csv", action="store_true", help="print CSV")
    parser.add_argument("--parquet", type=Path, metavar="FILE", help="write a Parquet file")


TABLE_ARGUMENTS: Mapping[str, Callable[[argparse.ArgumentParser], None]] = {
    "list": _add_list,
    "tables": _add_tables,
    "sql": _add_sql,
}
"""What each of them takes."""
