"""`sweeps pull` and `sweeps report`: from committed results to files on this machine."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.manifest import find_manifest
from cluster.store import Store
from spurious.config import GaussianSquares
from sweeps import results
from sweeps.commands import SpecSource, opened_store, trials_of, url_of
from sweeps.errors import ResultError
from sweeps.plan import Plan
from sweeps.plan_text import cell_dict
from sweeps.published import PublishedTable, find
from sweeps.spec import GeneratorDataset, Spec

if TYPE_CHECKING:
    import pyarrow as pa

    from sweeps.report.tables import ReportInput


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
    """Tables of one schema as one file, whole or not at all; no file where there is no table."""
    import pyarrow.parquet as pq

    unfinished = path.with_suffix(f".{os.getpid()}.tmp")
    rows, writer = 0, None
    try:
        for part in parts:
            writer = writer or pq.ParquetWriter(unfinished, part.schema, compression="zstd")
            writer.write_table(part)
            rows += part.num_rows
        if writer is None:
            return
        writer.close()
        os.replace(unfinished, path)
    finally:
        if writer is not None:
            writer.close()
        unfinished.unlink(missing_ok=True)
    print(f"{path}: {rows} rows")


def report(source: SpecSource, store_url: str | None, out: Path | None) -> int:
    """`sweeps report`: the report's files here, and under `sweeps/NAME/report/` in the store."""
    from sweeps.report.build import build_report

    with opened_store(url_of(source, store_url)) as store:
        spec, plan = trials_of(source, store)
        given = report_input(spec, plan, store)
        files = build_report(given, out or Path(f"{spec.name}-report"))
        for path in files.paths:
            store.put(f"sweeps/{spec.name}/report/{path.name}", path.read_bytes())
    for path in files.paths:
        print(path)
    return 0


def report_input(spec: Spec, plan: Plan, store: Store) -> ReportInput:
    """Everything that a report is made from."""
    from sweeps.report.tables import PlannedTrial, Provenance, ReportInput

    facts = plan.facts
    if facts is None:
        raise ResultError(f"sweep '{spec.name}' has no dataset in the store: {plan.unknown}")
    read = read_tables(store, plan)
    tables = {name: _frame(table) for name, table in read.items()}
    manifest = find_manifest(store, facts.name, facts.digest)
    return ReportInput(
        trials=tables["trials"],
        epochs=tables["epochs"],
        failures=tables["failures"],
        planned=[
            PlannedTrial(**cell_dict(trial.cell), seed=trial.config.seed, trial_id=trial.id)
            for trial in plan.trials
        ],
        prices=spec.prices,
        provenance=Provenance(
            sweep=spec.name,
            dataset=facts.name,
            dataset_digest=facts.digest,
            spec_text=spec.text,
            plan_counts={
                "cells": len(plan.cells),
                "trials": len(plan.trials),
                "done": len(plan.done),
                "skipped cells": len(plan.skipped),
            },
            versions={
                "spurious-sweeps": version("spurious-sweeps"),
                "Python": platform.python_version(),
            },
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            directions={a.name: a.direction for a in manifest.attributes},
        ),
        rule=spec.select_rule,
        include_validation=spec.cost.include_validation,
        squares=_squares(spec),
        embeddings={
            part.column("trial_id")[0].as_py(): _frame(part)
            for part in results.each_embeddings(store, _first_seeds(store, read["trials"]))
        },
        published=_published(spec, facts.name),
    )


def _squares(spec: Spec) -> GaussianSquares | None:
    """The options of generated squares, which have a model; of other shapes there is none."""
    options = spec.dataset.options if isinstance(spec.dataset, GeneratorDataset) else None
    is_square = isinstance(options, GaussianSquares) and options.shape == "square"
    return options if is_square else None


def _first_seeds(store: Store, trials: pa.Table) -> pa.Table:
    """Of every cell the trial with the smallest seed among those with embeddings."""
    import pyarrow as pa

    having = results.with_embeddings(store, trials).sort_by("seed")
    columns = (having.column(name).to_pylist() for name in ("specificity", "budget", "method"))
    cells = list(zip(*columns, strict=True))
    first = [cell not in cells[:index] for index, cell in enumerate(cells)]
    return having.filter(pa.array(first, pa.bool_()))


def _published(spec: Spec, dataset: str) -> list[PublishedTable]:
    """What the papers that a sweep names say of its dataset, each table once."""
    found = [find(name, dataset) for name in spec.published]
    return list(dict.fromkeys(table for table in found if table is not None))


def _frame(table: pa.Table) -> Any:
    """A pandas frame."""
    return table.to_pandas()
