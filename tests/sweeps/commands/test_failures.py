"""`sweeps failures`: attempts by class, and commands that reproduce one of each."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from searching import real_text, run_search_here
from tiny_sweeps import DIVERGES, TEXT, one, read_json, run_here, stage_here, tiny

from cluster.stores.folder import FolderStore
from spurious.errors import NumericalError
from sweeps.cli import main
from sweeps.plan.archive import archive
from sweeps.plan.facts import plan_on
from sweeps.results.tables import record_failure, trial_key
from sweeps.spec.model import load_spec
from sweeps.trial.run import run_trial
from sweeps.trial.tasks import task_for

LABELS = ("mask-20-erm-s0", "mask-20-erm-s1", "label-20-erm-s0")
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def record(store: FolderStore, trial_id: str, failure_class: str, minute: int, node: str) -> None:
    """Write a row of the failures table, as a driver or a worker does."""
    record_failure(
        store,
        {
            "trial_id": trial_id,
            "attempt": f"{minute:012x}",
            "failure_class": failure_class,
            "message": f"first line\nlast of minute {minute}",
            "traceback": "",
            "log_tail": "",
            "node": node,
            "failed_at": BEGAN + timedelta(minutes=minute),
        },
    )


@pytest.fixture
def sweep(here: Path, folder_store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> FolderStore:
    """The tiny sweep, archived; one of its four trials has a result."""
    monkeypatch.setenv("SWEEPS_CACHE", str(here / "cache"))
    spec = tiny()
    stage_here(folder_store, spec)
    run_here(folder_store, one(), here / "cache")
    archive(folder_store, spec, plan_on(spec, folder_store))
    return folder_store


def test_failures_are_counted_by_class(sweep: FolderStore, capsys: Any) -> None:
    """Attempts and trials, their nodes, the newest message; the most frequent class first."""
    ids = {trial.label: trial.id for trial in plan_on(tiny(), sweep).trials}
    done, other, third = (ids[name] for name in LABELS)
    for minute, trial_id, node in ((1, done, "a"), (4, other, "b"), (2, other, "a")):
        record(sweep, trial_id, "infrastructure", minute, node)
    record(sweep, third, "timeout", 3, "")
    record(sweep, done, "preempted", 0, "a")
    assert main(["failures", "tiny", "--store", sweep.url, "--json"]) == 0
    document = read_json("failures", capsys.readouterr().out)
    assert (document["attempts"], document["trials"], document["without_result"]) == (5, 3, 2)
    by_class = {kind["class"]: kind for kind in document["classes"]}
    assert document["classes"][0]["class"] == "infrastructure"
    lost = by_class["infrastructure"]
    assert (lost["attempts"], lost["trials"], lost["without_result"]) == (3, 2, 1)
    assert lost["nodes"] == {"a": 2, "b": 1}
    assert lost["last"]["label"] == "mask-20-erm-s1"
    assert lost["last"]["line"] == "last of minute 4"
    assert "on another node" in lost["policy"]
    assert by_class["timeout"]["nodes"] == {"unknown": 1}
    assert by_class["preempted"]["command"] is None
    assert main(["failures", "tiny", "--store", sweep.url]) == 0
    text = capsys.readouterr().out
    assert "sweep tiny: 5 failed attempts of 3 trials, 2 of which have no result" in text
    assert "infrastructure: 3 attempts of 2 trials, 1 without a result" in text
    assert "nodes: a (2), b (1)" in text
    assert "to see one: all of these trials have a result by now" in text
    assert f"to see one: {lost['command']}" in text


def test_without_failures_it_says_so(sweep: FolderStore, capsys: Any) -> None:
    """With status 0."""
    assert main(["failures", "tiny.yaml", "--store", sweep.url]) == 0
    assert capsys.readouterr().out == "sweep tiny: no attempt failed\n"


@pytest.mark.parametrize("target", ["tiny", "tiny.yaml"])
def test_the_command_reproduces_the_failure(
    here: Path, folder_store: FolderStore, monkeypatch: pytest.MonkeyPatch, capsys: Any, target: str
) -> None:
    """By file, and by name alone: from the specification in the store. It is not counted."""
    monkeypatch.setenv("SWEEPS_CACHE", str(here / "cache"))
    text = TEXT.replace("train: {", f"train: {{optimizer: {DIVERGES['optimizer']}, ")
    text = text.replace("epochs: 3", "epochs: 8, learning_rate: 100.0, weight_decay: 100.0")
    (here / "tiny.yaml").write_text(text)
    spec = load_spec(here / "tiny.yaml")
    stage_here(folder_store, spec)
    plan = plan_on(spec, folder_store)
    archive(folder_store, spec, plan)
    [trial] = [trial for trial in plan.trials if trial.label == "label-20-erm-s0"]
    task = task_for(trial, spec, folder_store.url, here / "cache", False)
    with pytest.raises(NumericalError):
        run_trial(task, "ab" * 6, lambda *_: None)
    assert main(["failures", target, "--store", folder_store.url, "--json"]) == 0
    [kind] = read_json("failures", capsys.readouterr().out)["classes"]
    assert kind["class"] == "numerical"
    assert kind["command"].split()[:3] == ["sweeps", "run", target]
    assert main(shlex.split(kind["command"])[1:]) == 1
    assert "failed: label-20-erm-s0" in capsys.readouterr().err
    assert main(["failures", target, "--store", folder_store.url, "--json"]) == 0
    [kind] = read_json("failures", capsys.readouterr().out)["classes"]
    assert kind["attempts"] == 1  # what somebody looks at is no attempt of the sweep's


def test_failures_of_searched_trials_count_and_can_be_reproduced(
    here: Path, folder_store: FolderStore, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """They have labels of their own; one that has a result by now is not run again."""
    monkeypatch.setenv("SWEEPS_CACHE", str(here / "cache"))
    (here / "tiny.yaml").write_text(real_text())
    spec = load_spec(here / "tiny.yaml")
    plan = run_search_here(folder_store, spec, here / "cache", most=3)
    archive(folder_store, spec, plan)
    tried = [trial for each in plan.searches[0].tried for trial in each.trials]
    open_trial = next(t for t in tried if not folder_store.exists(trial_key(t.id)))
    assert open_trial.label.endswith(f"-t{open_trial.suggestion}")
    record(folder_store, open_trial.id, "infrastructure", 1, "a")
    source = ["tiny", "--store", folder_store.url]
    assert main(["failures", *source, "--json"]) == 0
    document = read_json("failures", capsys.readouterr().out)
    assert (document["attempts"], document["trials"], document["without_result"]) == (1, 1, 1)
    [kind] = document["classes"]
    assert kind["last"]["label"] == open_trial.label
    assert main(["pull", *source, "--out", "tables"]) == 0
    pulled = pd.read_parquet(here / "tables" / "failures.parquet")
    assert pulled["trial_id"].tolist() == [open_trial.id]
    assert main(shlex.split(kind["command"])[1:]) == 0
    capsys.readouterr()
    assert main(["failures", *source, "--json"]) == 0
    [kind] = read_json("failures", capsys.readouterr().out)["classes"]
    assert (kind["without_result"], kind["command"]) == (0, None)
    assert main(["run", *source, "--debug", open_trial.label]) == 2
    assert "has a result already" in capsys.readouterr().err
