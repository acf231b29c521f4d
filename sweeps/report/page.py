"""The report in words: a self-contained HTML page that asks for nothing, and Markdown."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cluster.common.wording import count_of
from spurious.config.datasets import GENERATORS
from spurious.config.options import Prices
from spurious.scoring.selection import SelectionRule
from sweeps.report.answer import answer
from sweeps.report.cautions import cautions, integrity_notes
from sweeps.report.caveats import caveats
from sweeps.report.cells import find_unfinished
from sweeps.report.choices import choice_context
from sweeps.report.embedded import embed
from sweeps.report.evidence import Evidence
from sweeps.report.example_grid import example_context
from sweeps.report.exemplars import exemplar_rows
from sweeps.report.explained import explained_context
from sweeps.report.explore import explore_context, policy, style
from sweeps.report.figure import CAPTION, Drawing
from sweeps.report.gate import CHANCE, HAS_LEARNED
from sweeps.report.learning import learning_context
from sweeps.report.measures import measure_context
from sweeps.report.method_names import short_methods
from sweeps.report.method_orders import method_context
from sweeps.report.metrics import metric_context
from sweeps.report.offers import find_offers
from sweeps.report.projection import projection_context
from sweeps.report.resolution import resolution_context
from sweeps.report.searched import search_context, search_notes
from sweeps.report.shown import Shown
from sweeps.report.soundness import find_events
from sweeps.report.spending import spending_context
from sweeps.report.subgroup_words import subgroup_context
from sweeps.report.subgroups import Subgroups
from sweeps.report.tables import ReportInput
from sweeps.report.training_curves import curves_context
from sweeps.report.unfinished import unfinished_context
from sweeps.report.wording import (
    NONE,
    PRICE_MEANINGS,
    annotation,
    axis_text,
    describe_cell,
    dollars,
    images,
    interval,
    limits,
    number,
    probability,
    synthetic_note,
    yaml_line,
)


@dataclass(frozen=True)
class Figures:
    """The pictures of a report.

    Attributes:
        frontier: Waits for the frontier's, which may be drawn by another process.
        projection, resolution, scatter, examples: PNG bytes, where there are any.
    """

    frontier: Callable[[], Drawing]
    projection: bytes | None = None
    resolution: bytes | None = None
    scatter: bytes | None = None
    examples: bytes | None = None

    @property
    def of_explanations(self) -> Mapping[str, bytes | None]:
        """Those of explanations that the page shows, by name."""
        return {"scatter": self.scatter}


def page_context(
    source: ReportInput,
    priced: pd.DataFrame,
    cells: pd.DataFrame,
    attained: pd.DataFrame,
    evidence: Evidence,
    published: Sequence[Mapping[str, Any]],
    measured: pd.DataFrame,
    metrics: pd.DataFrame,
    explained: pd.DataFrame,
    shown: Shown,
    subgroups: Subgroups,
    figures: Figures,
    files: Sequence[str],
) -> dict[str, Any]:
    """Return what both templates print.

    Args:
        source: The report's input.
        priced: The result of `price_trials`.
        cells, attained, evidence: Of `cells` and `attainment_frame`, and what they rest on.
        published: Sections of `published_sections`.
        measured, metrics, explained: Of `measures` and the functions `..._frame`.
        shown, subgroups: Of `find_shown` and `find_subgroups`.
        figures, files: What is drawn, and names of the files beside the page.
    """
    events = find_events(priced, source.epochs)
    return {
        "provenance": source.provenance,
        "origin": _describe_origin(source),
        "answer": answer(cells, evidence, source.margin, source.axis),
        "caveats": _caveats(source, cells, priced, events),
        "status": _status(cells),
        "alt": _alternative_text(cells),
        "frontier": _frontier_rows(cells),
        **_choices(source, priced, cells, attained, evidence),
        **method_context(cells, evidence),
        "cells": [_cell_row(cell) for cell in cells.to_dict("records")],
        "published": published,
        **measure_context(source.squares, cells, measured),
        "exemplars": exemplar_rows(priced, source.epochs.rows, source.sample_ids),
        "metrics": metric_context(cells, priced, source.epochs.rows, metrics, source.point),
        "explained": explained_context(source, cells, priced, explained, figures.of_explanations),
        "subgroups": subgroup_context(subgroups, shown),
        **_pictures(source, figures),
        **_trials(source, priced, cells, shown, events),
        "files": files,
        **_rest_of_page(source, priced),
        "figure": embed(figures.frontier().png),  # last: all else is worked out meanwhile
    }


def _pictures(source: ReportInput, figures: Figures) -> dict[str, Any]:
    """Return the figures beside the frontier's, with what is said of them."""
    return {
        "projection": projection_context(source.embeddings, figures.projection),
        "resolution": resolution_context(figures.resolution, source.squares),
    }


def _trials(
    source: ReportInput,
    priced: pd.DataFrame,
    cells: pd.DataFrame,
    shown: Shown,
    events: pd.DataFrame,
) -> dict[str, Any]:
    """Return what single trials show: their names, examples, curves, and what went wrong."""
    unfinished = find_unfinished(priced, source.planned, source.failures)
    methods = [str(name) for name in cells["method"]]
    methods += [search.cell.key[2] for search in source.searches]
    return {
        "method_names": short_methods(methods),
        "examples": example_context(source, priced, shown),
        "curves": curves_context(source.epochs.histories, priced, shown),
        "troubles": unfinished_context(source, cells, priced, unfinished, events),
    }


def _choices(
    source: ReportInput,
    priced: pd.DataFrame,
    cells: pd.DataFrame,
    attained: pd.DataFrame,
    evidence: Evidence,
) -> dict[str, Any]:
    """Return what to buy for every sum, and at which prices that changes."""
    offers = find_offers(priced, cells, evidence)
    prices, axis = source.prices, source.axis
    return {
        **spending_context(offers, cells, attained, evidence, prices, axis),
        **choice_context(offers, cells, evidence, prices, axis, source.margin, source.outlines),
        **learning_context(offers, priced, dataclasses.asdict(prices)),
        **explore_context(source, priced, cells, offers),
        **{"style": style(), "policy": policy()},
    }


def _rest_of_page(source: ReportInput, priced: pd.DataFrame) -> dict[str, Any]:
    """Return how numbers were chosen and priced, and what they were computed with."""
    return {
        **{"caption": CAPTION, "latex_caption": _latex_caption(source)},
        "searched": search_context(source.search, source.searches),
        **_rule(source.rule, priced),
        "axis": axis_text(source.axis),
        "margin": f"{source.margin:g}",
        "has_learned": HAS_LEARNED,
        "prices": _price_rows(source.prices),
        "price_version": Prices.VERSION,
        "groups": _group_rows(source, priced),
        "directions": bool(source.provenance.directions),
        "software": _software_rows(priced),
        "overrides": [
            f"{key}={yaml_line(value)}" for key, value in source.provenance.overrides.items()
        ],
    }


def _caveats(
    source: ReportInput, cells: pd.DataFrame, priced: pd.DataFrame, events: pd.DataFrame
) -> list[str]:
    """Return what limits the answer: of cells, of trials, and of the plan."""
    notes = [f"{note[:1].upper()}{note[1:]}." for note in source.notes]
    notes += integrity_notes(source) + search_notes(source.searches)
    return (
        caveats(cells, priced, source.tune) + cautions(cells, priced, source.epochs, events) + notes
    )


def _describe_origin(source: ReportInput) -> str:
    """Say that images are synthetic; empty for a release."""
    synthetic = source.provenance.synthetic
    if synthetic is None:
        return ""
    text = synthetic_note(synthetic)
    real = [
        table.where
        for table in source.published
        if not GENERATORS.keys() & set(table.datasets) and synthetic
    ]
    if real:
        text += f" {' and '.join(real)} is of real images: not a comparison."
    return text


def _status(cells: pd.DataFrame) -> str:
    done, planned = int(cells["seeds_done"].sum()), int(cells["seeds_planned"].sum())
    hours = _hours(cells["gpu_hours"].sum(), cells["cpu_hours"].sum())
    return (
        f"{done:,} of {count_of(planned, 'trial')} finished, {count_of(len(cells), 'purchase')} of "
        f"{count_of(int(cells['seeds_planned'].max()), 'seed')}; {hours} hours"
    )


def _hours(gpu: float, cpu: float) -> str:
    """Hours by kind of device, only the kinds that were used."""
    parts = [
        f"{number(hours, 1) if hours >= 0.05 else 'under 0.1'} {kind}"
        for hours, kind in ((gpu, "GPU"), (cpu, "CPU"))
        if hours
    ]
    return ", ".join(parts) or NONE


def _alternative_text(cells: pd.DataFrame) -> str:
    front = cells[cells["on_frontier"]].sort_values("dollars_mean")
    points = "; ".join(
        f"{describe_cell(cell['cell'])}, {dollars(cell['dollars_mean'])}, "
        f"{number(cell['robust_auroc_mean'], 2)}"
        for cell in front.to_dict("records")
    )
    return (
        f"Scatter plot of robust AUROC against annotation cost in US dollars, one point for each "
        f"of {count_of(int(cells['robust_auroc_mean'].notna().sum()), 'purchase')}. The frontier "
        f"from cheap to dear: {points or 'empty'}."
    )


def _cell_row(cell: Mapping[Any, Any]) -> dict[str, Any]:
    low, high = cell["dollars_min"], cell["dollars_max"]
    return {
        "annotation": annotation(cell["cell"].specificity),
        "images": images(cell["cell"].budget),
        "method": f"{cell['method']} (given the groups)" if cell["oracle"] else cell["method"],
        "model": "" if pd.isna(cell["model"]) else cell["model"],
        "dollars": dollars(cell["dollars_mean"]),
        "dollars_range": f"{dollars(low)} to {dollars(high)}" if high - low > 0.005 else "",
        "training": dollars(cell["training_dollars"]),
        "spurious": dollars(cell["spurious_label_dollars"]),
        "validation": dollars(cell["validation_dollars"]),
        "robust": number(cell["robust_auroc_mean"]),
        "robust_interval": limits(cell["robust"]),
        "robust_range": interval(cell["robust_auroc_min"], cell["robust_auroc_max"]),
        "robust_sd": number(cell["robust_auroc_sd"]),
        "at_chance": cell["robust_auroc_mean"] <= CHANCE,
        "auroc": number(cell["auroc_mean"]),
        "auroc_sd": number(cell["auroc_sd"]),
        "auroc_interval": limits(cell["overall"]),
        "gap": number(cell["gap_mean"]),
        "dice": number(cell["dice_mean"]),
        "seeds": f"{cell['seeds_done']} of {cell['seeds_planned']}",
        "failed": int(cell["seeds_failed"]),
        "complete": bool(cell["complete"]),
        "on_frontier": bool(cell["on_frontier"]),
        "unlearned": "" if pd.isna(cell["unlearned"]) else cell["unlearned"],
        "probability": probability(cell["frontier_probability"]),
        "best": probability(cell["best_probability"]),
        "hours": _hours(cell["gpu_hours"], cell["cpu_hours"]),
    }


def _frontier_rows(cells: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the frontier from cheap to dear, each with its step from the one before."""
    rows: list[dict[str, Any]] = []
    before: Mapping[Any, Any] | None = None
    for cell in cells[cells["on_frontier"]].sort_values("dollars_mean").to_dict("records"):
        gain = price = ""
        if before is not None:
            gain = f"+{number(cell['robust_auroc_mean'] - before['robust_auroc_mean'])}"
            price = f"for {dollars(cell['dollars_mean'] - before['dollars_mean'])} more"
        rows.append(_cell_row(cell) | {"gain": gain, "price": price})
        before = cell
    return rows


def _rule(rule: SelectionRule | None, priced: pd.DataFrame) -> dict[str, Any]:
    """Return the rule in words, and whether it is an oracle."""
    if rule is not None:
        text = f"'{rule}', the same rule for every trial"
        if not rule.sees_every_epoch:
            text += ", of the kept and the last epoch alone, the only ones with stored predictions"
        return {"rule": text, "oracle": rule.oracle}
    kept = Counter(priced["rule"])
    used = ", ".join(f"'{name}' ({count_of(n, 'trial')})" for name, n in sorted(kept.items()))
    text = f"the epoch that each trial kept, by its own rule: {used}"
    return {"rule": text, "oracle": False}


def _latex_caption(source: ReportInput) -> str:
    return (
        f"Purchases of {source.provenance.sweep} on {source.provenance.dataset}. Cost is "
        f"{axis_text(source.axis)}. Means over seeds on the test split, with 95 % intervals for "
        "new seeds and new patients. The frontier is set in bold."
    )


def _price_rows(prices: Prices) -> list[tuple[str, str, str]]:
    return [
        (name, f"{value:g}", PRICE_MEANINGS[name])
        for name, value in dataclasses.asdict(prices).items()
    ]


def _group_rows(source: ReportInput, priced: pd.DataFrame) -> list[dict[str, Any]]:
    """Return images per group of each split and attribute: what each robust AUROC rests on."""
    epochs = source.epochs.rows
    mine = epochs["attempt"].isin(priced["attempt"]) & epochs["trial_id"].isin(priced["trial_id"])
    counted = epochs[mine & (epochs["metric"] == "robust_auroc") & epochs["attribute"].notna()]
    names = ("n_y0_s0", "n_y0_s1", "n_y1_s0", "n_y1_s1")
    rows = []
    for (attribute, split), group in counted.groupby(["attribute", "split"], sort=True):
        direction = source.provenance.directions.get(str(attribute), 0)
        used = {1: ("n_y0_s1", "n_y1_s0"), -1: ("n_y0_s0", "n_y1_s1")}.get(direction, ())
        cells = [{"n": _counts(group[name]), "used": name in used} for name in names]
        rows.append({"split": split, "attribute": attribute, "cells": cells})
    return rows


def _counts(column: pd.Series[Any]) -> str:
    values = sorted({int(value) for value in column.dropna()})
    if not values:
        return "not recorded"
    return f"{values[0]:,}" if len(values) == 1 else f"{values[0]:,} to {values[-1]:,}"


def _software_rows(priced: pd.DataFrame) -> list[tuple[str, str]]:
    """Every distinct set of versions and device that trials ran with, most frequent first."""
    counts = Counter(zip(priced["versions"], priced["device"], strict=True))
    rows = []
    for (versions, device), n in counts.most_common():
        parts = ", ".join(f"{name} {version}" for name, version in json.loads(versions).items())
        rows.append((f"{count_of(n, 'trial')} on {device}", parts))
    return rows
