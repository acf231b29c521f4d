"""`sweeps tables`: print what is in the tables of `pull`, `report` and `evaluate`."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Iterator, Sequence

from sweeps.catalogue.exported.tables import EVALUATION_TABLES
from sweeps.commands.output import print_json
from sweeps.commands.sweep_tables import TABLES
from sweeps.errors import SweepError
from sweeps.report.tables import REPORT_TABLES
from sweeps.results.schemas import TableDescription

_WIDTH = 100


def described_tables() -> list[tuple[str, str, TableDescription]]:
    """Return the command, the name and the description of every table that users get.

    No name stands for two tables.
    """
    pulled = [("sweeps pull", name, of.about) for name, of in TABLES.items()]
    reported = [("sweeps report", name, of) for name, of in REPORT_TABLES.items()]
    scored = [("sweeps evaluate", name, of) for name, of in EVALUATION_TABLES.items()]
    return [*pulled, *reported, *scored]


def show_tables(names: Sequence[str], *, as_json: bool = False) -> int:
    """Print the columns of some tables, or of all.

    Raises:
        SweepError: a name that no table has.
    """
    known = {name: (command, of) for command, name, of in described_tables()}
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known)}"
            raise SweepError(f"no table '{name}': {hint}")
    chosen = {name: known[name] for name in names or known}
    if as_json:
        print_json({"tables": {name: _as_dict(*of) for name, of in chosen.items()}})
    else:
        print("\n\n".join("\n".join(_describe(name, *of)) for name, of in chosen.items()))
    return 0


def _as_dict(command: str, of: TableDescription) -> dict[str, object]:
    columns = [
        {"name": each.name, "type": each.type, "unit": each.unit, "description": each.meaning}
        for each in (*of.columns, *of.families)
    ]
    return {"written_by": command, "row": of.row, "only": of.only, "columns": columns}


def _describe(name: str, command: str, of: TableDescription) -> Iterator[str]:
    only = f"; of sweeps {of.only}" if of.only else ""
    yield f"{name}.parquet ({command}{only})"
    yield f"one row: {of.row}"
    columns = (*of.columns, *of.families)
    names, types, units = (
        max(len(str(getattr(each, part))) for each in columns) for part in ("name", "type", "unit")
    )
    for each in columns:
        head = f"  {each.name:<{names}}  {each.type:<{types}}  {each.unit:<{units}}  "
        yield from textwrap.wrap(
            each.meaning,
            max(_WIDTH, len(head) + 40),
            initial_indent=head,
            subsequent_indent=" " * len(head),
            break_on_hyphens=False,
        )
