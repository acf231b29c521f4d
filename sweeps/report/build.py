"""`build_report`: from result tables to the files of a report."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sweeps.errors import ResultError
from sweeps.report.tables import (
    REPORT_CELLS,
    REPORT_PUBLISHED,
    REPORT_TRIALS,
    ReportInput,
    arrow_schema,
)
from sweeps.results.schemas import Column

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ReportFiles:
    """The files of a report, all in one folder.

    Attributes:
        cells: Parquet, columns of `REPORT_CELLS`.
        trials: Parquet, columns of `REPORT_TRIALS` and one per split and spurious attribute.
        figure: PNG.
        page: HTML, self-contained.
        text: Markdown, the page's tables.
        projection: PNG; None where no trial has embeddings.
        resolution: PNG; None where masks of fewer than three resolutions have a result.
        published: Parquet, columns of `REPORT_PUBLISHED`; None where the sweep names no paper.
    """

    cells: Path
    trials: Path
    figure: Path
    page: Path
    text: Path
    projection: Path | None = None
    resolution: Path | None = None
    published: Path | None = None

    @property
    def paths(self) -> list[Path]:
        """All that were written."""
        found = [self.cells, self.trials, self.figure, self.projection, self.resolution]
        found += [self.published, self.text, self.page]
        return [path for path in found if path is not None]


def build_report(given: ReportInput, out: Path) -> ReportFiles:
    """Write the report; works with a partly finished sweep.

    Each file appears whole or not at all, and replaces an older one. The same input and library
    versions give the same bytes.

    Args:
        given: Result tables, plan, prices, provenance.
        out: Folder, made where it is missing.

    Raises:
        ResultError: no committed trial, or tables that contradict each other or the plan.
    """
    if given.trials.empty:
        raise ResultError(
            f"sweep '{given.provenance.sweep}' has no finished trial yet "
            f"({len(given.planned)} planned, {given.failures['trial_id'].nunique()} failed); run "
            f"it, or see what failed with 'sweeps status'"
        )
    from sweeps.report.cells import cells
    from sweeps.report.figure import frontier_png
    from sweeps.report.measures import measures
    from sweeps.report.page import Figures, page_context, render_markdown, render_page
    from sweeps.report.projection import projection_png
    from sweeps.report.published import published_frame
    from sweeps.report.resolution import resolution_png
    from sweeps.report.trials import attribute_columns, priced_trials, selected_trials

    selected = selected_trials(given.trials, given.epochs, given.rule)
    priced = priced_trials(selected, given.prices, given.rule, given.include_validation)
    table = cells(priced, given.planned, given.failures)
    png = frontier_png(table, priced)
    projection = projection_png(given.embeddings, priced, table) if given.embeddings else None
    measured = measures(priced, given.epochs)
    resolution = resolution_png(table, priced, measured, given.squares)
    files = ReportFiles(
        cells=out / "cells.parquet",
        trials=out / "trials.parquet",
        figure=out / "frontier.png",
        page=out / "report.html",
        text=out / "report.md",
        projection=None if projection is None else out / "projection.png",
        resolution=None if resolution is None else out / "resolution.png",
        published=out / "published.parquet" if given.published else None,
    )
    beside = published_frame(given.published, table, priced, given.epochs, given.squares)
    names = [path.name for path in files.paths if path != files.page]
    figures = Figures(png, projection, resolution)
    context = page_context(given, priced, table, beside, measured, figures, names)
    page, text = render_page(context), render_markdown(context)
    out.mkdir(parents=True, exist_ok=True)
    _write(files.cells, _parquet(table, REPORT_CELLS))
    _write(files.trials, _parquet(priced, REPORT_TRIALS, attribute_columns(priced)))
    _write(files.figure, png)
    for path, drawn in ((files.projection, projection), (files.resolution, resolution)):
        if path is not None and drawn is not None:
            _write(path, drawn)
    if files.published is not None:
        _write(files.published, _parquet(beside, REPORT_PUBLISHED))
    _write(files.text, text.encode())
    _write(files.page, page.encode())
    return files


def _parquet(table: pd.DataFrame, columns: Sequence[Column], extra: Sequence[str] = ()) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = arrow_schema(columns, extra)
    arrow = pa.Table.from_pandas(table[schema.names], schema=schema, preserve_index=False)
    buffer = io.BytesIO()
    pq.write_table(arrow.replace_schema_metadata(None), buffer)
    return buffer.getvalue()


def _write(path: Path, data: bytes) -> None:
    """Write a file that everybody may read, so that a reader never sees half of it."""
    from cluster.common.atomic import write_atomic  # reading tables and rendering need no cluster

    write_atomic(path, data, mode=0o644)
