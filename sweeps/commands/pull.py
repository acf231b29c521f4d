"""`sweeps pull`: write a sweep's committed tables as files on this machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.common.atomic import open_atomic
from cluster.stores.base import Store
from sweeps.commands.context import (
    SpecSource,
    choose_store_url_of,
    format_command,
    note_damaged,
    read_spec_and_plan,
    store_session,
)
from sweeps.commands.counted_reads import count_reads
from sweeps.commands.output import print_json
from sweeps.errors import ResultError
from sweeps.plan.plan import Plan
from sweeps.plan.render import damaged_dicts
from sweeps.results import tables as results
from sweeps.results.schemas import OPTIONAL

if TYPE_CHECKING:
    import pyarrow as pa


def read_tables(store: Store, plan: Plan) -> Mapping[str, pa.Table]:
    """Read the small tables of a sweep; those of images are read separately."""
    with count_reads(store, "reading trials", len(plan.done)) as counted:
        trials = results.read_trials(counted, plan.done)
    with count_reads(store, "reading epochs", trials.num_rows) as counted:
        epochs = results.read_attempts(counted, "epochs", trials)
    return {
        "trials": trials,
        "epochs": epochs,
        "failures": results.read_failures(store, [trial.id for trial in plan.trials]),
    }


def pull(
    source: SpecSource, store_url: str | None, out: Path | None, *, as_json: bool = False
) -> int:
    """Write one Parquet file per table; those of `OPTIONAL` where trials have them.

    Raises:
        ResultError: no trial of the sweep has a result, and none has failed.
    """
    pulled: dict[str, dict[str, Any]] = {}

    def write(folder: Path, name: str, parts: Iterable[pa.Table]) -> None:
        path = folder / f"{name}.parquet"
        rows = _write(path, parts)
        if rows is None:
            return
        pulled[name] = {"path": str(path), "rows": rows}
        if not as_json:
            print(f"{path}: {rows} rows")

    with store_session(choose_store_url_of(source, store_url)) as store:
        spec, plan = read_spec_and_plan(source, store)
        note_damaged(plan, source, store_url)
        tables = dict(read_tables(store, plan))
        if not tables["trials"].num_rows and not tables["failures"].num_rows:
            command = format_command("run", source, store_url)
            raise ResultError(f"sweep '{spec.name}' has no finished trial yet; run it: {command}")
        tables["predictions"] = _read_predictions(store, plan, tables["trials"])
        folder = out or Path(f"{spec.name}-tables")
        folder.mkdir(parents=True, exist_ok=True)
        for name, table in tables.items():
            write(folder, name, [table])
        for name in OPTIONAL:
            having = results.trials_with(store, name, tables["trials"])
            with count_reads(store, f"reading {name}", having.num_rows) as counted:
                write(folder, name, results.each_table(counted, name, having))
        if as_json:
            damaged = damaged_dicts(plan)
            print_json(
                {"sweep": spec.name, "store": store.url, "tables": pulled, "damaged": damaged}
            )
    return 0


def _read_predictions(store: Store, plan: Plan, trials: pa.Table) -> pa.Table:
    """Read the predictions, with the covariates of their images where the dataset has some."""
    from sweeps.catalogue.covariates import add_covariates

    with count_reads(store, "reading predictions", trials.num_rows) as counted:
        predictions = results.read_attempts(counted, "predictions", trials)
    if plan.facts is None:
        return predictions
    return add_covariates(predictions, store, plan.facts.name, plan.facts.digest)


def _write(path: Path, parts: Iterable[pa.Table]) -> int | None:
    """Write tables of one schema as one file, whole or not at all.

    Returns:
        The number of rows; None where no table comes, so that no file is written.
    """
    import pyarrow.parquet as pq

    remaining = iter(parts)
    first = next(remaining, None)
    if first is None:
        return None
    rows = 0
    with (
        open_atomic(path) as file,
        pq.ParquetWriter(file, first.schema, compression="zstd") as writer,
    ):
        for part in chain([first], remaining):
            writer.write_table(part)
            rows += part.num_rows
    return rows
