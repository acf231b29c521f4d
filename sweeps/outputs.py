"""`sweeps pull` and `sweeps report`: from committed results to files on this machine."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.manifest import find_manifest
from cluster.store import Store
from sweeps import results
from sweeps.commands import SpecSource, opened_store, trials_of, url_of
from sweeps.errors import ResultError
from sweeps.plan import Plan
from sweeps.plan_text import cell_dict
from sweeps.spec import Spec

if TYPE_CHECKING:
    import pyarrow as pa

    from sweeps.report.tables import ReportInput


def read_tables(store: Store, plan: Plan) -> Mapping[str, pa.Table]:
    """The four tables of a sweep; predictions are read only by `pull`."""
    trials = results.read_trials(store, plan.done)
    return {
        "trials": trials,
        "epochs": results.read_attempts(store, "epochs", trials),
        "failures": results.read_failures(store, [trial.id for trial in plan.trials]),
    }


def pull(source: SpecSource, store_url: str | None, out: Path | None) -> int:
    """`sweeps pull`: one Parquet file per table; each appears whole or not at all.

    Raises:
        ResultError: no trial of the sweep has a result, nor has one failed.
    """
    import pyarrow.parquet as pq

    with opened_store(url_of(source, store_url)) as store:
        spec, plan = trials_of(source, store)
        tables = dict(read_tables(store, plan))
        if not tables["trials"].num_rows and not tables["failures"].num_rows:
            raise ResultError(f"sweep '{spec.name}' has no finished trial yet; run it first")
        tables["predictions"] = results.read_attempts(store, "predictions", tables["trials"])
    folder = out or Path(f"{spec.name}-tables")
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        path = folder / f"{name}.parquet"
        unfinished = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            pq.write_table(table, unfinished, compression="zstd")
            os.replace(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)
        print(f"{path}: {table.num_rows} rows")
    return 0


def report(source: SpecSource, store_url: str | None, out: Path | None) -> int:
    """`sweeps report`: the report's files here, and under `sweeps/NAME/report/` in the store."""
    from sweeps.report.build import build_report

    with opened_store(url_of(source, store_url)) as store:
        spec, plan = trials_of(source, store)
        given = report_input(spec, plan, store)
        files = build_report(given, out or Path(f"{spec.name}-report"))
        paths = [files.cells, files.trials, files.figure, files.page]
        for path in paths:
            store.put(f"sweeps/{spec.name}/report/{path.name}", path.read_bytes())
    for path in paths:
        print(path)
    return 0


def report_input(spec: Spec, plan: Plan, store: Store) -> ReportInput:
    """Everything that a report is made from."""
    from sweeps.report.tables import PlannedTrial, Provenance, ReportInput

    facts = plan.facts
    if facts is None:
        raise ResultError(f"sweep '{spec.name}' has no dataset in the store: {plan.unknown}")
    tables = {name: _frame(table) for name, table in read_tables(store, plan).items()}
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
    )


def _frame(table: pa.Table) -> Any:
    """A pandas frame."""
    return table.to_pandas()
