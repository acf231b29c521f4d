"""The notebook of the documents: its cells run on a sweep's tables, and answer what they say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tiny_sweeps import run_here

from cluster.stores.folder import FolderStore
from docs.generate.documents import ROOT
from docs.generate.notebook import NOTEBOOK, code_cells, run_cells
from sweeps.cli import main
from sweeps.plan.archive import archive
from sweeps.spec.model import load_spec

pytestmark = pytest.mark.slow

QUICKSTART = ROOT / "sweeps" / "specs" / "quickstart.yaml"
SHORT = {"train.epochs": 10, "axes.budget": [20, 60], "axes.seed": [0, 1], "dataset.n_train": 80}
TEN = 10


@pytest.fixture(scope="module")
def notebook() -> dict[str, Any]:
    """The notebook as it is in the repository."""
    content: dict[str, Any] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return content


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tables of a short quick start, pulled and reported by the commands."""
    folder = tmp_path_factory.mktemp("notebook")
    store = FolderStore(folder / "store")
    spec = load_spec(QUICKSTART, SHORT)
    archive(store, spec, run_here(store, spec, folder / "cache"))
    options = [str(QUICKSTART), "--store", store.url]
    for key, value in SHORT.items():
        options += ["--set", f"{key}={json.dumps(value)}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["pull", *options]) == 0
        assert main(["report", *options]) == 0
    return folder


@pytest.fixture(scope="module")
def answers(notebook: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The names that the cells define, after they all ran in order."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("SWEEPS_STORE", str(folder / "store"))
        texts, names = run_cells(notebook)
    assert all(texts)
    return names


def test_the_notebook_can_be_opened_and_shows_answers(notebook: dict[str, Any]) -> None:
    """The format is Jupyter's 4.5, and outputs of all cells were written, one after the other."""
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(ids) == len(set(ids))
    cells = code_cells(notebook)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        [output] = cell["outputs"]
        assert output["output_type"] == "stream"
        assert output["text"]
    for cell in notebook["cells"]:
        required = {"cell_type", "id", "metadata", "source"}
        code = {"execution_count", "outputs"} if cell["cell_type"] == "code" else set()
        assert set(cell) == required | code


def test_questions_are_answered_with_three_libraries(notebook: dict[str, Any]) -> None:
    """Three with pandas, one with DuckDB, one with Polars; the outputs are of the quick start."""
    titles = [
        "".join(cell["source"]).splitlines()[0]
        for cell in notebook["cells"]
        if cell["cell_type"] == "markdown"
    ][1:]
    libraries = [title[title.rindex("(") + 1 : -1] for title in titles]
    assert libraries == ["pandas"] * 3 + ["DuckDB", "Polars"]
    shown = "".join(code_cells(notebook)[1]["outputs"][0]["text"])
    spec = load_spec(QUICKSTART)
    assert all(str(budget) in shown for budget in spec.axes.budget)
    assert shown.count(" erm ") == len(spec.axes.specificity) * len(spec.axes.budget)


def test_the_cost_and_robustness_of_purchases_are_those_of_the_report(
    answers: dict[str, Any], folder: Path
) -> None:
    """By another table, of another command."""
    cells = pd.read_parquet(folder / "quickstart-report" / "cells.parquet")
    cells = cells.assign(budget=cells["budget"].astype(int))
    cells = cells.set_index(["specificity", "budget", "method"]).sort_index()
    reached = answers["reached"].sort_index()
    assert len(cells) == 6
    for mine, theirs in (
        ("dollars", "dollars_mean"),
        ("robust_auroc", "robust_auroc_mean"),
        ("worst", "robust_auroc_min"),
        ("defined", "robust_auroc_n"),
        ("seeds", "seeds_done"),
    ):
        pd.testing.assert_series_equal(
            reached[mine], cells[theirs], check_names=False, check_dtype=False
        )


def test_the_end_of_training_is_found_row_by_row(answers: dict[str, Any], folder: Path) -> None:
    """The smallest validation loss of each trial, by a loop over the table."""
    epochs = pd.read_parquet(folder / "quickstart-tables" / "epochs.parquet")
    trials = pd.read_parquet(folder / "quickstart-tables" / "trials.parquet")
    smallest: dict[str, tuple[float, int]] = {}
    for row in epochs.to_dict("records"):
        if (row["metric"], row["split"]) == ("loss", "val") and pd.isna(row["attribute"]):
            pair = (row["value"], row["epoch"])
            smallest[row["trial_id"]] = min(pair, smallest.get(row["trial_id"], pair))
    length = answers["length"]
    assert length["trials"].sum() == len(trials) == len(smallest)
    for (specificity, budget), of in length.iterrows():
        mine = trials[(trials["specificity"] == specificity) & (trials["budget"] == budget)]
        ends = [smallest[trial_id][1] for trial_id in mine["trial_id"]]
        assert of["lowest_at"] == pd.Series(ends).median()
        assert of["at_the_end"] == sum(epoch == TEN for epoch in ends)


def test_ranks_are_of_test_images_at_the_kept_epoch(answers: dict[str, Any], folder: Path) -> None:
    """Between 0 and 1; of one trial they are what sorting its scores gives."""
    predictions = pd.read_parquet(folder / "quickstart-tables" / "predictions.parquet")
    scored = answers["scored"]
    trial = scored["trial_id"].iloc[0]
    rows = predictions[
        (predictions["trial_id"] == trial) & predictions["kept"] & (predictions["split"] == "test")
    ]
    scores = rows["score"].tolist()
    below = [
        (sum(other < one for other in scores) + (scores.count(one) + 1) / 2) / len(scores)
        for one in scores
    ]
    mine = scored[scored["trial_id"] == trial].set_index("sample_id")["rank"]
    assert mine.loc[rows["sample_id"]].tolist() == pytest.approx(below)
    assert answers["ranks"].shape == (6, 2)
    assert answers["ranks"].to_numpy().min() > 0


def test_what_more_images_bring_is_a_difference_of_purchases(answers: dict[str, Any]) -> None:
    """DuckDB's answer from pandas' one."""
    reached, more = answers["reached"], answers["more"]
    assert len(more) == 3
    for row in more.to_dict("records"):
        large, small = (
            reached.loc[(row["specificity"], budget, "erm")]
            for budget in SHORT["axes.budget"][::-1]
        )
        assert row["budget"] == SHORT["axes.budget"][1]
        assert row["more_dollars"] == pytest.approx(large["dollars"] - small["dollars"], abs=0.006)
        gain = large["robust_auroc"] - small["robust_auroc"]
        assert row["more_robust_auroc"] == pytest.approx(gain, abs=0.0006)


def test_times_are_those_of_the_trials(answers: dict[str, Any]) -> None:
    """Polars' answer from pandas' frame."""
    trials, took = answers["trials"], answers["took"]
    assert took.height == 6
    for row in took.to_dicts():
        mine = trials[
            (trials["specificity"] == row["specificity"]) & (trials["budget"] == row["budget"])
        ]
        assert row["trials"] == len(mine) == 2
        assert row["seconds_total"] == pytest.approx(mine["seconds_total"].mean(), abs=0.051)
        share = 100 * mine["seconds_training"].sum() / mine["seconds_total"].sum()
        assert row["percent_training"] == pytest.approx(share, abs=0.51)
        spans = [
            (end - start).total_seconds()
            for start, end in zip(mine["started_at"], mine["finished_at"], strict=True)
        ]
        assert row["longest"] == int(max(spans))
