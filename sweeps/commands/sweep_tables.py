"""A sweep's tables as `pull` writes them and `sql` queries them, made part by part from a store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
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
from sweeps.errors import ResultError
from sweeps.plan.plan import DatasetFacts, Plan
from sweeps.plan.spending import compute_dollars
from sweeps.results import tables as results
from sweeps.results.pulled import PULLED, stand_alone
from sweeps.results.pulled_rows import describe_file, pulled_rows
from sweeps.results.reader import ResultReader
from sweeps.results.schemas import DOLLARS, OPTIONAL, TableDescription, parse_columns
from sweeps.search.searched_table import SEARCHED, searched_table
from sweeps.spec.model import Spec

if TYPE_CHECKING:
    import pyarrow as pa

_PRICED = 4096
"""Rows of trials that are priced at once."""


@dataclass(frozen=True)
class SweepTables:
    """What the tables of a sweep are made from.

    Attributes:
        spec: The sweep.
        plan: Its plan against the store.
        facts: Of its dataset.
        reader: The store's results.
        trials: Committed rows, as they are stored.
        failures: Failed attempts, likewise.
    """

    spec: Spec
    plan: Plan
    facts: DatasetFacts
    reader: ResultReader
    trials: pa.Table
    failures: pa.Table

    def write(self, name: str, folder: Path) -> tuple[Path, int] | None:
        """Write a table as one Parquet file, whole or not at all.

        Returns:
            The file and its number of rows; None where the sweep has no such table.
        """
        table, path = TABLES[name], folder / f"{name}.parquet"
        parts = (pulled_rows(part, self.spec.name) for part in table.parts(self))
        rows = _write(path, parts, partial(describe_file, name, table.about, facts=self._facts()))
        return None if rows is None else (path, rows)

    def _facts(self) -> dict[str, str]:
        return {
            "sweep": self.spec.name,
            "dataset": self.facts.name,
            "dataset_digest": self.facts.digest,
            "pulled_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "pulled_by": f"spurious-sweeps {version('spurious-sweeps')}",
        }


@contextmanager
def open_sweep_tables(source: SpecSource, store_url: str | None) -> Iterator[SweepTables]:
    """Open the tables of a sweep in its store.

    Raises:
        ResultError: no trial of the sweep, or of its search, has a result, and none has failed.
    """
    with store_session(choose_store_url_of(source, store_url)) as store:
        reader = open_results(store)
        spec, plan = read_spec_and_plan(source, reader)
        note_damaged(plan, source, store_url)
        with count_reads(reader, "reading trials", len(plan.done)):
            trials = results.read_trials(reader, plan.done)
        failures = results.read_failures(reader, [trial.id for trial in plan.with_tried])
        ended = any(search.count().keys() - {"waiting"} for search in plan.searches)
        if plan.facts is None or not (trials.num_rows or failures.num_rows or ended):
            command = format_command("run", source, store_url)
            raise ResultError(f"sweep '{spec.name}' has no finished trial yet; run it: {command}")
        yield SweepTables(spec, plan, plan.facts, reader, trials, failures)


def _iterate_trials(of: SweepTables) -> Iterator[pa.Table]:
    """Yield the trials with their prices, and when the store got them."""
    yield _add_written(_add_dollars(of.trials, of.spec, of.facts), of.reader)


def _add_dollars(trials: pa.Table, spec: Spec, facts: DatasetFacts) -> pa.Table:
    """Add what each trial's annotation costs, by the function and the prices of the report."""
    import pyarrow as pa

    from sweeps.report.trials import price_trials

    names = [column.name for column in parse_columns(DOLLARS)]
    values: dict[str, list[float]] = {name: [] for name in names}
    charged = (spec.prices, spec.select_rule, spec.cost.axis, facts.mask_of, spec.search_rule)
    for batch in trials.to_batches(_PRICED):
        frame = batch.to_pandas()
        compute = compute_dollars(spec, frame.to_dict("records"))
        priced = price_trials(frame, *charged, compute)
        for name in names:
            values[name] += priced[name].tolist()
    place = trials.column_names.index("seconds_total")
    for name in reversed(names):
        trials = trials.add_column(place, name, pa.array(values[name], pa.float64()))
    return trials


def _add_written(trials: pa.Table, reader: ResultReader) -> pa.Table:
    """Add when each result was written to the store, as the store lists it."""
    import pyarrow as pa

    listed = reader.listing.trials
    ids = trials.column("trial_id").to_pylist()
    micros = pa.array([round(listed[trial_id].modified * 1e6) for trial_id in ids], pa.int64())
    return trials.append_column("written_at", micros.cast(pa.timestamp("us", tz="UTC")))


def _iterate_epochs(of: SweepTables) -> Iterator[pa.Table]:
    with count_reads(of.reader, "reading epochs", of.trials.num_rows):
        yield from results.iterate_attempts(of.reader, "epochs", of.trials)


def _iterate_failures(of: SweepTables) -> Iterator[pa.Table]:
    yield of.failures


def _iterate_predictions(of: SweepTables) -> Iterator[pa.Table]:
    """Yield the predictions, with the covariates of their images where the dataset has some."""
    from sweeps.catalogue.covariates import add_covariates, read_covariates

    images = read_covariates(of.reader.store, of.facts.name, of.facts.digest)
    with count_reads(of.reader, "reading predictions", of.trials.num_rows):
        for part in results.iterate_attempts(of.reader, "predictions", of.trials):
            yield add_covariates(part, images)


def _iterate_optional(name: str, of: SweepTables) -> Iterator[pa.Table]:
    having = results.trials_with(of.reader, name, of.trials)
    with count_reads(of.reader, f"reading {name}", having.num_rows):
        yield from results.each_table(of.reader, name, having)


_SEARCHED = TableDescription(
    "a configuration that a search tried in a cell",
    stand_alone(SEARCHED),
    only="with `search`, also while it goes on",
)


def _iterate_searched(of: SweepTables) -> Iterator[pa.Table]:
    if of.plan.searches:
        yield searched_table(of.spec, of.plan, of.reader)


@dataclass(frozen=True)
class PulledTable:
    """A table that `pull` writes.

    Attributes:
        about: What is in it, `sweep` first.
        parts: Yields its rows, some at a time and of one schema, with NaN and budgets as they are
            stored (see `pulled_rows`); yields nothing for a sweep that has no such table.
    """

    about: TableDescription
    parts: Callable[[SweepTables], Iterator[pa.Table]]


TABLES: Mapping[str, PulledTable] = {
    "trials": PulledTable(PULLED["trials"], _iterate_trials),
    "epochs": PulledTable(PULLED["epochs"], _iterate_epochs),
    "failures": PulledTable(PULLED["failures"], _iterate_failures),
    "predictions": PulledTable(PULLED["predictions"], _iterate_predictions),
    **{name: PulledTable(PULLED[name], partial(_iterate_optional, name)) for name in OPTIONAL},
    "searched": PulledTable(_SEARCHED, _iterate_searched),
}
"""Every table that `pull` writes, in this order; `sql`, `tables` and the documents follow."""


def _write(
    path: Path, parts: Iterable[pa.Table], describe: Callable[[pa.Schema], Mapping[str, str]]
) -> int | None:
    """Write tables of one schema as one file; return its number of rows, None without a table."""
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
        writer.add_key_value_metadata(describe(first.schema))
        for part in chain([first], remaining):
            writer.write_table(part)
            rows += part.num_rows
    return rows
