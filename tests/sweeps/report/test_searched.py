"""What a report says of searches: the chosen purchases alone are ranked, and the tries counted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from searching import real_spec, real_text, run_search_here

from cluster.stores.folder import FolderStore
from spurious.config.options import Prices, Specificity
from spurious.scoring.cost import AnnotationCounts, charged_counts, cost
from spurious.scoring.selection import parse_rule
from sweeps.commands.report import read_report_input
from sweeps.plan.plan import Plan
from sweeps.plan.prices import cell_price
from sweeps.plan.searched import CellSearch
from sweeps.report.build import build_report
from sweeps.report.searched import name_as_in_axes, search_context, search_notes
from sweeps.report.tables import ReportInput
from sweeps.report.trials import select_and_price
from sweeps.spec.model import Spec, parse_spec

SECTION = (
    "{trials: 5, batch: 3, stop: asha, metric: val.auroc, "
    "space: {learning_rate: {log: [1.0e-4, 1.0]}, spl: {weight: {log: [0.1, 10]}}}}"
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Spec, Plan, ReportInput]:
    """A finished search, and what a report of it reads."""
    folder = tmp_path_factory.mktemp("searched")
    store, spec = FolderStore(folder / "store"), real_spec(SECTION)
    plan = run_search_here(store, spec, folder / "cache")
    return spec, plan, read_report_input(spec, plan, store)


def test_purchases_are_the_chosen_ones_on_every_seed(
    run: tuple[Spec, Plan, ReportInput], tmp_path: Path
) -> None:
    """Two cells of two seeds, whatever was tried; the section names what was tried and chosen."""
    _, plan, source = run
    files = build_report(source, tmp_path)
    cells = pq.read_table(files.cells).to_pandas()
    assert len(cells) == 2
    assert set(cells["seeds_done"]) == {2}
    assert set(pq.read_table(files.trials).to_pandas()["trial_id"]) == plan.done
    text = files.text.read_text()
    section = text.partition("## What was searched")[2].partition("\n## ")[0]
    assert "5 configurations a cell by tpe, in batches of 3 on seed 0" in section
    assert "for the best val.auroc, stopped early by asha" in section
    assert "Every method had the same budget of 5 configurations." in section
    assert "What was searched" in files.page.read_text()
    for search in plan.searches:
        states = search.count()
        rate = f"learning_rate {search.values['learning_rate']:g}"
        [row] = [line for line in section.splitlines() if rate in line]
        counted = f"| 5 | {states['finished']} | {states['stopped']} | {states['failed']} |"
        assert counted in row


def test_every_configuration_is_in_a_table(
    run: tuple[Spec, Plan, ReportInput], tmp_path: Path
) -> None:
    """`search.parquet` has a row each, with options, trials, state and value."""
    _, plan, source = run
    files = build_report(source, tmp_path)
    assert files.search is not None
    frame = pq.read_table(files.search).to_pandas()
    assert len(frame) == 10
    assert frame["chosen"].sum() == 2
    for search in plan.searches:
        mine = frame[frame["method"] == str(search.cell.method)]
        for (_, row), tried in zip(mine.iterrows(), search.tried, strict=True):
            assert json.loads(row["options"]) == dict(tried.values)
            assert row["trial_ids"].split() == [trial.id for trial in tried.trials]
            assert row["state"] == tried.state
            assert pd.isna(row["value"]) if tried.value is None else row["value"] == tried.value
            assert pd.isna(row["stopped_at"]) == (tried.epoch is None)
    plain = build_report(replace(source, searches=(), search=""), tmp_path / "plain")
    assert plain.search is None
    assert "What was searched" not in plain.text.read_text()


def test_a_method_has_one_marker(run: tuple[Spec, Plan, ReportInput]) -> None:
    """The figure names methods as the axes do, whatever was chosen for them."""
    _, plan, _ = run
    frame = pd.DataFrame(
        [
            dict(zip(("specificity", "budget", "method"), cell.key, strict=True))
            for cell in plan.cells
        ]
    )
    assert "spl(weight=" in frame["method"][1]
    assert list(name_as_in_axes(frame, plan.searches)["method"]) == ["erm", "spl"]
    assert name_as_in_axes(frame, ()) is frame


def test_explanations_of_chosen_options_are_drawn(tmp_path: Path) -> None:
    """In the scatter plot, too, methods have the markers and names of the axes."""
    section = SECTION.replace("trials: 5", "trials: 2")
    spec = parse_spec(f"{real_text(section)}explanations: true\n")
    store = FolderStore(tmp_path / "store")
    plan = run_search_here(store, spec, tmp_path / "cache")
    assert [str(cell.method) for cell in plan.cells] != ["erm", "spl"]
    files = build_report(read_report_input(spec, plan, store), tmp_path / "report")
    assert files.scatter is not None
    assert files.scatter.exists()


def test_unequal_and_unfinished_searches_limit_the_answer(
    run: tuple[Spec, Plan, ReportInput],
) -> None:
    """Methods with other numbers of tries are named, and cells without a choice, too."""
    _, plan, _ = run
    erm, spl = plan.searches
    assert search_notes(plan.searches) == []
    none = CellSearch(erm.cell, (), is_over=True)
    [note] = search_notes([none, spl])
    assert note.endswith("not searched with the same number of configurations: erm 0, spl 5.")
    open_one = replace(spl, chosen=None, is_over=False)
    [note] = search_notes([erm, open_one])
    assert "masks on 20 images, trained with spl. The same `sweeps run` continues." in note
    failed = replace(spl, chosen=None)
    [note] = search_notes([erm, failed])
    assert note.startswith("Every configuration that was searched failed: masks on 20 images")
    context = search_context("", [none, open_one, failed])
    assert context is not None
    chosen = [row["chosen"] for row in context["rows"]]
    assert chosen == [
        "as in the axes: nothing of the space is its own",
        "not over",
        "nothing: all failed",
    ]


def test_a_search_by_robust_auroc_pays_for_spurious_labels(
    run: tuple[Spec, Plan, ReportInput],
) -> None:
    """Every validation image's, once, in plan and report; other metrics cost nothing."""
    spec, plan, source = run
    assert spec.search is not None
    robust = replace(spec, search=replace(spec.search, metric=("val.robust_auroc",)))
    more = 30 * 100 / 3600  # 30 images of one attribute, a click of a second each
    plain, charged = (
        select_and_price(replace(source, search_rule=of.search_rule), None)["dollars"]
        for of in (spec, robust)
    )
    assert list(charged - plain) == pytest.approx([more] * 4)
    for cell in plan.cells:
        prices = [cell_price(of, cell, plan.facts) for of in (spec, robust)]
        assert prices[0] is not None
        assert prices[1] is not None
        assert prices[1].dollars - prices[0].dollars == pytest.approx(more)


def test_an_oracle_search_costs_nothing() -> None:
    """What reads the test split buys nothing, as of rules."""
    counts = AnnotationCounts(10, 5, 5, 0, 20, 10, 10, attributes=1)
    method = real_spec(SECTION).axes.method[0].options
    keep, prices, label = parse_rule("best val.auroc"), Prices(), Specificity("label")
    costs = [
        cost(label, charged_counts(method, keep, counts, None, search), prices)
        for search in (None, parse_rule("best test.robust_auroc"), parse_rule("best val.auroc"))
    ]
    assert costs[0] == costs[1] == costs[2]
    charged = parse_rule("best val.robust_auroc")
    robust = cost(label, charged_counts(method, keep, counts, None, charged), prices)
    assert robust.spurious_labels == pytest.approx(20 / 36)
