"""`sweeps pull`: write a sweep's committed tables as files on this machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.common.atomic import open_atomic
from sweeps.commands.context import (
    SpecSource,
    choose_store_url_of,
    format_command,
    note_damaged,
    open_results,
    read_spec_and_plan,
    store_session,
)
from sweeps.commands.counted_reads import count_reads
from sweeps.commands.output import print_json
from sweeps.errors import ResultError
from sweeps.plan.plan import Plan
from sweeps.plan.render import damaged_dicts
from sweeps.results import tables as results
from sweeps.results.reader import ResultReader
from sweeps.results.schemas import OPTIONAL

if TYPE_CHECKING:
    import pyarrow as pa


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
        reader = open_results(store)
        spec, plan = read_spec_and_plan(source, reader)
        note_damaged(plan, source, store_url)
        with count_reads(reader, "reading trials", len(plan.done)):
            trials = results.read_trials(reader, plan.done)
        failures = results.read_failures(reader, [trial.id for trial in plan.trials])
        if not trials.num_rows and not failures.num_rows:
            command = format_command("run", source, store_url)
            raise ResultError(f"sweep '{spec.name}' has no finished trial yet; run it: {command}")
        folder = out or Path(f"{spec.name}-tables")
        folder.mkdir(parents=True, exist_ok=True)
        write(folder, "trials", [trials])
        with count_reads(reader, "reading epochs", trials.num_rows):
            write(folder, "epochs", results.iterate_attempts(reader, "epochs", trials))
        write(folder, "failures", [failures])
        with count_reads(reader, "reading predictions", trials.num_rows):
            write(folder, "predictions", _iterate_predictions(reader, plan, trials))
        for name in OPTIONAL:
            having = results.trials_with(reader, name, trials)
            with count_reads(reader, f"reading {name}", having.num_rows):
                write(folder, name, results.each_table(reader, name, having))
        if as_json:
            damaged = damaged_dicts(plan)
            print_json(
                {"sweep": spec.name, "store": store.url, "tables": pulled, "damaged": damaged}
            )
    return 0


def _iterate_predictions(reader: ResultReader, plan: Plan, trials: pa.Table) -> Iterator[pa.Table]:
    """Yield the predictions, with the covariates of their images where the dataset has some."""
    from sweeps.catalogue.covariates import add_covariates, read_covariates

    facts = plan.facts
    images = None if facts is None else read_covariates(reader.store, facts.name, facts.digest)
    for part in results.iterate_attempts(reader, "predictions", trials):
        yield add_covariates(part, images)


def _write(path: Path, parts: Iterable[pa.Table]) -> int | None:
    """Write tables of one schema as one file, whole or not at all.

    Text that comes as numbers into a dictionary is text for whoever reads the file.

    Returns:
        The number of rows; None where no table comes, so that no file is written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    remaining = iter(parts)
    first = next(remaining, None)
    if first is None:
        return None
    rows = 0
    repeated = [each.name for each in first.schema if not pa.types.is_floating(each.type)]
    options: dict[str, Any] = {"compression": "zstd", "compression_level": 1}
    options |= {"use_dictionary": repeated, "store_schema": False}
    with open_atomic(path) as file, pq.ParquetWriter(file, first.schema, **options) as writer:
        for part in chain([first], remaining):
            writer.write_table(part)
            rows += part.num_rows
    return rows
