"""Tables that a sweep may ask for: embeddings, explanations and examples."""

from __future__ import annotations

from pathlib import Path

from tiny_sweeps import one, prepared

from cluster.stores.folder import FolderStore
from sweeps.plan.facts import plan_on
from sweeps.results import tables as results
from sweeps.trial.run import run_trial
from sweeps.trial.tasks import Task, task_for


def test_embeddings_are_committed_where_the_spec_asks_for_them(
    folder_store: FolderStore, tmp_path: Path
) -> None:
    """A vector per test image beside the other tables, under the id of a trial without them."""
    _, task = prepared(folder_store, one(embeddings=True), tmp_path)
    assert task.trial_id == task_of_another(folder_store, tmp_path).trial_id
    run_trial(task, "first", lambda *_: None)
    trials = results.read_trials(folder_store, [task.trial_id])
    assert results.trials_with(folder_store, "embeddings", trials).num_rows == 1
    [table] = results.each_table(folder_store, "embeddings", trials)
    scores = results.read_attempts(folder_store, "predictions", trials).to_pylist()
    tested = [row for row in scores if row["split"] == "test" and row["last"]]
    shared = ("sample_id", "patient_id", "label", "spurious_block")
    found = table.to_pylist()
    assert [[row[name] for name in shared] for row in found] == [
        [row[name] for name in shared] for row in tested
    ]
    assert {len(row["embedding"]) for row in found} == {8}
    assert len({tuple(row["embedding"]) for row in found}) == 30


def test_explanations_are_committed_where_the_spec_asks_for_them(
    folder_store: FolderStore, tmp_path: Path
) -> None:
    """In masks and on the spurious blocks that staging knew, under the id of a trial without."""
    _, task = prepared(folder_store, one(explanations=True, examples=1), tmp_path)
    assert task.trial_id == task_of_another(folder_store, tmp_path).trial_id
    run_trial(task, "first", lambda *_: None)
    trials = results.read_trials(folder_store, [task.trial_id])
    [explained] = results.each_table(folder_store, "explanations", trials)
    rows = explained.to_pylist()
    having = [row for row in rows if row["region"] == "block"]
    assert having
    assert all(row["spurious_block"] for row in having)
    assert {row["label"] for row in rows if row["region"] == "mask"} == {1}
    [examples] = results.each_table(folder_store, "examples", trials)
    pictures = examples.to_pylist()
    assert {row["picture"] for row in pictures if row["sample_id"] is None} == {
        row["explanation"] for row in rows
    }
    for row in pictures:
        assert len(row["pixels"]) == row["height"] * row["width"] * row["channels"]


def task_of_another(store: FolderStore, cache: Path) -> Task:
    """The task of the same trial in a sweep that does not ask for embeddings."""
    [trial] = plan_on(one(), store).trials
    return task_for(trial, one(), store.url, cache)
