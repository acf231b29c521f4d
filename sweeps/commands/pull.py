"""`sweeps pull`: a sweep's committed tables as files on this machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.common.atomic import open_atomic
from cluster.stores.base import Store
from sweeps.commands.context import SpecSource, opened_store, trials_of, url_of
from sweeps.errors import ResultError
from sweeps.plan.plan import Plan
from sweeps.results import tables as results

if TYPE_CHECKING:
    import pyarrow as pa


def read_tables(store: Store, plan: Plan) -> Mapping[str, pa.Table]:
    """The small tables of a sweep; predictions and embeddings are read apart."""
    trials = results.read_trials(store, plan.done)
    return {
        "trials": trials,
        "epochs": results.read_attempts(store, "epochs", trials),
        "failures": results.read_failures(store, [trial.id for trial in plan.trials]),
    }


def pull(source: SpecSource, store_url: str | None, out: Path | None) -> int:
    """`sweeps pull`: one Parquet file per table; embeddings where a trial has them.

    Raises:
        ResultError: no trial of the sweep has a result, nor has one failed.
    """
    with opened_store(url_of(source, store_url)) as store:
        spec, plan = trials_of(source, store)
        tables = dict(read_tables(store, plan))
        if not tables["trials"].num_rows and not tables["failures"].num_rows:
            raise ResultError(f"sweep '{spec.name}' has no finished trial yet; run it first")
        tables["predictions"] = results.read_attempts(store, "predictions", tables["trials"])
        folder = out or Path(f"{spec.name}-tables")
        folder.mkdir(parents=True, exist_ok=True)
        for name, table in tables.items():
            _write(folder / f"{name}.parquet", [table])
        having = results.with_embeddings(store, tables["trials"])
        _write(folder / "embeddings.parquet", results.each_embeddings(store, having))
    return 0


def _write(path: Path, parts: Iterable[pa.Table]) -> None:
    """Write tables of one schema as one file; no file where there is no table."""
    import pyarrow.parquet as pq

    remaining = iter(parts)
    first = next(remaining, None)
    if first is None:
        return
    rows = 0
    with (
        open_atomic(path) as file,
        pq.ParquetWriter(file, first.schema, compression="zstd") as writer,
    ):
        for part in chain([first], remaining):
            writer.write_table(part)
            rows += part.num_rows
    print(f"{path}: {rows} rows")
