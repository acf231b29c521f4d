"""Trials of one dataset and specificity on a node share targets and moments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_sweeps import assert_same, one, prepared, run_here, tables

from cluster.node_cache.open import CachedDataset
from cluster.stores.folder import FolderStore
from spurious.data import inputs
from sweeps.plan.facts import plan_on
from sweeps.trial import run as running
from sweeps.trial.run import run_trial
from sweeps.trial.tasks import task_for


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The specificities of the targets that are made from now on, one for each image."""
    kinds: list[str] = []
    target = inputs.supervision_target

    def count(mask: Any, specificity: Any) -> Any:
        kinds.append(specificity.kind)
        return target(mask, specificity)

    monkeypatch.setattr(inputs, "supervision_target", count)
    return kinds


def test_a_second_trial_makes_no_targets_and_gives_the_same_numbers(
    folder_store: FolderStore, tmp_path: Path, made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two seeds: the first makes each image's target once, the second none; rows as without."""
    spec = one(axes__specificity=["box"], axes__seed=[0, 1])
    plan = run_here(folder_store, spec, tmp_path / "cache")
    assert len(plan.done) == 2
    assert plan.facts is not None
    assert plan.facts.counts is not None
    assert len(made) == sum(of["positives"] for of in plan.facts.counts.values())

    def open_without(*arguments: Any) -> CachedDataset:
        cached = opening(*arguments)
        object.__setattr__(cached.dataset, "derived", None)
        return cached

    opening = running._open
    monkeypatch.setattr(running, "_open", open_without)
    made.clear()
    plain = FolderStore(tmp_path / "plain")
    expected = tables(plain, run_here(plain, spec, tmp_path / "cache"))
    assert len(made) > 60  # each trial its own
    assert_same(tables(folder_store, plan_on(spec, folder_store)), expected)


def test_damaged_targets_are_made_again_with_a_warning(
    folder_store: FolderStore, tmp_path: Path, made: list[str]
) -> None:
    """Between two trials a bit of the kept targets turns over: noted, and no number changes."""
    spec = one(axes__specificity=["box"], axes__seed=[0, 1])
    _, first = prepared(folder_store, one(axes__specificity=["box"]), tmp_path / "cache")
    run_trial(first, "first", lambda *_: None)
    [path] = (tmp_path / "cache").glob("v*/derived-targets-*.npy")
    data = bytearray(path.read_bytes())
    data[-1] ^= 0xFF
    path.chmod(0o644)
    path.write_bytes(data)
    count = len(made)
    made.clear()
    [trial] = plan_on(spec, folder_store).missing
    task = task_for(trial, spec, folder_store.url, tmp_path / "cache")
    outcome = run_trial(task, "second", lambda *_: None)
    assert (outcome.state, len(made)) == ("committed", count)
    [warning] = outcome.warnings
    assert f"cached file {path} is damaged" in warning
    assert "it was made again (check the node's disk and memory)" in warning
    undisturbed = FolderStore(tmp_path / "undisturbed")
    expected = tables(undisturbed, run_here(undisturbed, spec, tmp_path / "other"))
    assert_same(tables(folder_store, plan_on(spec, folder_store)), expected)
