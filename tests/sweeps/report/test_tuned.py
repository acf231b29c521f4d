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
    """The first of equals, and that is said; what has no value never is, unless none has."""
    cells = cells_of(GRID)[1:]
    keys = [cell.key for cell in cells]
    values = {key: {0: auroc} for key, auroc in zip(keys, (0.7, 0.9, 0.9), strict=True)}
    assert find_not_chosen(cells, values, ["weight"]) == {
        keys[0]: "not chosen on validation: AUROC 0.700 there, rrr has 0.900",
        keys[2]: "not chosen on validation: AUROC 0.900 there, as rrr, which comes first",
    }
    unknown = {keys[0]: {0: math.nan}, keys[1]: {0: math.nan}, keys[2]: {0: 0.1}}
    assert list(find_not_chosen(cells, unknown, ["weight"])) == keys[:2]
    nothing = {key: {0: math.nan} for key in keys}
    assert list(find_not_chosen(cells, nothing, ["weight"])) == keys[1:]
    assert find_not_chosen(cells, {}, ["weight"]) == {}


def test_values_are_compared_on_the_seeds_that_all_have() -> None:
    """A lucky seed of one value does not win over two of another; a value not run waits."""
    cells = cells_of(GRID)[1:]
    keys = [cell.key for cell in cells]
    lucky = {keys[0]: {0: 0.7, 1: 0.9}, keys[1]: {1: 0.89}}
    assert list(find_not_chosen(cells, lucky, ["weight"])) == [keys[1]]
    apart = {keys[0]: {0: 0.7}, keys[1]: {1: 0.89}}
    reasons = find_not_chosen(cells, apart, ["weight"])
    assert list(reasons) == keys[:2]
    assert reasons[keys[0]] == "not chosen on validation: no seed has a result of each"


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
    assert "share one annotation" in " ".join(files.caveats)
    untuned = {key: value for key, value in OVERRIDES.items() if key != "select.tune"}
    everything = parse_spec(TEXT, overrides=untuned)
    free = build_report(
        read_report_input(everything, plan_on(everything, store), store), tmp_path / "free"
    )
    assert "grid of weight" not in " ".join(free.caveats)


def test_the_only_ranked_one_of_a_grid_is_called_so(tmp_path: Path) -> None:
    """The others were found to tell images apart, too; a priced option says that it costs."""
    methods = [{"name": "exbl", "candidates": n, "first_epochs": 2} for n in (2, 8)]
    overrides = {
        "axes.specificity": ["label"],
        "axes.method": methods,
        "select.tune": "candidates",
        "train.epochs": 20,
        "train.learning_rate": 0.01,
        "dataset.abnormality_mean": 8.0,
    }
    spec = parse_spec(TEXT, overrides=overrides)
    store = FolderStore(tmp_path / "store")
    files = build_report(
        read_report_input(spec, run_here(store, spec, tmp_path), store), tmp_path / "report"
    )
    assert "learned the abnormality and was chosen on validation" in files.answer
    assert "Values differ in price" in " ".join(files.caveats)


@pytest.mark.parametrize("value", [[], None])
def test_nothing_is_tuned_on_request(value: Any) -> None:
    """An empty list, or null."""
    assert parse_spec(TEXT, overrides={**OVERRIDES, "select.tune": value}).select.tune == ()


def test_a_bad_weight_is_the_only_problem() -> None:
    """Options to tune are not looked for among methods that could not be read."""
    methods = [{"name": "rrr", "weight": -1}]
    with pytest.raises(SpecError) as caught:
        parse_spec(TEXT, overrides={**OVERRIDES, "axes.method": methods})
    assert "tune" not in str(caught.value)


@pytest.mark.parametrize("value", ["wieght", ["weight", "lamda"]])
def test_an_option_that_no_method_has_is_refused(value: Any) -> None:
    """With those that there are."""
    with pytest.raises(SpecError, match=r"select\.tune.*options of the sweep's methods.*weight"):
        parse_spec(TEXT, overrides={**OVERRIDES, "select.tune": value})
