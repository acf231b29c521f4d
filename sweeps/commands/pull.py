"""`sweeps pull`: write a sweep's committed tables as files on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cluster.common.wording import count_of
from sweeps.commands.context import SpecSource
from sweeps.commands.output import print_json
from sweeps.commands.sweep_tables import TABLES, open_sweep_tables
from sweeps.plan.render import damaged_dicts


def pull(
    source: SpecSource, store_url: str | None, out: Path | None, *, as_json: bool = False
) -> int:
    """Write one Parquet file per table of `TABLES` that the sweep has.

    Raises:
        ResultError: no trial of the sweep, or of its search, has a result, and none has failed.
    """
    pulled: dict[str, dict[str, Any]] = {}
    with open_sweep_tables(source, store_url) as tables:
        folder = out or Path(f"{tables.spec.name}-tables")
        folder.mkdir(parents=True, exist_ok=True)
        for name in TABLES:
            written = tables.write(name, folder)
            if written is not None:
                path, rows = written
                pulled[name] = {"path": str(path), "rows": rows}
                if not as_json:
                    print(f"{path}: {count_of(rows, 'row')}")
        if as_json:
            print_json(
                {
                    "sweep": tables.spec.name,
                    "store": tables.reader.store.url,
                    "tables": pulled,
                    "damaged": damaged_dicts(tables.plan),
                }
            )
    return 0
