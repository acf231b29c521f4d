"""`sweeps report`: report committed results as a frontier of cost and robustness."""

from __future__ import annotations

import platform
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.datasets.manifest import Manifest, find_manifest
from cluster.errors import Denied, NotFound
from cluster.stores.base import Store
from spurious.config.datasets import GaussianSquares
from spurious.scoring.selection import SelectionRule
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
from sweeps.commands.output import note, print_json
from sweeps.driver.progress import count_progress, make_console
from sweeps.errors import ResultError
from sweeps.plan.cell import cell_of
from sweeps.plan.notes import plan_notes
from sweeps.plan.plan import Plan
from sweeps.plan.searched import describe_search
from sweeps.plan.spending import compute_dollars
from sweeps.results import tables as results
from sweeps.results.reader import ResultReader
from sweeps.spec.model import GeneratorDataset, Spec
from sweeps.spec.papers import PublishedTable, find

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from sweeps.report.epochs import Epochs
    from sweeps.report.readings import Readings
    from sweeps.report.tables import Provenance, ReportInput


def report(
    source: SpecSource, store_url: str | None, out: Path | None, *, as_json: bool = False
) -> int:
    """Write the report's files here, and under `sweeps/NAME/report/` in the store."""
    from sweeps.report.build import build_report

    with store_session(choose_store_url_of(source, store_url)) as store:
        reader = open_results(store)
        spec, plan = read_spec_and_plan(source, reader)
        note_damaged(plan, source, store_url)
        report_input = read_report_input(spec, plan, reader)
        with count_progress("writing the report", "steps", make_console()) as progress:
            files = build_report(report_input, out or Path(f"{spec.name}-report"), progress)
        _put_files(store, spec.name, files.paths)
    if as_json:
        print_json(
            {
                "sweep": spec.name,
                "against": None,
                "store": store.url,
                "page": str(files.page),
                "paths": [str(path) for path in files.paths],
                "answer": files.answer,
                "caveats": list(files.caveats),
            }
        )
        return 0
    for path in files.paths:
        print(path)
    note(files.answer)
    if report_input.provenance.synthetic is not None:
        note(files.caveats[0])
    note(f"page: {files.page.absolute().as_uri()}")
    note(f"next: {format_command('pull', source, store_url)}  # all tables, as Parquet files")
    return 0


def _put_files(store: Store, sweep: str, paths: Sequence[Path]) -> None:
    """Put the report next to the results, where the store can be written."""
    try:
        for path in paths:
            store.put(f"sweeps/{sweep}/report/{path.name}", path.read_bytes())
    except Denied as error:
        note(f"the report is not put next to the results, which cannot be written: {error}")


def read_report_input(spec: Spec, plan: Plan, source: Store | ResultReader) -> ReportInput:
    """Read everything that a report is computed from, from a store or a reader of its results."""
    from sweeps.report.exemplars import needs_ids
    from sweeps.report.tables import PlannedTrial, ReportInput
    from sweeps.staging.bad_images import describe_staging
    from sweeps.trial.failures import POLICIES

    facts = plan.facts
    if facts is None:
        raise ResultError(f"sweep '{spec.name}' has no dataset in the store: {plan.unknown}")
    reader = ResultReader.of(source)
    store = reader.store
    stored = _read_trials(reader, plan)
    trials = _to_pandas(stored)
    manifest = find_manifest(store, facts.name, facts.digest)
    directions = {a.name: a.direction for a in manifest.attributes}
    published = _find_published(spec, facts.name)
    scored, readings = _score_predictions(spec, reader, stored, directions)
    epochs = _read_epochs(reader, stored, scored, {spec.select_rule, *(t.epoch for t in published)})
    return ReportInput(
        trials,
        epochs,
        _to_pandas(results.read_failures(reader, [trial.id for trial in plan.trials])),
        planned=[PlannedTrial(trial.cell, trial.config.seed, trial.id) for trial in plan.trials],
        prices=spec.prices,
        provenance=_describe_provenance(spec, plan, manifest, directions),
        rule=spec.select_rule,
        axis=spec.cost.axis,
        compute=compute_dollars(spec, stored.to_pylist()) if spec.cost.compute else None,
        squares=_get_square_options(spec),
        **_read_optional(reader, stored),
        asks_explanations=spec.explanations,
        published=published,
        point=spec.select.operating_point,
        damaged={trial.label: reason for trial, reason in plan.list_damaged()},
        unverified=len(plan.unverified),
        readings=readings,
        margin=spec.select.margin,
        tune=spec.select.tune,
        notes=[*describe_staging(manifest.provenance), *plan_notes(plan)],
        mask_of=facts.mask_of,
        searches=plan.searches,
        search="" if spec.search is None else describe_search(spec),
        search_rule=spec.search_rule,
        sample_ids=_read_sample_ids(store, manifest) if needs_ids(epochs.rows) else None,
        **_describe_images(store, manifest),
        skipped=plan.skipped,
        failure_meanings={name: policy.meaning for name, policy in POLICIES.items()},
    )


def _read_optional(reader: ResultReader, trials: pa.Table) -> dict[str, Any]:
    """Read what only some sweeps have, and tell how predictions of a few trials are read."""
    return {
        "embeddings": _first_seeds(reader, "embeddings", trials),
        "explained": _reduce_explanations(reader, trials),
        "examples": _first_seeds(reader, "examples", trials),
        "read_predictions": lambda ids: _each_predictions(reader, trials, ids),
    }


def _describe_provenance(
    spec: Spec, plan: Plan, manifest: Manifest, directions: Mapping[str, int]
) -> Provenance:
    from sweeps.report.tables import Provenance

    return Provenance(
        sweep=spec.name,
        dataset=manifest.name,
        dataset_digest=manifest.digest,
        spec_text=spec.text,
        plan_counts=_count_plan(plan),
        versions=_versions(),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        directions=directions,
        synthetic=manifest.synthetic,
        overrides=dict(spec.overrides),
    )


def _read_trials(reader: ResultReader, plan: Plan) -> pa.Table:
    with count_reads(reader, "reading trials", len(plan.done)):
        return results.read_trials(reader, plan.done)


def _read_epochs(
    reader: ResultReader,
    trials: pa.Table,
    scored: pa.Table | None,
    rules: Collection[SelectionRule | None],
) -> Epochs:
    """Read the epochs of all trials, part by part, and keep rows of those that rules choose."""
    from sweeps.report.epochs import gather

    with count_reads(reader, "reading epochs", trials.num_rows):
        parts = results.iterate_attempts(reader, "epochs", trials)
        return gather(_to_pandas(trials), parts, scored, rules)


def _count_plan(plan: Plan) -> dict[str, int]:
    return {
        "cells": len(plan.cells),
        "trials": len(plan.trials),
        "done": len(plan.done),
        "skipped cells": len(plan.skipped),
    }


def _read_sample_ids(store: Store, manifest: Manifest) -> list[str] | None:
    """Read the ids of all images, ascending; None where they are not kept apart."""
    from cluster.datasets.image_table import read_image_table

    table = read_image_table(store, manifest)
    return None if table is None else table.column("sample_id").to_pylist()


def _each_predictions(
    reader: ResultReader, trials: pa.Table, ids: Sequence[str]
) -> Iterator[pa.Table]:
    """Yield the predictions of some trials, one table at a time, as far as they are stored."""
    import pyarrow as pa
    import pyarrow.compute as pc

    chosen = trials.filter(
        pc.is_in(trials.column("trial_id"), value_set=pa.array(ids, pa.string()))
    )
    yield from results.each_table(
        reader, "predictions", results.trials_with(reader, "predictions", chosen)
    )


def _versions() -> dict[str, str]:
    return {
        "spurious-sweeps": version("spurious-sweeps"),
        "Python": platform.python_version(),
    }


def _score_predictions(
    spec: Spec, reader: ResultReader, trials: pa.Table, directions: Mapping[str, int]
) -> tuple[pa.Table | None, Readings]:
    """Score all stored predictions, and read their AUROCs; None where no trial has any."""
    from sweeps.report.scoring import Scorer, score_trials

    having = results.trials_with(reader, "predictions", trials)
    segments = [cell_of(config).segments for config in having.column("config").to_pylist()]
    scorer = Scorer(directions, spec.select.operating_point)
    with count_reads(reader, "scoring predictions", trials.num_rows):
        tables = results.each_table(reader, "predictions", having)
        return score_trials(scorer, segments, tables)


def _reduce_explanations(reader: ResultReader, trials: pa.Table) -> pd.DataFrame | None:
    """Return the means of every trial that has explanations; None where none has."""
    import pandas as pd

    from sweeps.report.explained import reduce_explanations

    having = results.trials_with(reader, "explanations", trials)
    with count_reads(reader, "reading explanations", having.num_rows):
        parts = results.reduce_attempts(reader, "explanations", having, reduce_explanations)
    return pd.concat(parts, ignore_index=True) if parts else None


def _describe_images(store: Store, manifest: Manifest) -> dict[str, Any]:
    """Read what drawing a dataset's masks takes, and what is known of its patients."""
    from sweeps.catalogue.image_facts import load_image_columns
    from sweeps.catalogue.overview import describe_outlines

    reason = "its images were staged without any"
    try:
        columns = load_image_columns(store, manifest)
    except NotFound:
        columns, reason = None, "it has no readable table of images, which staging it again adds"
    known = {} if columns is None else columns.covariates
    ids = [] if columns is None else columns.sample_ids.tolist()
    silent = bool(known) or manifest.synthetic is not None
    return {
        "outlines": None if columns is None else describe_outlines(columns),
        "covariates": {name: dict(zip(ids, of, strict=True)) for name, of in known.items()},
        "no_covariates": ""
        if silent
        else f"No covariates (sex, age, site, scanner) of {manifest.name} are known: {reason}. A "
        "purchase that serves some patients worse than others would not be seen.",
    }


def _get_square_options(spec: Spec) -> GaussianSquares | None:
    """Get the options of generated squares, which have a model; None for other datasets."""
    options = spec.dataset.options if isinstance(spec.dataset, GeneratorDataset) else None
    is_square = isinstance(options, GaussianSquares) and options.shape == "square"
    return options if is_square else None


def _first_seeds(reader: ResultReader, name: str, trials: pa.Table) -> dict[str, pd.DataFrame]:
    """Return a table of every cell's trial that has it and the smallest seed, by trial id."""
    import pyarrow as pa

    having = results.trials_with(reader, name, trials).sort_by("seed")
    columns = (having.column(name).to_pylist() for name in ("specificity", "budget", "method"))
    cells = list(zip(*columns, strict=True))
    positions: dict[tuple[str, str, str], int] = {}
    for position, cell in enumerate(cells):
        positions.setdefault(cell, position)
    chosen = having.take(pa.array(positions.values(), pa.int64()))
    tables = results.each_table(reader, name, chosen)
    return {table.column("trial_id")[0].as_py(): _to_pandas(table) for table in tables}


def _find_published(spec: Spec, dataset: str) -> list[PublishedTable]:
    """Find the published tables of a sweep's dataset among the papers that it names, each once."""
    tables = [find(name, dataset) for name in spec.published]
    return list(dict.fromkeys(table for table in tables if table is not None))


def _to_pandas(table: pa.Table) -> Any:
    """Convert a table to a pandas frame."""
    return table.to_pandas()
