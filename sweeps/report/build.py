"""`build_report`: from result tables to the files of a report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sweeps.errors import ResultError
from sweeps.report.output import to_parquet, write_files
from sweeps.report.tables import ReportInput

if TYPE_CHECKING:
    import pandas as pd

    from sweeps.report.page import Figures

T = TypeVar("T")


@dataclass(frozen=True)
class ReportFiles:
    """The files of a report, all in one folder.

    Attributes:
        cells: Parquet, columns of `REPORT_CELLS`.
        attainment: Parquet, columns of `REPORT_ATTAINMENT`.
        trials: Parquet, columns of `REPORT_TRIALS` and one per split and spurious attribute.
        metrics: Parquet, columns of `REPORT_METRICS`.
        figure: PNG; `figure_svg` and `figure_pdf` are the same for papers.
        latex: The table of purchases for papers.
        page: HTML, self-contained.
        text: Markdown, the page's tables.
        projection: PNG; None where no trial has embeddings.
        resolution: PNG; None where masks of fewer than three resolutions have a result.
        published: Parquet, columns of `REPORT_PUBLISHED`; None where the sweep names no paper.
        explanations: Parquet, columns of `REPORT_EXPLANATIONS`; None where no trial has any.
        scatter: PNG of them against robust AUROC; None likewise.
        search: Parquet, columns of `REPORT_SEARCH`; None where nothing was searched.
        examples: PNG of maps of example images; None where no trial kept any.
        subgroups: Parquet, columns of `REPORT_SUBGROUPS`; None without covariates.
        answer: The page's answer, as text.
        caveats: What limits it, one sentence or more each.
    """

    cells: Path
    attainment: Path
    trials: Path
    metrics: Path
    figure: Path
    figure_svg: Path
    figure_pdf: Path
    latex: Path
    page: Path
    text: Path
    projection: Path | None = None
    resolution: Path | None = None
    published: Path | None = None
    explanations: Path | None = None
    scatter: Path | None = None
    examples: Path | None = None
    search: Path | None = None
    subgroups: Path | None = None
    answer: str = ""
    caveats: tuple[str, ...] = ()

    @property
    def paths(self) -> list[Path]:
        """All that were written."""
        written = [self.cells, self.attainment, self.trials, self.metrics, self.projection]
        written += [self.figure, self.figure_svg, self.figure_pdf, self.latex, self.resolution]
        written += [self.published, self.explanations]
        written += [self.scatter, self.examples, self.search, self.subgroups, self.text, self.page]
        return [path for path in written if path is not None]


class _Steps:
    """Counts the steps of a report, whose number is known before."""

    TOTAL = 14

    def __init__(self, on_step: Callable[[int, int], None]) -> None:
        self._on_step, self._done = on_step, 0
        on_step(0, self.TOTAL)

    def __call__(self, result: T) -> T:
        """Take note of a step by its result, which is returned."""
        self._done += 1
        self._on_step(self._done, self.TOTAL)
        return result


def build_report(
    source: ReportInput, out: Path, on_step: Callable[[int, int], None] = lambda done, total: None
) -> ReportFiles:
    """Write the report; works with a partly finished sweep.

    Each file appears whole or not at all, and replaces an older one. The same input and library
    versions give the same bytes.

    Args:
        given: Result tables, plan, prices, provenance.
        out: Folder, made where it is missing.
        on_step: Receives how many steps of computing and drawing are done, and of how many.

    Raises:
        ResultError: no committed trial, or tables that contradict each other or the plan.
    """
    if source.trials.empty:
        raise ResultError(
            f"sweep '{source.provenance.sweep}' has no finished trial yet "
            f"({len(source.planned)} planned, {source.failures['trial_id'].nunique()} failed); run "
            f"it, or see what failed with 'sweeps status'"
        )
    files, contents = _contents(source, out, _Steps(on_step))
    write_files(out, {path.name: data for path, data in contents})
    return files


def _contents(
    source: ReportInput, out: Path, step: _Steps
) -> tuple[ReportFiles, list[tuple[Path, bytes]]]:
    """Return the files and their bytes, the page last."""
    from sweeps.report.cells import cells
    from sweeps.report.evidence import Evidence
    from sweeps.report.explained import explained_frame
    from sweeps.report.latex import purchases_table
    from sweeps.report.measures import measures
    from sweeps.report.metrics import metric_frame
    from sweeps.report.page import page_context
    from sweeps.report.probabilities import attainment_frame
    from sweeps.report.published import judge_by_rule, published_frame
    from sweeps.report.published_words import published_sections
    from sweeps.report.rendering import render_markdown, render_page
    from sweeps.report.shown import find_shown
    from sweeps.report.subgroups import find_subgroups
    from sweeps.report.trials import select_and_price

    priced = step(select_and_price(source, source.rule))
    evidence = Evidence(priced, source.readings)
    table = cells(priced, source.planned, source.failures, evidence, source.margin, source.tune)
    attained = attainment_frame(step(table), evidence)
    rows = source.epochs.rows
    measured, metrics = step(measures(priced, rows)), metric_frame(priced, rows)
    explained = step(explained_frame(priced, source.trials, source.explained))
    figures = _draw(source, priced, table, attained, measured, explained, step)
    shown = find_shown(table, evidence, source.margin)
    subgroups = step(find_subgroups(source, priced, shown))
    divided = not subgroups.frame.empty
    files = _files(out, figures, source, explained=not explained.empty, divided=divided)
    judged = step(judge_by_rule(source, priced, evidence))
    published = published_frame(source.published, table, judged, rows, source.squares)
    sections = published_sections(source.published, published, judged)
    names = [path.name for path in files.paths if path != files.page]
    frames = (sections, measured, metrics, explained, shown, subgroups)
    context = step(page_context(source, priced, table, attained, evidence, *frames, figures, names))
    tables = {"cells": table, "attainment": attained, "metrics": metrics, "published": published}
    tables |= {"explanation_means": explained, "subgroups": subgroups.frame}
    contents: list[tuple[Path | None, bytes | None]] = [
        *_tables(files, source, priced, tables),
        *_drawn(files, figures),
        (files.latex, purchases_table(context["cells"], context["latex_caption"]).encode()),
        (files.text, step(render_markdown(context)).encode()),
        (files.page, step(render_page(context)).encode()),
    ]
    limits = tuple(filter(None, (context["origin"], *context["caveats"])))
    files = replace(files, answer=context["answer"], caveats=limits)
    return files, [(path, data) for path, data in contents if path and data is not None]


def _tables(
    files: ReportFiles,
    source: ReportInput,
    priced: pd.DataFrame,
    tables: Mapping[str, pd.DataFrame],
) -> list[tuple[Path | None, bytes | None]]:
    """Return the Parquet files that this report has, and their bytes."""
    from sweeps.report.searched import search_frame
    from sweeps.report.trials import attribute_columns

    paths = {
        "cells": files.cells,
        "attainment": files.attainment,
        "metrics": files.metrics,
        "published": files.published,
        "explanation_means": files.explanations,
        "subgroups": files.subgroups,
        "search": files.search,
    }
    every = {**tables, "search": search_frame(source.searches)}
    trials = (files.trials, to_parquet(priced, "chosen_epochs", attribute_columns(priced)))
    present = {name: path for name, path in paths.items() if path is not None}
    return [trials, *((path, to_parquet(every[name], name)) for name, path in present.items())]


def _drawn(files: ReportFiles, figures: Figures) -> list[tuple[Path | None, bytes | None]]:
    return [
        (files.figure, figures.frontier().png),
        (files.figure_svg, figures.frontier().svg),
        (files.figure_pdf, figures.frontier().pdf),
        (files.projection, figures.projection),
        (files.resolution, figures.resolution),
        (files.scatter, figures.scatter),
        (files.examples, figures.examples),
    ]


def _draw(
    source: ReportInput,
    priced: pd.DataFrame,
    table: pd.DataFrame,
    attained: pd.DataFrame,
    measured: pd.DataFrame,
    explained: pd.DataFrame,
    step: _Steps,
) -> Figures:
    from sweeps.report.explained_pictures import examples_png
    from sweeps.report.explained_scatter import scatter_png
    from sweeps.report.figure import draw_frontier_figure
    from sweeps.report.page import Figures
    from sweeps.report.processes import begin
    from sweeps.report.projection import projection_png
    from sweeps.report.resolution import resolution_png
    from sweeps.report.searched import name_as_in_axes

    # a method has one marker, whatever was chosen for it in each cell
    frames = (priced, table, explained)
    priced, table, explained = (name_as_in_axes(frame, source.searches) for frame in frames)
    return Figures(
        step(begin(len(priced), draw_frontier_figure, table, priced, attained)),
        step(projection_png(source.embeddings, priced, table) if source.embeddings else None),
        step(resolution_png(table, priced, measured, source.squares)),
        step(scatter_png(explained, table)),
        step(examples_png(source.examples, priced, table)),
    )


def _files(
    out: Path, figures: Figures, source: ReportInput, *, explained: bool, divided: bool
) -> ReportFiles:
    return ReportFiles(
        cells=out / "cells.parquet",
        attainment=out / "attainment.parquet",
        trials=out / "chosen_epochs.parquet",
        metrics=out / "metrics.parquet",
        figure=out / "frontier.png",
        figure_svg=out / "frontier.svg",
        figure_pdf=out / "frontier.pdf",
        latex=out / "purchases.tex",
        page=out / "report.html",
        text=out / "report.md",
        projection=None if figures.projection is None else out / "projection.png",
        resolution=None if figures.resolution is None else out / "resolution.png",
        published=out / "published.parquet" if source.published else None,
        explanations=out / "explanation_means.parquet" if explained else None,
        scatter=None if figures.scatter is None else out / "explanations.png",
        examples=None if figures.examples is None else out / "examples.png",
        search=out / "search.parquet" if source.searches else None,
        subgroups=out / "subgroups.parquet" if divided else None,
    )
