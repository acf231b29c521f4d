"""Trials that are compared before their end: what they leave, and that they can go on."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from searching import facts_of_spec, plan_here, real_spec, run_part, run_search_here
from tiny_sweeps import assert_same, run_here, stage_here, tables, tiny

from cluster.stores.folder import FolderStore
from sweeps.plan.facts import plan_on
from sweeps.plan.plan import make_plan
from sweeps.results import tables as results
from sweeps.results.keys import stopped_key
from sweeps.search.rungs import rung_epochs
from sweeps.search.stored import StoredObservations
from sweeps.spec.model import Spec


def of_methods() -> Spec:
    """One seed of a method that trains one model, two, and a segmenter."""
    return tiny(
        axes__method=["erm", {"name": "jtt", "first_epochs": 2}, "spl"],
        axes__seed=[0],
        train__epochs=9,
        train__evaluate_every=2,
    )


def test_a_stopped_trial_continues_to_the_result_that_it_would_have_had(tmp_path: Path) -> None:
    """Compared after epochs 2 and 4 and then run to its end: bit for bit as never stopped.

    What it notes at a rung is what the whole trial has at these epochs. It does not count as done
    before its end, and its note stays beside its result.
    """
    spec = of_methods()
    whole, parts = FolderStore(tmp_path / "whole"), FolderStore(tmp_path / "parts")
    expected = tables(whole, run_here(whole, spec, tmp_path / "cache"))
    epochs = expected["epochs"]
    stage_here(parts, spec)
    for trial in plan_on(spec, parts).trials:
        assert run_part(parts, spec, tmp_path / "cache", trial, 2) == "at a rung"
        assert run_part(parts, spec, tmp_path / "cache", trial, 4) == "at a rung"
        assert results.checkpointed_ids(parts) >= {trial.id}
        assert trial.id not in results.committed_ids(parts)
        observe = StoredObservations(parts)
        seen = observe([trial.id])[trial.id]
        assert (seen.reached, seen.kept_epoch) == (4, None)
        mine = epochs[(epochs.trial_id == trial.id) & (epochs.split == "val")]
        mine = mine[mine.attribute.isna() & (mine.epoch <= 4)]
        found = {(e, name): repr(v) for e, of in seen.history.items() for name, v in of.items()}
        assert found == {
            (row.epoch, f"val.{row.metric}"): repr(row.value) for row in mine.itertuples()
        }
        assert run_part(parts, spec, tmp_path / "cache", trial, None) == "committed"
        assert parts.exists(stopped_key(trial.id))
    assert_same(tables(parts, plan_on(spec, parts)), expected)


def test_a_trial_that_was_killed_at_its_rung_does_not_train_again(tmp_path: Path) -> None:
    """Its checkpoint is from there, and only the note is missing: it is written, nothing trains."""
    spec, store = of_methods(), FolderStore(tmp_path / "store")
    stage_here(store, spec)
    trial = plan_on(spec, store).trials[0]
    run_part(store, spec, tmp_path / "cache", trial, 4)
    note = store.get(stopped_key(trial.id))
    store.delete(stopped_key(trial.id))
    before = store.get(results.checkpoint_key(trial.id))
    assert run_part(store, spec, tmp_path / "cache", trial, 4) == "at a rung"
    key = stopped_key(trial.id)
    again, first = (results.decode(data, key) for data in (store.get(key), note))
    pd.testing.assert_frame_equal(
        *(table.to_pandas().drop(columns="attempt") for table in (again, first)), check_exact=True
    )
    assert store.get(results.checkpoint_key(trial.id)) == before


def test_without_its_checkpoint_it_trains_from_the_start_to_the_same(tmp_path: Path) -> None:
    """A checkpoint that was removed costs time and nothing else."""
    spec = real_spec()
    kept, lost = FolderStore(tmp_path / "kept"), FolderStore(tmp_path / "lost")
    for store in (kept, lost):
        stage_here(store, spec)
        trial = plan_here(store, spec).searched_next[0]
        run_part(store, spec, tmp_path / "cache", trial, 1)
        if store is lost:
            store.delete(results.checkpoint_key(trial.id))
        assert run_part(store, spec, tmp_path / "cache", trial, 3) == "at a rung"
    seen = [StoredObservations(store)([trial.id])[trial.id] for store in (kept, lost)]
    assert repr(seen[0]) == repr(seen[1])  # undefined numbers equal no other
    assert seen[0].reached == 3


def test_stopped_trials_are_in_no_table_of_results(tmp_path: Path) -> None:
    """A search leaves notes of stopped trials; those of the plan have the chosen options."""
    store, spec = FolderStore(tmp_path / "store"), real_spec()
    plan = run_search_here(store, spec, tmp_path / "cache")
    stopped = [
        trial.id
        for search in plan.searches
        for tried in search.tried
        if tried.state == "stopped"
        for trial in tried.trials
    ]
    assert len(stopped) >= 4
    assert not {*stopped} & results.committed_ids(store)
    assert len(plan.trials) == 4
    assert plan.done == {trial.id for trial in plan.trials}
    assert not plan.done & {*stopped}
    found = tables(store, plan)
    assert set(found["trials"].trial_id) == plan.done
    assert not set(found["epochs"].trial_id) & {*stopped}


RUNGS = ((27, 1, (3, 9)), (30, 5, (5, 10)), (9, 1, (1, 3)), (2, 1, (1,)), (1, 1, ()))


@pytest.mark.parametrize(("epochs", "every", "expected"), RUNGS)
def test_rungs_are_evaluated_epochs_before_the_last(
    epochs: int, every: int, expected: tuple[int, ...]
) -> None:
    """A ninth and a third of the epochs, rounded up to an evaluation.

    A method that does not choose among epochs has none.
    """
    refitted = {"name": "dfr", "first_epochs": 2, "balance": "classes"}
    spec = tiny(axes__method=["erm", refitted], train__epochs=epochs, train__evaluate_every=every)
    configs = {trial.config.method_name: trial.config for trial in make_plan(spec, FACTS_OF).trials}
    assert rung_epochs("asha", configs["erm"]) == rung_epochs("median", configs["erm"]) == expected
    assert rung_epochs("asha", configs["dfr"]) == rung_epochs("none", configs["erm"]) == ()


FACTS_OF = facts_of_spec(tiny())
