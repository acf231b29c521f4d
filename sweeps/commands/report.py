"""`sweeps report`: the cost-robustness frontier of committed results."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.datasets.manifest import find_manifest
from cluster.stores.base import Store
from spurious.config.options import GaussianSquares
from sweeps.commands.context import SpecSource, opened_store, trials_of, url_of
from sweeps.commands.pull import read_tables
from sweeps.errors import ResultError
from sweeps.plan.cell import cell_of
from sweeps.plan.plan import Plan
from sweeps.results import tables as results
from sweeps.spec.model import GeneratorDataset, Spec
from sweeps.spec.papers import PublishedTable, find

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from sweeps.report.tables import ReportInput


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
    directions = {a.name: a.direction for a in manifest.attributes}
    return ReportInput(
        trials=tables["trials"],
        epochs=tables["epochs"],
        failures=tables["failures"],
        planned=[PlannedTrial(trial.cell, trial.config.seed, trial.id) for trial in plan.trials],
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
            directions=directions,
        ),
        rule=spec.select_rule,
        include_validation=spec.cost.include_validation,
        squares=_squares(spec),
        embeddings={
            part.column("trial_id")[0].as_py(): _frame(part)
            for part in results.each_embeddings(store, _first_seeds(store, read["trials"]))
        },
        published=_published(spec, facts.name),
        scored=_scored(spec, store, read["trials"], directions),
        point=spec.select.operating_point,
    )


def _scored(
    spec: Spec, store: Store, trials: pa.Table, directions: Mapping[str, int]
) -> pd.DataFrame | None:
    """Metrics of all stored predictions; None where no trial has any."""
    import pyarrow as pa

    from sweeps.report.scored import score_epochs

    def reduce(trial: Mapping[str, Any], table: pa.Table) -> pa.Table:
        segments = cell_of(trial["config"]).specificity.kind != "label"
        return score_epochs(table, segments, directions, spec.select.operating_point)

    parts = results.reduce_attempts(store, "predictions", trials, reduce)
    frame: pd.DataFrame | None = _frame(pa.concat_tables(parts)) if parts else None
    return frame


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
