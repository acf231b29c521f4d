"""Grids of option values: one is ranked, chosen on validation, and the others are counted."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from tiny_sweeps import TEXT, run_here, tiny

from cluster.stores.folder import FolderStore
from spurious.config.options import Budget, Specificity
from sweeps.commands.report import read_report_input
from sweeps.errors import SpecError
from sweeps.plan.cell import Cell
from sweeps.plan.facts import plan_on
from sweeps.report.build import build_report
from sweeps.report.tuned import find_not_chosen, grids
from sweeps.spec.model import parse_spec

GRID = ["erm", *({"name": "rrr", "weight": weight} for weight in (0.1, 10.0, 1000.0))]
OVERRIDES: dict[str, Any] = {
    "axes.specificity": ["mask"],
    "axes.method": GRID,
    "select.tune": "weight",
    "train.epochs": 2,
}


def cells_of(methods: list[Any], budgets: tuple[int, ...] = (20,)) -> list[Cell]:
    """Cells on masks."""
    spec = tiny(axes__method=methods)
    return [
        Cell(Specificity("mask"), Budget(budget), method)
        for budget in budgets
        for method in spec.axes.method
    ]


def test_a_grid_differs_in_the_tuned_options_alone() -> None:
    """Other options, methods and budgets are other grids; a value without another is none."""
    methods = [*GRID, {"name": "rrr", "weight": 1.0, "blur": 1.0}, {"name": "xbl", "weight": 2.0}]
    groups = grids(cells_of(methods, (20, 30)), ["weight"])
    assert [len(group) for group in groups] == [3, 3]
    assert {cell.budget.images for cell in groups[0]} == {20}
    assert grids(cells_of(methods), []) == []
    assert [len(group) for group in grids(cells_of(methods), ["weight", "blur"])] == [4]


def test_the_highest_on_validation_is_chosen() -> None:
    """The first of equals; what has no value never is, unless none has."""
    cells = cells_of(GRID)[1:]
    keys = [cell.key for cell in cells]
    chosen = find_not_chosen(cells, dict(zip(keys, (0.7, 0.9, 0.9), strict=True)), ["weight"])
    assert list(chosen) == [keys[0], keys[2]]
    assert chosen[keys[0]] == ("not chosen on validation: AUROC 0.700 there, rrr has 0.900")
    unknown = find_not_chosen(cells, {keys[2]: 0.1, keys[1]: math.nan}, ["weight"])
    assert list(unknown) == keys[:2]
    assert list(find_not_chosen(cells, {}, ["weight"])) == keys[1:]


def test_the_report_ranks_one_of_a_grid(tmp_path: Path) -> None:
    """It is compared with ERM alone; the page counts what was tried and shows the others."""
    spec = parse_spec(TEXT, overrides=OVERRIDES)
    store = FolderStore(tmp_path / "store")
    given = read_report_input(spec, run_here(store, spec, tmp_path), store)
    files = build_report(given, tmp_path / "report")
    import pandas as pd

    cells = pd.read_parquet(files.cells)
    lost = cells[cells["unlearned"].fillna("").str.startswith("not chosen on validation")]
    assert len(lost) == 2
    trials = pd.read_parquet(files.trials)
    means = trials[trials["method"] != "erm"].groupby("method")["val_auroc"].mean()
    assert set(lost["method"]) == set(means.index) - {means.idxmax()}
    assert "3 purchases are 1 grid of weight" in " ".join(files.caveats)
    assert "by 6 trials in all" in " ".join(files.caveats)
    untuned = {key: value for key, value in OVERRIDES.items() if key != "select.tune"}
    everything = parse_spec(TEXT, overrides=untuned)
    free = build_report(
        read_report_input(everything, plan_on(everything, store), store), tmp_path / "free"
    )
    assert "grid of weight" not in " ".join(free.caveats)


@pytest.mark.parametrize("value", ["wieght", ["weight", "lamda"]])
def test_an_option_that_no_method_has_is_refused(value: Any) -> None:
    """With those that there are."""
    with pytest.raises(SpecError, match=r"select\.tune.*options of the sweep's methods.*weight"):
        parse_spec(TEXT, overrides={**OVERRIDES, "select.tune": value})
